"""Which crafts are enrolled, and which student each of them flies."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.database import Database
from cloud.errors import NotThere, RequestError
from cloud.tables import CraftRow

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
"""A craft's name is part of file names."""

_Z85_KEY = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
"""32 bytes in ZeroMQ's base 85 (RFC 32/Z85)."""


@dataclass(frozen=True)
class Craft:
    """One enrolled craft.

    Attributes:
        name: its identity everywhere in the cloud.
        public_key_z85: its CURVE key, 40 characters.
        enrolled_at_s: wall time.
        is_revoked: True gives it nothing any more.
        space_id: of its student, as its last Hello said; None before the first.
        variant: of its student.
        labels: the classes its student knows.
    """

    name: str
    public_key_z85: str
    enrolled_at_s: float
    is_revoked: bool
    space_id: str | None
    variant: str | None
    labels: tuple[str, ...]

    @property
    def labels_digest(self) -> str:
        """Names the classes that it knows: another one means another student."""
        return hashlib.sha256(json.dumps([self.space_id, self.labels]).encode()).hexdigest()[:16]


class CraftShelf:
    """The craft part of the store."""

    _db: Database

    def enroll(self, name: str, public_key_z85: str) -> None:
        """Let a craft in; again with the same key is no change, and lets a revoked one in again.

        Raises:
            RequestError: the name or the key is malformed or belongs to another craft.
        """
        _check_identity(name, public_key_z85)
        with self._db.writing() as session:
            owner = session.scalar(select(CraftRow).where(CraftRow.public_key_z85 == public_key_z85))
            if owner is not None and owner.name != name:
                raise RequestError(f"this key is enrolled as {owner.name!r}; make a new key for {name!r}")
            row = session.get(CraftRow, name)
            if row is None:
                now = time.time()
                session.add(CraftRow(name=name, public_key_z85=public_key_z85, enrolled_at_s=now))
                return
            if row.public_key_z85 != public_key_z85 and not row.is_revoked:
                raise RequestError(f"{name!r} is enrolled with another key; revoke it first to replace its key")
            row.public_key_z85, row.is_revoked = public_key_z85, False

    def revoke(self, name: str) -> None:
        """Shut a craft out, also while it is connected.

        Raises:
            RequestError: no craft of this name.
        """
        with self._db.writing() as session:
            _craft_row(session, name).is_revoked = True

    def enrolled(self) -> dict[str, str]:
        """Name of the craft of each key that may speak now; a thousand take less than a millisecond."""
        return dict(self._db.fetch("SELECT public_key_z85, name FROM crafts WHERE NOT is_revoked"))

    def crafts(self) -> list[Craft]:
        """Every craft ever enrolled, by name."""
        with self._db.reading() as session:
            return [_craft(row) for row in session.scalars(select(CraftRow).order_by(CraftRow.name))]

    def craft(self, name: str) -> Craft:
        """One craft.

        Raises:
            RequestError: no craft of this name.
        """
        with self._db.reading() as session:
            return _craft(_craft_row(session, name))

    def set_craft_profile(self, name: str, space_id: str, variant: str, labels: Sequence[str]) -> None:
        """Remember which student a craft flies; writes only what changed.

        Raises:
            RequestError: no craft of this name.
        """
        known = self.craft(name)
        if (known.space_id, known.variant, known.labels) == (space_id, variant, tuple(labels)):
            return
        with self._db.writing() as session:
            row = _craft_row(session, name)
            row.space_id, row.variant, row.labels_json = space_id, variant, json.dumps(list(labels))


def _check_identity(name: str, public_key_z85: str) -> None:
    if not _NAME.fullmatch(name):
        raise RequestError(
            f"craft name {name[:70]!r} is not 1..64 of A-Z a-z 0-9 . _ - starting with a letter or digit"
        )
    if not _Z85_KEY.fullmatch(public_key_z85):
        raise RequestError(f"a public key has 40 Z85 characters, this has {len(public_key_z85)}; give a .pub file")


def _craft_row(session: Session, name: str) -> CraftRow:
    row = session.get(CraftRow, name)
    if row is None:
        raise NotThere(f"no craft is enrolled as {name[:70]!r}; see skyloop-cloud enroll --help")
    return row


def _craft(row: CraftRow) -> Craft:
    return Craft(
        name=row.name,
        public_key_z85=row.public_key_z85,
        enrolled_at_s=row.enrolled_at_s,
        is_revoked=row.is_revoked,
        space_id=row.space_id,
        variant=row.variant,
        labels=tuple(json.loads(row.labels_json)),
    )
