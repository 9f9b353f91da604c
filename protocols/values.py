"""The values edge and cloud exchange: frozen, checked once when built, bounded in every field.

Boxes are pixels of the full frame (as captured, before crop or resize) unless a field says otherwise; wall
times are Unix seconds. A value that breaks a bound raises pydantic's `ValidationError`, a `ValueError`.
Unknown fields are ignored, so that a newer peer may add some.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from itertools import accumulate
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from typing_extensions import Self

from protocols import limits
from protocols.chips import Chip as Chip
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
    Quality,
    Sha256,
    Text,
    Unit,
    Value,
    WallTime,
)
from protocols.prompts import BankChange as BankChange
from protocols.prompts import BankRef as BankRef
from protocols.prompts import Prompt as Prompt
from protocols.prompts import PromptBank as PromptBank
from protocols.prompts import apply_change as apply_change
from protocols.prompts import bank_bytes as bank_bytes
from protocols.prompts import canonical_prompts as canonical_prompts
from protocols.prompts import diff_banks as diff_banks
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


def new_case_id() -> str:
    """A fresh random case id: a version 4 UUID as 32 hex digits."""
    return uuid.uuid4().hex


class CasePart(Value):
    """One picture of a case.

    Attributes:
        region_xyxy: the part of the full frame that it shows, full-frame pixels.
        image_scale: image pixels per frame pixel.
        payload_bytes: how much of the case's imagery it is.
    """

    region_xyxy: Box
    image_scale: float = Field(default=1.0, gt=0, le=64)
    payload_bytes: int = Field(ge=1, le=limits.MAX_CASE_BYTES)


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
        payload_bytes: size of the encoded imagery, all pictures together.
        payload_sha256: its sha256, lower-case hex.
        ttl_s: how long after capture an answer is still of use; None is for ever.
        target: what is asked about one target, and what the craft remembers of it; None asks about what is there.
        quality: of the encoder, 1..100, where imagery is lossy; None where nobody says.
        refines: the case whose frame this shows again because the cloud asked; None is a case of its own.
        further: pictures of the same frame after the first one, in the order of their bytes. Who does not know this
            field decodes the first picture alone: JPEG and WebP tell where they end.
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
    further: tuple[CasePart, ...] = Field(default=(), max_length=limits.MAX_CASE_PARTS - 1)
    quality: Quality | None = None
    refines: CaseId | None = None

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_unset(handler(self), "target", "further", "quality", "refines")

    @model_validator(mode="after")
    def _check(self) -> Self:
        for region in (self.region_xyxy, *(part.region_xyxy for part in self.further)):
            check_region(region, self.frame)
        if self.further and self.target is not None:
            raise ValueError(f"{1 + len(self.further)} pictures about one target: send the one that shows it")
        if sum(part.payload_bytes for part in self.further) >= self.payload_bytes:
            raise ValueError("the further pictures leave no byte of the imagery to the first one")
        return self

    @property
    def parts(self) -> tuple[CasePart, ...]:
        """Every picture, the first one included."""
        first_bytes = self.payload_bytes - sum(part.payload_bytes for part in self.further)
        first = CasePart(region_xyxy=self.region_xyxy, image_scale=self.image_scale, payload_bytes=first_bytes)
        return first, *self.further

    def cut(self, payload: bytes) -> list[tuple[CasePart, bytes]]:
        """Every picture with its bytes, of the imagery that this case announces."""
        ends = list(accumulate(part.payload_bytes for part in self.parts))
        return [(part, payload[end - part.payload_bytes : end]) for part, end in zip(self.parts, ends, strict=True)]


def check_region(region_xyxy: tuple[float, float, float, float], frame: FrameHeader) -> None:
    """Refuse a region that is empty or not in a frame.

    Raises:
        ValueError: it is.
    """
    x1, y1, x2, y2 = region_xyxy
    if not (0 <= x1 < x2 <= frame.width and 0 <= y1 < y2 <= frame.height):
        raise ValueError(f"region {region_xyxy} is empty or leaves the frame of {frame.width}x{frame.height} pixels")


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
        supersedes: the case that this one refines: this answer speaks for the frame of both.
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
    supersedes: CaseId | None = None

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_unset(handler(self), "target", "supersedes")

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


def _without_unset(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    """Fields that came within v1 are left out where they say nothing: the bytes stay what they were."""
    return {name: value for name, value in fields.items() if value or name not in names}
