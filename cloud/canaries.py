"""The pictures that a published bundle brings along, with what its twin sees in them (`edge/canary.py`)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from cloud.chips import CHIP_BANDS
from cloud.errors import RequestError
from edge.canary import MAX_CANARIES, Canary, look_at
from edge.runtime.agreement import check_picture
from edge.student import Student
from protocols.errors import ImageryError
from protocols.imagery import encode_image
from protocols.limits import MAX_CHIP_BYTES
from protocols.values import Chip, Vectors

_SIDE_PX = 128
_BOX = (48.0, 48.0, 80.0, 80.0)
_PAINTED = 8
_QUALITIES = (85, 70, 50)


def make_canaries(twin: Student, chips: Iterable[Chip] = ()) -> tuple[Canary, ...]:
    """Canaries of painted pictures, and of what prompts show.

    Args:
        twin: the student of the bundle, on the file nearest to its original.
        chips: of prompts in force: what this fleet looks at.

    Raises:
        RequestError: the student takes bands that no JPEG has.
    """
    if twin.manifest.bands not in CHIP_BANDS:
        raise RequestError(
            f"{twin.manifest.name} takes {twin.manifest.bands} bands; only bundles of 1 or 3 can be published: crafts "
            "try a bundle on JPEG pictures first. Give such a bundle to the crafts by hand"
        )
    found: list[Canary] = []
    for chip in (*_painted(twin.manifest.bands), *chips):
        if len(found) == MAX_CANARIES:
            break
        try:
            vector, objectness = look_at(twin, chip)
        except ImageryError:
            continue  # a chip too large to be embedded: no craft embeds it
        told = chip.model_copy(update={"vector": Vectors.from_array(vector[None])})
        found.append(Canary(chip=told, objectness=objectness))
    return tuple(found)


def _painted(bands: int) -> Iterable[Chip]:
    """Parts of the picture that runtimes are checked with."""
    picture = check_picture(bands)
    for number in range(_PAINTED):
        top, left = divmod(number, 4)
        corner = (top * _SIDE_PX, left * _SIDE_PX)
        crop = np.ascontiguousarray(picture[corner[0] : corner[0] + _SIDE_PX, corner[1] : corner[1] + _SIDE_PX])
        for quality in _QUALITIES:
            jpeg = encode_image(crop[..., 0] if bands == 1 else crop, "image/jpeg", quality)
            if len(jpeg) <= MAX_CHIP_BYTES:
                yield Chip(jpeg=jpeg, box_xyxy=_BOX, scale=1.0)
                break
