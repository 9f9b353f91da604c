"""Targets that people ordered."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Targets that people ordered."""
    op.create_table(
        "targets",
        sa.Column("id", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("craft", sa.String(), nullable=False),
        sa.Column("target_key", sa.String(), nullable=False),
        sa.Column("order_json", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("made_at_s", sa.Double(), nullable=False),
        sa.Column("expires_at_s", sa.Double(), nullable=False),
        sa.Column("is_stopping", sa.Boolean(), nullable=False),
        sa.Column("sent_at_s", sa.Double(), nullable=True),
        sa.Column("is_answered", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("status_json", sa.String(), nullable=True),
        sa.Column("heard_at_s", sa.Double(), nullable=True),
        sa.UniqueConstraint("target_key"),
    )
    op.create_index("ix_targets_craft", "targets", ["craft"])


def downgrade() -> None:
    """Nobody goes back: a backup does."""
    raise NotImplementedError("restore a backup made by the older version instead")
