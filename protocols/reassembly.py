"""Payloads larger than a message: cut into slices on one side, put together on the other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from protocols import limits
from protocols.errors import MessageError


def slices(payload: bytes, start: int = 0, size: int = limits.CHUNK_BYTES) -> Iterator[tuple[int, bytes]]:
    """(offset, bytes) of each slice of a payload, from offset `start` on."""
    for offset in range(start, len(payload), size):
        yield offset, payload[offset : offset + size]


class Reassembly:
    """Collects the slices of one payload in order, without ever holding more than was announced.

    A slice that was seen before is ignored, one that overlaps adds its new part, one that leaves a gap is
    refused: the sender resumes from `next_offset`.

    Attributes:
        total_bytes: announced size.
        sha256: announced digest, lower-case hex.
    """

    def __init__(self, total_bytes: int, sha256: str, *, cap_bytes: int, held: bytes = b"") -> None:
        """Start, or resume with the bytes `held` from before.

        Raises:
            MessageError: `too_large` when the announced size is over `cap_bytes`, or more is held than that;
                `bad_value` when it is not positive.
        """
        if total_bytes < 1:
            raise MessageError(f"a payload of {total_bytes} bytes; expected at least 1", code="bad_value")
        if total_bytes > cap_bytes or len(held) > total_bytes:
            raise MessageError(
                f"a payload of {total_bytes} bytes with {len(held)} held; at most {cap_bytes}",
                code="too_large",
            )
        self.total_bytes = total_bytes
        self.sha256 = sha256
        self._held: bytes | bytearray = bytearray(held)

    @property
    def next_offset(self) -> int:
        """Bytes held, in order from 0."""
        return len(self._held)

    @property
    def is_complete(self) -> bool:
        """Whether every byte has come; their digest is checked by `finish`."""
        return len(self._held) == self.total_bytes

    def add(self, offset: int, blob: bytes) -> int:
        """Take one slice and return the next expected offset.

        Raises:
            MessageError: `gap` when it starts behind the next expected offset, `too_large` when it reaches
                over the announced size, `bad_value` when the offset is negative. Nothing is taken then.
        """
        if offset < 0:
            raise MessageError(f"offset {offset} is negative", code="bad_value")
        if offset > self.next_offset:
            raise MessageError(f"slice at {offset}, expected {self.next_offset}: resume from there", code="gap")
        if offset + len(blob) > self.total_bytes:
            raise MessageError(
                f"slice ends at {offset + len(blob)} of {self.total_bytes} bytes announced", code="too_large"
            )
        if len(blob) == self.total_bytes:
            self._held = blob  # as it came: a copy less
        else:
            self._held += blob[self.next_offset - offset :]
        return self.next_offset

    def finish(self) -> bytes:
        """The whole payload.

        Raises:
            MessageError: `gap` when bytes are missing; `bad_digest` when the digest is another, and then
                everything held is dropped, so that the sender starts again from 0.
        """
        if not self.is_complete:
            raise MessageError(f"{self.next_offset} of {self.total_bytes} bytes have come", code="gap")
        digest = hashlib.sha256(self._held).hexdigest()
        if digest != self.sha256:
            self._held = bytearray()
            raise MessageError(
                f"sha256 {digest[:12]}, announced was {self.sha256[:12]}: send again from 0",
                code="bad_digest",
            )
        return bytes(self._held)
