"""What a craft asks about a target that it follows, and what it is answered.

Either travels as one optional field: the question in a `Case`, the answer in an `Interpretation`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from protocols import limits
from protocols.chips import Chip
from protocols.fields import Box, Counter, Id, Label, Text, Unit, Value
from protocols.vectors import Vectors


class TargetQuestion(Value):
    """Where is this target in the case's frame?

    Attributes:
        target_id: the craft's number for it.
        label: what it is called.
        box_xyxy: where the craft believes it to be, pixels of the full frame.
        presence: how surely, 0..1.
        why: `presence` (it fell), `lost`, `rivals` (something like it is near) or `audit` (it was long ago that anybody
            looked); later versions may add some.
        chips: 1..4 looks of it, the first one first, then surely seen ones, newest last; together at most 16 KiB.
    """

    target_id: Counter
    label: Label
    box_xyxy: Box
    presence: Unit
    why: Id
    chips: Annotated[tuple[Chip, ...], Field(min_length=1, max_length=limits.MAX_TARGET_CHIPS)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        size = sum(len(chip.jpeg) for chip in self.chips)
        if size > limits.MAX_TARGET_CHIP_BYTES:
            raise ValueError(f"the chips take {size} bytes; at most {limits.MAX_TARGET_CHIP_BYTES}: send fewer")
        return self


class TargetAnswer(Value):
    """Where a target is in the frame that was asked about.

    Attributes:
        target_id: of the question.
        verdict: `here`, `gone` (it is not in the picture) or `unknown` (it may be anywhere, or not at all).
        box_xyxy: where, pixels of the full frame; with `here` alone.
        space_id: of the vectors.
        variant: of the vectors.
        positives: up to 8 fresh looks of it; None where nobody embedded any.
        negatives: up to 24 of what it may be confused with; None likewise.
    """

    target_id: Counter
    verdict: Literal["here", "gone", "unknown"]
    box_xyxy: Box | None = None
    space_id: Text | None = None
    variant: Text | None = None
    positives: Vectors | None = None
    negatives: Vectors | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.verdict == "here") != (self.box_xyxy is not None):
            raise ValueError(f"verdict {self.verdict!r} with box {self.box_xyxy}: a box belongs to 'here' alone")
        if self.positives is not None and len(self.positives) > limits.MAX_POSITIVES:
            raise ValueError(f"{len(self.positives)} positive vectors; expected 0..{limits.MAX_POSITIVES}")
        if (self.positives is not None or self.negatives is not None) and self.space_id is None:
            raise ValueError("vectors without space_id: say in which space they are")
        return self
