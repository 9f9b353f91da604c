"""The base of every value and the bounded field types the values and messages are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from typing_extensions import Self

from protocols import limits


def _ordered(pair: tuple[float, ...]) -> tuple[float, ...]:
    """Refuse (a, b) or (x1, y1, x2, y2) whose upper end lies below its lower end."""
    half = len(pair) // 2
    if any(low > high for low, high in zip(pair[:half], pair[half:], strict=True)):
        raise ValueError(f"{pair} is turned inside out: give the smaller corner first")
    return pair


# Text and bytes are strict (pydantic would turn one into the other); numbers may come from numpy.
Id: TypeAlias = Annotated[str, StringConstraints(strict=True, pattern=rf"^[A-Za-z0-9._-]{{1,{limits.MAX_ID_CHARS}}}$")]
CaseId: TypeAlias = Annotated[str, StringConstraints(strict=True, pattern=r"^[0-9a-f]{32}$")]
Sha256: TypeAlias = Annotated[str, StringConstraints(strict=True, pattern=r"^[0-9a-f]{64}$")]
Label: TypeAlias = Annotated[
    str, StringConstraints(strict=True, min_length=1, max_length=limits.MAX_LABEL_CHARS, pattern=r"^\P{C}+$")
]
Text: TypeAlias = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=limits.MAX_TEXT_CHARS)]
Provenance: TypeAlias = Annotated[
    str, StringConstraints(strict=True, pattern=r"^(edge|cloud|person|prompt:[A-Za-z0-9._-]{1,64})$")
]
Unit: TypeAlias = Annotated[float, Field(ge=0, le=1)]
WallTime: TypeAlias = Annotated[float, Field(ge=0, le=limits.MAX_WALL_TIME_S)]
Duration: TypeAlias = Annotated[float, Field(ge=0, le=limits.MAX_DURATION_S)]
Coord: TypeAlias = Annotated[float, Field(ge=-limits.MAX_COORD_PX, le=limits.MAX_COORD_PX)]
Box: TypeAlias = Annotated[tuple[Coord, Coord, Coord, Coord], AfterValidator(_ordered)]
Size: TypeAlias = Annotated[float, Field(gt=0, le=limits.MAX_COORD_PX)]
SizeRange: TypeAlias = Annotated[tuple[Size, Size], AfterValidator(_ordered)]
Counter: TypeAlias = Annotated[int, Field(ge=0, le=limits.MAX_REVISION)]
Quality: TypeAlias = Annotated[int, Field(ge=1, le=100)]
Reason: TypeAlias = Annotated[str, StringConstraints(strict=True, max_length=limits.MAX_DETAIL_CHARS)]
MediaType: TypeAlias = Literal["image/jpeg", "image/png", "image/webp", "application/x-skyloop-raw"]


class Value(BaseModel):
    """Base of everything that travels: frozen, finite numbers only, unknown fields ignored."""

    # Bytes are for msgpack; where a value is kept as JSON they become text that can be read back.
    model_config = ConfigDict(
        frozen=True, extra="ignore", allow_inf_nan=False, ser_json_bytes="base64", val_json_bytes="base64"
    )

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with some fields replaced, checked like a new value (pydantic's own copy checks nothing).

        Args:
            update: fields to replace.
            deep: ignored, for everything in a value is immutable.

        Returns:
            The new value.

        Raises:
            ValidationError: the result breaks a bound.
        """
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_validate(fields | dict(update or {}))


class Message(Value):
    """Base of every message.

    Attributes:
        v: version of the protocol.
    """

    v: Literal[1] = 1
