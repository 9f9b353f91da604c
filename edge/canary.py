"""Pictures that a bundle brings along, with what its twin saw in them: a first look before anything flies on it.

The file damaged in a way that no digest tells (exported wrongly, or run wrongly by this craft's runtime) embeds them
otherwise, or sees nothing in them.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgpack
import numpy as np
from pydantic import TypeAdapter, ValidationError

from edge.chips import MAX_EMBED_SIDE_PX, embed_chip, frame_view
from edge.errors import ModelError, UpdateError
from edge.runtime.agreement import MIN_COSINE
from edge.student import Student, sigmoid
from protocols.chips import Chip
from protocols.errors import SkyloopError
from protocols.fields import Unit, Value
from protocols.limits import MAX_CHIP_BYTES

CANARY_NAME = "canary.msgpack"
MAX_CANARIES = 32
MAX_CANARY_BYTES = MAX_CANARIES * (MAX_CHIP_BYTES + 1024)

MAX_OBJECTNESS_CHANGE = 0.25
"""Mean over the pictures: INT8 files of the bundled student stay within 0.02 of FP32 (docs/updates.md), and one that
sees nothing any more is off by what there was to see."""


class Canary(Value):
    """One picture.

    Attributes:
        chip: with the twin's vector.
        objectness: the twin's highest in the chip.
    """

    chip: Chip
    objectness: Unit


_ADAPTER: TypeAdapter[tuple[Canary, ...]] = TypeAdapter(tuple[Canary, ...])


@dataclass(frozen=True)
class CanaryReport:
    """How a student did: mean cosine and mean change of objectness over so many pictures."""

    pictures: int
    cosine: float
    objectness_change: float


def pack_canaries(canaries: tuple[Canary, ...]) -> bytes:
    """The file's content."""
    packed: bytes = msgpack.packb([canary.model_dump() for canary in canaries])
    return packed


def unpack_canaries(content: bytes) -> tuple[Canary, ...]:
    """The pictures of a file.

    Raises:
        UpdateError: it is malformed, too large or holds none.
    """
    try:
        if len(content) > MAX_CANARY_BYTES:
            raise ValueError(f"{len(content)} bytes; at most {MAX_CANARY_BYTES}")
        items = msgpack.unpackb(content, max_array_len=MAX_CANARIES, max_bin_len=MAX_CHIP_BYTES, max_map_len=16)
        canaries = _ADAPTER.validate_python(tuple(items))
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException, ValidationError) as exc:
        reason = type(exc).__name__ if isinstance(exc, ValidationError) else exc
        raise UpdateError(f"{CANARY_NAME} cannot be read ({reason}): publish the bundle anew") from exc
    if not canaries or any(canary.chip.vector is None for canary in canaries):
        raise UpdateError(f"{CANARY_NAME} holds no picture with a vector: publish the bundle anew")
    return canaries


def look_at(student: Student, chip: Chip) -> tuple[np.ndarray[tuple[int], np.dtype[np.float32]], float]:
    """(D,) unit vector of a chip's thing, and the highest objectness anywhere in the chip.

    Raises:
        ImageryError, ShapeError: see `embed_chip`.
        ModelError: the runtime fails on it.
    """
    try:
        vector = embed_chip(student, chip)
        image, _ = frame_view(chip, MAX_EMBED_SIDE_PX)
        seen = Student.perceive(student, image)
    except SkyloopError:
        raise
    except Exception as exc:  # every runtime raises its own classes
        raise ModelError(f"{student.manifest.name} fails on a picture ({str(exc)[:200]})") from exc
    return vector, float(sigmoid(seen.raw.objectness).max())


def check_canaries(student: Student, canaries: tuple[Canary, ...]) -> CanaryReport:
    """How far a student sees the pictures as its twin did.

    Raises:
        UpdateError: not nearly so; the message tells the numbers and the limits.
    """
    cosines, changes = [], []
    for canary in canaries:
        assert canary.chip.vector is not None
        try:
            vector, objectness = look_at(student, canary.chip)
        except SkyloopError as exc:
            raise UpdateError(f"it fails on its own pictures ({exc})") from exc
        expected = canary.chip.vector.to_array()[0]
        if vector.shape != expected.shape:
            raise UpdateError(f"its vectors have {len(vector)} numbers, its pictures' {len(expected)}")
        cosines.append(float(vector @ expected))
        changes.append(abs(objectness - canary.objectness))
    report = CanaryReport(len(canaries), float(np.mean(cosines)), float(np.mean(changes)))
    if not (report.cosine >= MIN_COSINE and report.objectness_change <= MAX_OBJECTNESS_CHANGE):  # not a number, too
        raise UpdateError(
            f"it does not see its own pictures as its twin did: cosine {report.cosine:.3f} (least {MIN_COSINE}), "
            f"objectness off by {report.objectness_change:.2f} (at most {MAX_OBJECTNESS_CHANGE})"
        )
    return report
