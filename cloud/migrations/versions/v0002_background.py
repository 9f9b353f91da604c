"""The background of recent cases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """The background of recent cases."""
    op.create_table(
        "background",
        sa.Column("id", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("craft", sa.String(), nullable=False),
        sa.Column("space_id", sa.String(), nullable=False),
        sa.Column("dim", sa.Integer(), nullable=False),
        sa.Column("vectors", sa.LargeBinary(), nullable=False),
    )
    op.create_index("ix_background_craft", "background", ["craft"])


def downgrade() -> None:
    """Nobody goes back: a backup does."""
    raise NotImplementedError("restore a backup made by the older version instead")
