"""An index that lists of one craft's cases are read by."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """An index that lists of one craft's cases are read by."""
    op.create_index("ix_cases_craft", "cases", ["craft"])


def downgrade() -> None:
    """Nobody goes back: a backup does."""
    raise NotImplementedError("restore a backup made by the older version instead")
