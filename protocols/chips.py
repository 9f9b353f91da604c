"""Exemplar chips: small pictures of a thing, of a prompt's or of a target's memory."""

from __future__ import annotations

from pydantic import Field, model_validator
from typing_extensions import Self

from protocols import limits
from protocols.fields import Box, Value
from protocols.vectors import Vectors


class Chip(Value):
    """A small exemplar image of a prompt, with margin, so that it embeds as it would in a frame.

    Attributes:
        jpeg: at most 8 KiB.
        box_xyxy: the thing, in chip pixels.
        scale: chip pixels per source frame pixel.
        vector: the twin's embedding of the thing in these very bytes, one row, in the prompt's space; see
            `edge.chips.embed_chip`. None where nobody embedded it.
    """

    jpeg: bytes = Field(strict=True, min_length=1, max_length=limits.MAX_CHIP_BYTES)
    box_xyxy: Box
    scale: float = Field(gt=0, le=1000)
    vector: Vectors | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.vector is not None and len(self.vector) != 1:
            raise ValueError(f"a chip has one vector, not {len(self.vector)}")
        return self
