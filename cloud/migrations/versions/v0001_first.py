"""Crafts, cases, answers, banks and reviews."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Crafts, cases, answers, banks and reviews."""
    op.create_table(
        "crafts",
        sa.Column("name", sa.String(), primary_key=True, nullable=False),
        sa.Column("public_key_z85", sa.String(), nullable=False),
        sa.Column("enrolled_at_s", sa.Double(), nullable=False),
        sa.Column("is_revoked", sa.Boolean(), nullable=False),
        sa.Column("space_id", sa.String(), nullable=True),
        sa.Column("variant", sa.String(), nullable=True),
        sa.Column("labels_json", sa.String(), nullable=False),
        sa.UniqueConstraint("public_key_z85"),
    )
    op.create_table(
        "cases",
        sa.Column("id", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("craft", sa.String(), nullable=False),
        sa.Column("case_id", sa.String(), nullable=False),
        sa.Column("payload_sha256", sa.String(), nullable=False),
        sa.Column("case_json", sa.String(), nullable=False),
        sa.Column("received_at_s", sa.Double(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.UniqueConstraint("craft", "case_id"),
    )
    op.create_index("ix_cases_case_id", "cases", ["case_id"])
    op.create_index("ix_cases_state", "cases", ["state"])
    op.create_table(
        "interpretations",
        sa.Column("id", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("craft", sa.String(), nullable=False),
        sa.Column("case_id", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("interpretation_json", sa.String(), nullable=False),
        sa.Column("is_delivered", sa.Boolean(), nullable=False),
        sa.UniqueConstraint("craft", "case_id", "by"),
    )
    op.create_index("ix_interpretations_craft", "interpretations", ["craft"])
    op.create_index("ix_interpretations_is_delivered", "interpretations", ["is_delivered"])
    op.create_table(
        "banks",
        sa.Column("id", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("craft", sa.String(), nullable=False),
        sa.Column("epoch", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("prompts", sa.LargeBinary(), nullable=False),
        sa.UniqueConstraint("craft", "epoch", "revision"),
    )
    op.create_index("ix_banks_craft", "banks", ["craft"])
    op.create_table(
        "fleet_prompts",
        sa.Column("prompt_id", sa.String(), primary_key=True, nullable=False),
        sa.Column("prompt", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "revoked_prompts",
        sa.Column("prompt_id", sa.String(), primary_key=True, nullable=False),
        sa.Column("revoked_at_s", sa.Double(), nullable=False),
    )
    op.create_table(
        "reviews",
        sa.Column("id", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("craft", sa.String(), nullable=False),
        sa.Column("case_id", sa.String(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("boxes_json", sa.String(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("reviewer", sa.String(), nullable=False),
        sa.Column("made_at_s", sa.Double(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
    )
    op.create_index("ix_reviews_state", "reviews", ["state"])


def downgrade() -> None:
    """Nobody goes back: a backup does."""
    raise NotImplementedError("restore a backup made by the older version instead")
