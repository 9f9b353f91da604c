"""What the background of a craft's recent cases looks like to its student: what new prompts stay clear of."""

from __future__ import annotations

import numpy as np
from sqlalchemy import delete, select

from cloud.database import Database
from cloud.tables import BackgroundRow
from edge.student import unit_rows
from protocols.arrays import FloatArray

_KEPT_SPACES = 2
"""A craft that flies another bundle for a while, and then the first again, finds the background of both."""


class BackgroundShelf:
    """The background part of the store."""

    _db: Database

    def add_background(self, craft: str, space_id: str, vectors: FloatArray, keep: int) -> None:
        """Keep what one case adds; the oldest cases go.

        Args:
            craft: whose case it was.
            space_id: of the student that saw it.
            vectors: (K, D) unit embeddings of its background, K may be 0; kept as float16.
            keep: cases kept of a craft and space; in all, a craft has twice as many.
        """
        row = BackgroundRow(
            craft=craft, space_id=space_id, dim=vectors.shape[1], vectors=np.asarray(vectors, "<f2").tobytes()
        )
        own = select(BackgroundRow.id).where(BackgroundRow.craft == craft)
        same = own.where(BackgroundRow.space_id == space_id)
        with self._db.writing() as session:
            session.add(row)
            session.flush()
            for rows, count in ((same, keep), (own, _KEPT_SPACES * keep)):
                old = rows.order_by(BackgroundRow.id.desc()).limit(-1).offset(count)
                session.execute(delete(BackgroundRow).where(BackgroundRow.id.in_(old)))

    def background(self, craft: str, space_id: str) -> list[FloatArray]:
        """(K, D) unit float32 embeddings for each case kept, oldest first."""
        query = select(BackgroundRow).where(BackgroundRow.craft == craft, BackgroundRow.space_id == space_id)
        with self._db.reading() as session:
            rows = session.scalars(query.order_by(BackgroundRow.id)).all()
        return [unit_rows(np.frombuffer(row.vectors, "<f2").astype(np.float32).reshape(-1, row.dim)) for row in rows]
