"""The signed metadata of one offer as it travels: the files of a TUF repository in one msgpack map."""

from __future__ import annotations

from dataclasses import dataclass

import msgpack

from edge.errors import UpdateError
from protocols.limits import MAX_BUNDLE_METADATA_BYTES

MAX_ROOTS = 64
"""Changes of the root's keys that a craft may have missed."""

_SINGLE = ("timestamp", "snapshot", "targets")


@dataclass(frozen=True)
class SignedMetadata:
    """Metadata files of a TUF repository, as signed.

    Attributes:
        roots: versions of the root in order, from version 2 on.
        timestamp, snapshot, targets: the newest of each.
    """

    roots: tuple[bytes, ...]
    timestamp: bytes
    snapshot: bytes
    targets: bytes

    def pack(self) -> bytes:
        """The bytes that travel.

        Raises:
            UpdateError: more than an offer may have.
        """
        packed: bytes = msgpack.packb({"roots": self.roots, **{name: getattr(self, name) for name in _SINGLE}})
        if len(packed) > MAX_BUNDLE_METADATA_BYTES or len(self.roots) > MAX_ROOTS:
            raise UpdateError(
                f"the signed metadata takes {len(packed)} bytes and {len(self.roots)} roots; at most "
                f"{MAX_BUNDLE_METADATA_BYTES} and {MAX_ROOTS}: withdraw old bundles, or give the crafts a new root"
            )
        return packed

    @classmethod
    def unpack(cls, packed: bytes) -> SignedMetadata:
        """The files in bytes that are not to be trusted.

        Raises:
            UpdateError: they are no such map, or over a limit.
        """
        if len(packed) > MAX_BUNDLE_METADATA_BYTES:
            raise UpdateError(f"signed metadata of {len(packed)} bytes; at most {MAX_BUNDLE_METADATA_BYTES}")
        limit = MAX_BUNDLE_METADATA_BYTES
        try:
            fields = msgpack.unpackb(
                packed, max_array_len=MAX_ROOTS, max_map_len=16, max_bin_len=limit, max_str_len=64, max_ext_len=0
            )
        except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as exc:
            raise UpdateError(f"the signed metadata is no msgpack within the limits ({type(exc).__name__})") from exc
        if not isinstance(fields, dict) or not isinstance(fields.get("roots"), list):
            raise UpdateError("the signed metadata is no map with roots")
        files = [*fields["roots"], *(fields.get(name) for name in _SINGLE)]
        if not all(isinstance(file, bytes) for file in files):
            raise UpdateError("the signed metadata lacks a file, or one is no bytes")
        return cls(tuple(fields["roots"]), *(fields[name] for name in _SINGLE))
