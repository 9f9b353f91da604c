"""Requests for better pictures."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Requests for better pictures."""
    op.create_table(
        "refinements",
        sa.Column("id", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("craft", sa.String(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("case_id", sa.String(), nullable=False),
        sa.Column("request_json", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("made_at_s", sa.Double(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("is_answered", sa.Boolean(), nullable=False),
        sa.Column("new_case_id", sa.String(), nullable=True),
        sa.UniqueConstraint("request_id"),
    )
    op.create_index("ix_refinements_craft", "refinements", ["craft"])
    op.create_index("ix_refinements_case_id", "refinements", ["case_id"])


def downgrade() -> None:
    """Nobody goes back: a backup does."""
    raise NotImplementedError("restore a backup made by the older version instead")
