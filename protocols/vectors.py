"""Embedding vectors small enough to send: int8 with one scale each."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field, model_validator
from typing_extensions import Self

from protocols import limits
from protocols.arrays import FloatArray
from protocols.errors import ShapeError
from protocols.fields import Value


class Vectors(Value):
    """Up to 24 embedding vectors as int8 with one scale each: 100 bytes per vector instead of 384.

    Attributes:
        dim: D, 1..96.
        data: N*D int8, row after row, symmetric (-127..127); no row is all zero.
        scales: N little-endian float32; the vector is data * scale.
    """

    dim: int = Field(ge=1, le=limits.MAX_EMBEDDING_DIM)
    data: bytes = Field(strict=True, max_length=limits.MAX_NEGATIVES * limits.MAX_EMBEDDING_DIM)
    scales: bytes = Field(strict=True, max_length=limits.MAX_NEGATIVES * 4)

    @model_validator(mode="after")
    def _check(self) -> Self:
        count, rest = divmod(len(self.scales), 4)
        if rest or len(self.data) != count * self.dim:
            raise ValueError(f"{len(self.data)} bytes of data, {len(self.scales)} of scales; not N*{self.dim} and N*4")
        codes = self._codes()
        if (codes == -128).any() or not codes.any(axis=1).all():
            raise ValueError("a vector is all zero or holds -128: quantise symmetrically with from_array")
        scales = np.frombuffer(self.scales, "<f4")
        if not ((scales >= 1e-12) & (scales <= 1e6)).all():
            raise ValueError("a scale is not within 1e-12..1e6")
        return self

    def __len__(self) -> int:
        """How many vectors there are."""
        return len(self.scales) // 4

    def _codes(self) -> np.ndarray[Any, np.dtype[np.int8]]:
        return np.frombuffer(self.data, np.int8).reshape(-1, self.dim)

    @classmethod
    def from_array(cls, vectors: FloatArray) -> Self:
        """Quantise vectors, each symmetrically by its own largest component.

        Args:
            vectors: (N, D) float, 0 <= N <= 24 and 1 <= D <= 96, usually L2-normalised rows.

        Returns:
            The quantised vectors; the worst error of a component is half its row's scale.

        Raises:
            ShapeError: another shape, a number that is not finite, or a row that is all zero.
        """
        with np.errstate(over="ignore"):  # a number beyond float32 becomes inf and is refused below
            array = np.asarray(vectors, dtype=np.float32)
        if array.ndim != 2 or len(array) > limits.MAX_NEGATIVES or not 1 <= array.shape[1] <= limits.MAX_EMBEDDING_DIM:
            raise ShapeError(
                f"vectors have shape {array.shape}; expected (N <= {limits.MAX_NEGATIVES}, "
                f"1 <= D <= {limits.MAX_EMBEDDING_DIM}): pool or pick fewer"
            )
        scales = np.abs(array).max(axis=1) / np.float32(127)
        if not ((scales >= 1e-12) & (scales <= 1e6)).all():  # NaN fails both comparisons
            raise ShapeError("a vector is zero, not finite or huge: normalise it before quantising")
        codes = np.rint(array / scales[:, None]).clip(-127, 127).astype(np.int8)
        return cls(dim=array.shape[1], data=codes.tobytes(), scales=scales.astype("<f4").tobytes())

    def to_array(self) -> FloatArray:
        """The vectors, each with L2 norm 1.

        Returns:
            (N, D) float32, a new array.
        """
        array = self._codes() * np.frombuffer(self.scales, "<f4").astype(np.float32)[:, None]
        return np.asarray(array / np.linalg.norm(array, axis=1, keepdims=True), dtype=np.float32)
