"""Rollouts of published bundles, and what has become of them on each craft."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Rollouts of published bundles, and what has become of them on each craft."""
    op.create_table(
        "rollouts",
        sa.Column("id", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("rollout_id", sa.String(), nullable=False),
        sa.Column("bundle_id", sa.String(), nullable=False),
        sa.Column("percent", sa.Double(), nullable=False),
        sa.Column("crafts_json", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("made_at_s", sa.Double(), nullable=False),
        sa.Column("changes", sa.Integer(), nullable=False),
        sa.UniqueConstraint("rollout_id"),
    )
    op.create_table(
        "craft_bundles",
        sa.Column("id", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("craft", sa.String(), nullable=False),
        sa.Column("rollout_id", sa.String(), nullable=False),
        sa.Column("bundle_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("fetched_bytes", sa.Integer(), nullable=False),
        sa.Column("total_bytes", sa.Integer(), nullable=False),
        sa.Column("heard_at_s", sa.Double(), nullable=False),
        sa.UniqueConstraint("craft", "rollout_id"),
    )
    op.create_index("ix_craft_bundles_craft", "craft_bundles", ["craft"])
    op.create_index("ix_craft_bundles_rollout_id", "craft_bundles", ["rollout_id"])
    op.create_table(
        "flown_bundles",
        sa.Column("craft", sa.String(), primary_key=True, nullable=False),
        sa.Column("bundle_id", sa.String(), nullable=True),
        sa.Column("told_at_s", sa.Double(), nullable=False),
    )


def downgrade() -> None:
    """Nobody goes back: a backup does."""
    raise NotImplementedError("restore a backup made by the older version instead")
