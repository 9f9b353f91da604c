"""The values edge and cloud exchange: frozen, checked once when built, bounded in every field.

Boxes are pixels of the full frame (as captured, before crop or resize) unless a field says otherwise; wall
times are Unix seconds. A value that breaks a bound raises pydantic's `ValidationError`, a `ValueError`.
Unknown fields are ignored, so that a newer peer may add some.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Any, Literal

import msgpack
from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from typing_extensions import Self

from protocols import limits
from protocols.chips import Chip as Chip
from protocols.errors import MessageError
from protocols.fields import (
    Box,
    CaseId,
    Coord,
    Counter,
    Duration,
    Id,
    Label,
    MediaType,
    Provenance,
    Sha256,
    SizeRange,
    Text,
    Unit,
    Value,
    WallTime,
)
from protocols.target_questions import TargetAnswer, TargetQuestion
from protocols.vectors import Vectors as Vectors


class Pose(Value):
    """Where the camera was and how it looked; every field may be unknown.

    Attributes:
        lat_deg: WGS 84 latitude of the camera.
        lon_deg: WGS 84 longitude.
        altitude_m: height above the WGS 84 ellipsoid.
        yaw_deg: heading of the image's upper edge, clockwise from true north.
        pitch_deg: of the optical axis; 0 is the horizon, -90 looks straight down.
        roll_deg: about the optical axis.
        gsd_m: ground sampling distance at the frame's centre, metres per frame pixel.
    """

    lat_deg: float | None = Field(default=None, ge=-90, le=90)
    lon_deg: float | None = Field(default=None, ge=-180, le=180)
    altitude_m: float | None = Field(default=None, ge=-1000, le=1e8)
    yaw_deg: float | None = Field(default=None, ge=-360, le=360)
    pitch_deg: float | None = Field(default=None, ge=-180, le=180)
    roll_deg: float | None = Field(default=None, ge=-180, le=180)
    gsd_m: float | None = Field(default=None, gt=0, le=1e5)


class FrameHeader(Value):
    """Everything about a frame but its pixels.

    Attributes:
        index: counts frames of one source from 0; gaps mean dropped frames.
        source_id: which camera, file or folder.
        captured_at_s: wall time of exposure. A recording counts as begun when the run began, so that one flown faster
            than it was recorded is ahead of the clock.
        width: of the full frame, pixels.
        height: of the full frame, pixels.
        bands: 1 grey, 3 colour (BGR in arrays), more for multispectral.
        pose: None where nothing is known.
    """

    index: Counter
    source_id: Text
    captured_at_s: WallTime
    width: int = Field(ge=1, le=limits.MAX_FRAME_SIDE_PX)
    height: int = Field(ge=1, le=limits.MAX_FRAME_SIDE_PX)
    bands: int = Field(default=3, ge=1, le=limits.MAX_RAW_BANDS)
    pose: Pose | None = None


class FrameRef(Value):
    """Which frame somebody speaks of; the header of that frame says the same.

    Attributes:
        source_id: which camera, file or folder.
        index: in that source.
        captured_at_s: wall time of exposure, by the craft's clock.
        case_id: the case in whose picture it was seen; None where it was no case.
    """

    source_id: Text
    index: Counter
    captured_at_s: WallTime
    case_id: CaseId | None = None


class Detection(Value):
    """One thing found in a frame.

    Attributes:
        box_xyxy: pixels of the full frame; may reach over its border.
        label: class name, printable.
        score: 0..1, comparable within one provenance only.
        provenance: `edge`, `cloud`, `person` or `prompt:<prompt_id>`.
        track_id: set once a tracker follows it.
    """

    box_xyxy: Box
    label: Label
    score: Unit
    provenance: Provenance = "edge"
    track_id: Counter | None = None


def best_detections(detections: Iterable[Detection], limit: int = limits.MAX_CASE_DETECTIONS) -> tuple[Detection, ...]:
    """The `limit` detections of highest score, best first: what fits a `Case` or an `Interpretation`."""
    return tuple(sorted(detections, key=lambda d: -d.score)[:limit])


class Prompt(Value):
    """Few-shot knowledge for one label or one target.

    Attributes:
        prompt_id: unique in its bank.
        label: what a match is called.
        space_id: the embedding space the vectors live in.
        variant: the bundle file the threshold was set on (`fp32`, `u8s8`, `s8s8`, `engine`).
        positives: 1..8 vectors of the thing.
        negatives: 0..24 vectors of what it is confused with, same dim.
        threshold: cosine with the nearest positive from which a candidate counts; the craft may go on following a
            track a little below.
        temperature: of the sigmoid over the cosine's distance from the threshold or the nearest negative, whichever
            is higher.
        direction_cases: 0 where positives are looks of the thing. Else there is one positive and no negative: the
            direction from the mean of the background to the mean of the thing, itself a mean over so many cases.
        size_px: (smallest, largest) sqrt(box area) in full-frame pixels; None is any.
        size_m: the same on the ground in metres, used where the gsd is known.
        chips: 0..8 exemplars.
        scope: who may use it.
        priority: higher first where there is not time for all.
        issued_at_s: wall time.
        expires_at_s: wall time; evaluated when matching, never edits the bank. None is never.
        origin: who made it.
        confidence: 0..1 that it is right.
        case_id: the case it answers, where there is one.
    """

    prompt_id: Id
    label: Label
    space_id: Text
    variant: Text
    positives: Vectors
    negatives: Vectors
    threshold: float = Field(ge=-2, le=2)
    temperature: float = Field(default=0.07, gt=0, le=10)
    direction_cases: int = Field(default=0, ge=0, le=limits.MAX_DIRECTION_CASES)
    size_px: SizeRange | None = None
    size_m: SizeRange | None = None
    chips: tuple[Chip, ...] = Field(default=(), max_length=limits.MAX_CHIPS)
    scope: Literal["craft", "mission", "fleet"] = "craft"
    priority: int = Field(default=0, ge=-100, le=100)
    issued_at_s: WallTime
    expires_at_s: WallTime | None = None
    origin: Literal["teacher", "person"]
    confidence: Unit
    case_id: CaseId | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not 1 <= len(self.positives) <= limits.MAX_POSITIVES:
            raise ValueError(f"{len(self.positives)} positive vectors; expected 1..{limits.MAX_POSITIVES}")
        if self.positives.dim != self.negatives.dim:
            raise ValueError(f"positives have dim {self.positives.dim} but negatives {self.negatives.dim}")
        if self.direction_cases and (len(self.positives), len(self.negatives)) != (1, 0):
            raise ValueError(
                f"a direction of {self.direction_cases} cases with {len(self.positives)} positive and "
                f"{len(self.negatives)} negative vectors; expected 1 and 0"
            )
        if any(chip.vector is not None and chip.vector.dim != self.positives.dim for chip in self.chips):
            raise ValueError(f"a chip's vector has another dim than the positives' {self.positives.dim}")
        return self


# What a v1 digest covers, for ever: a field added later must not change the digest an older peer computes.
_DIGEST_VECTORS = {"dim", "data", "scales"}
_DIGEST_FIELDS: Any = {
    "prompt_id": True,
    "label": True,
    "space_id": True,
    "variant": True,
    "positives": _DIGEST_VECTORS,
    "negatives": _DIGEST_VECTORS,
    "threshold": True,
    "temperature": True,
    "size_px": True,
    "size_m": True,
    "chips": {"__all__": {"jpeg", "box_xyxy", "scale"}},
    "scope": True,
    "priority": True,
    "issued_at_s": True,
    "expires_at_s": True,
    "origin": True,
    "confidence": True,
    "case_id": True,
}


def canonical_prompts(prompts: Iterable[Prompt]) -> bytes:
    """The bytes a bank's digest is taken over.

    A msgpack array of the prompts sorted by prompt_id; each a map of the v1 fields, keys sorted by code point
    at every level; shortest integers, every float as float64, None as nil, tuples as arrays, bytes as bin.
    """
    ordered = sorted(prompts, key=lambda prompt: prompt.prompt_id)
    packed: bytes = msgpack.packb([_with_sorted_keys(p.model_dump(include=_DIGEST_FIELDS)) for p in ordered])
    return packed


def bank_bytes(prompts: Iterable[Prompt]) -> int:
    """What prompts count for in a bank's limit: their canonical form, and the vectors of their chips beside it."""
    prompts = tuple(prompts)
    return len(canonical_prompts(prompts)) + _vector_bytes(prompts)


def _vector_bytes(prompts: Iterable[Prompt]) -> int:
    vectors = (chip.vector for prompt in prompts for chip in prompt.chips if chip.vector is not None)
    return sum(len(vector.data) + _VECTOR_BYTES for vector in vectors)


_VECTOR_BYTES = 48
"""What msgpack needs for one chip's vector beside its data: scale, key names and their lengths."""


def _with_sorted_keys(value: object) -> object:
    if isinstance(value, dict):
        return {key: _with_sorted_keys(value[key]) for key in sorted(value)}
    if isinstance(value, tuple | list):
        return [_with_sorted_keys(item) for item in value]
    return value


class BankRef(Value):
    """The name of one exact state of a prompt bank.

    Attributes:
        epoch: changes when the cloud starts a craft's numbering anew.
        revision: counts changes within the epoch.
        digest: sha256 over `canonical_prompts`, lower-case hex.
    """

    epoch: Id
    revision: Counter
    digest: Sha256


class PromptBank(Value):
    """All prompts one craft holds.

    Attributes:
        epoch: see `BankRef`.
        revision: see `BankRef`.
        prompts: at most 64 with unique ids, at most MAX_BANK_BYTES (see `bank_bytes`); kept sorted by id.
    """

    epoch: Id
    revision: Counter
    prompts: Annotated[
        tuple[Prompt, ...],
        Field(max_length=limits.MAX_PROMPTS),
        AfterValidator(lambda prompts: tuple(sorted(prompts, key=lambda prompt: prompt.prompt_id))),
    ] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len({prompt.prompt_id for prompt in self.prompts}) < len(self.prompts):
            raise ValueError("a prompt_id occurs twice in the bank")
        size = len(self._canonical) + _vector_bytes(self.prompts)
        if size > limits.MAX_BANK_BYTES:
            raise ValueError(f"the bank takes {size} bytes; at most {limits.MAX_BANK_BYTES}: use smaller chips")
        return self

    @classmethod
    def empty(cls, epoch: str) -> Self:
        """The bank a craft has before its first prompt: revision 0, no prompts."""
        return cls(epoch=epoch, revision=0)

    @cached_property
    def _canonical(self) -> bytes:
        return canonical_prompts(self.prompts)

    @cached_property
    def digest(self) -> str:
        """Sha256 of the prompts in canonical form, lower-case hex; epoch and revision do not enter."""
        return hashlib.sha256(self._canonical).hexdigest()

    @property
    def ref(self) -> BankRef:
        """This bank's name."""
        return BankRef(epoch=self.epoch, revision=self.revision, digest=self.digest)


class BankChange(Value):
    """A step from one bank to the next.

    Attributes:
        base: the bank it starts from; None is a snapshot, which replaces whatever is there.
        target: the bank that results.
        upserts: prompts to add, or to replace by id.
        removed: ids to take away; none in a snapshot, none that is also upserted.
    """

    base: BankRef | None
    target: BankRef
    upserts: tuple[Prompt, ...] = Field(default=(), max_length=limits.MAX_PROMPTS)
    removed: tuple[Id, ...] = Field(default=(), max_length=limits.MAX_PROMPTS)

    @model_validator(mode="after")
    def _check(self) -> Self:
        ids = [prompt.prompt_id for prompt in self.upserts] + list(self.removed)
        if len(set(ids)) < len(ids):
            raise ValueError("a prompt_id occurs twice in the change")
        if self.base is None and self.removed:
            raise ValueError("a snapshot (base None) cannot remove prompts")
        if self.base is not None and self.base.epoch != self.target.epoch:
            raise ValueError("a delta cannot change the epoch: send a snapshot")
        return self


def diff_banks(old: PromptBank | None, new: PromptBank) -> BankChange:
    """The change that leads from one bank to another.

    Args:
        old: the bank the craft holds; None, or one of another epoch, gives a snapshot.
        new: the bank it shall hold.

    Returns:
        The change; `apply_change(old, it)` equals `new`.
    """
    if old is None or old.epoch != new.epoch:
        return BankChange(base=None, target=new.ref, upserts=new.prompts)
    before = {prompt.prompt_id: prompt for prompt in old.prompts}
    after = {prompt.prompt_id for prompt in new.prompts}
    return BankChange(
        base=old.ref,
        target=new.ref,
        upserts=tuple(prompt for prompt in new.prompts if before.get(prompt.prompt_id) != prompt),
        removed=tuple(prompt_id for prompt_id in before if prompt_id not in after),
    )


def apply_change(bank: PromptBank, change: BankChange) -> PromptBank:
    """The bank that results from a change.

    Args:
        bank: the bank held now (a snapshot replaces it whole).
        change: a delta from exactly this bank, or a snapshot.

    Returns:
        A new bank whose ref is `change.target`.

    Raises:
        MessageError: code `bank_mismatch` when the base is another bank, the resulting digest is not the target's
            (ask for a snapshot) or the target is an older revision of the bank's epoch (a replay); code `bad_value`
            when the result breaks a bank's limits.
    """
    if change.target.epoch == bank.epoch and change.target.revision < bank.revision:
        raise MessageError(
            f"the change leads to revision {change.target.revision} but {bank.revision} of this epoch is held: an old "
            "update; begin another epoch to number anew",
            code="bank_mismatch",
        )
    if change.base is not None and change.base != bank.ref:
        raise MessageError(
            f"the change starts from revision {change.base.revision} but revision {bank.revision} is held "
            "(or its digest differs): send a snapshot",
            code="bank_mismatch",
        )
    kept = {} if change.base is None else {prompt.prompt_id: prompt for prompt in bank.prompts}
    for prompt_id in change.removed:
        kept.pop(prompt_id, None)
    kept.update((prompt.prompt_id, prompt) for prompt in change.upserts)
    target = change.target
    try:
        result = PromptBank(epoch=target.epoch, revision=target.revision, prompts=tuple(kept.values()))
    except ValidationError as exc:
        raise MessageError(f"the changed bank is not valid: {exc.errors()[0]['msg']}", code="bad_value") from exc
    if result.digest != target.digest:
        raise MessageError(
            f"the changed bank has digest {result.digest[:12]}, not {target.digest[:12]}: send a snapshot",
            code="bank_mismatch",
        )
    return result


def new_case_id() -> str:
    """A fresh random case id: a version 4 UUID as 32 hex digits."""
    return uuid.uuid4().hex


class Case(Value):
    """A hard case, less its imagery, which follows in chunks.

    Attributes:
        case_id: unique; (craft key, case_id) is the key that makes delivery once and only once.
        frame: the frame it came from.
        region_xyxy: the part of the full frame that the image shows, full-frame pixels, inside the frame.
        image_scale: image pixels per frame pixel; the image is about region * image_scale large.
        detections: the edge's own answer, full-frame pixels; often empty. See `best_detections`.
        reasons: why it was sent, e.g. {"unexplained": 0.8, "doubt": 0.1, "flicker": 0.0}.
        hardness: 0..1, the edge's estimate of what the cloud would improve.
        space_id: the student's embedding space.
        variant: the bundle file that ran.
        media_type: how the imagery is encoded.
        payload_bytes: size of the encoded imagery.
        payload_sha256: its sha256, lower-case hex.
        ttl_s: how long after capture an answer is still of use; None is for ever.
        target: what is asked about one target, and what the craft remembers of it; None asks about what is there.
    """

    case_id: CaseId
    frame: FrameHeader
    region_xyxy: Box
    image_scale: float = Field(default=1.0, gt=0, le=64)
    detections: tuple[Detection, ...] = Field(default=(), max_length=limits.MAX_CASE_DETECTIONS)
    reasons: dict[Id, Annotated[float, Field(ge=-1e6, le=1e6)]] = Field(default={}, max_length=limits.MAX_REASONS)
    hardness: Unit
    space_id: Text
    variant: Text
    media_type: MediaType
    payload_bytes: int = Field(ge=1, le=limits.MAX_CASE_BYTES)
    payload_sha256: Sha256
    ttl_s: Duration | None = None
    target: TargetQuestion | None = None

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_unset_target(handler(self))

    @model_validator(mode="after")
    def _check(self) -> Self:
        x1, y1, x2, y2 = self.region_xyxy
        if not (0 <= x1 < x2 <= self.frame.width and 0 <= y1 < y2 <= self.frame.height):
            raise ValueError(
                f"region {self.region_xyxy} is empty or leaves the frame of "
                f"{self.frame.width}x{self.frame.height} pixels"
            )
        return self


class Interpretation(Value):
    """The answer to a case.

    Attributes:
        case_id: the case it answers.
        detections: full-frame pixels, provenance `cloud` or `person`; empty means nothing is there.
        polygons: None, or one outline per detection: x1, y1, x2, y2, ... in full-frame pixels, 3..64 corners,
            or () for a detection without an outline.
        confidence: 0..1 in the whole answer.
        by: who made it.
        interpreter: which teacher, or which person's account.
        made_at_s: wall time.
        target: the answer to a case that asks about a target; None to every other.
    """

    case_id: CaseId
    detections: tuple[Detection, ...] = Field(default=(), max_length=limits.MAX_CASE_DETECTIONS)
    polygons: (
        Annotated[
            tuple[Annotated[tuple[Coord, ...], Field(max_length=2 * limits.MAX_POLYGON_POINTS)], ...],
            Field(max_length=limits.MAX_CASE_DETECTIONS),
        ]
        | None
    ) = None
    confidence: Unit
    by: Literal["teacher", "person"]
    interpreter: Text
    made_at_s: WallTime
    target: TargetAnswer | None = None

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_unset_target(handler(self))

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.polygons is None:
            return self
        if len(self.polygons) != len(self.detections):
            raise ValueError(f"{len(self.polygons)} polygons for {len(self.detections)} detections")
        if any(len(polygon) % 2 or 0 < len(polygon) < 6 for polygon in self.polygons):
            raise ValueError("a polygon is a list of x, y pairs with at least 3 corners")
        if sum(map(len, self.polygons)) > limits.MAX_POLYGON_NUMBERS:
            raise ValueError(f"the polygons have over {limits.MAX_POLYGON_NUMBERS} numbers: simplify them")
        return self


def _without_unset_target(fields: dict[str, Any]) -> dict[str, Any]:
    """A field that came within v1 is left out where it says nothing: the bytes stay what they were."""
    if fields["target"] is None:
        del fields["target"]
    return fields
