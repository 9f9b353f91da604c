"""People, programs and what they did."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """People, programs and what they did."""
    op.create_table(
        "users",
        sa.Column("name", sa.String(), primary_key=True, nullable=False),
        sa.Column("password_hash", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("is_disabled", sa.Boolean(), nullable=False),
        sa.Column("made_at_s", sa.Double(), nullable=False),
    )
    op.create_table(
        "logins",
        sa.Column("secret_sha256", sa.String(), primary_key=True, nullable=False),
        sa.Column("user", sa.String(), nullable=False),
        sa.Column("csrf", sa.String(), nullable=False),
        sa.Column("expires_at_s", sa.Double(), nullable=False),
    )
    op.create_index("ix_logins_user", "logins", ["user"])
    op.create_table(
        "tokens",
        sa.Column("name", sa.String(), primary_key=True, nullable=False),
        sa.Column("secret_sha256", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("made_at_s", sa.Double(), nullable=False),
        sa.Column("expires_at_s", sa.Double(), nullable=False),
        sa.Column("is_revoked", sa.Boolean(), nullable=False),
        sa.Column("used_at_s", sa.Double(), nullable=True),
        sa.UniqueConstraint("secret_sha256"),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("at_s", sa.Double(), nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("what", sa.String(), nullable=False),
        sa.Column("about", sa.String(), nullable=False),
        sa.Column("detail", sa.String(), nullable=False),
    )
    op.create_index("ix_events_about", "events", ["about"])
    op.create_table(
        "done_requests",
        sa.Column("key", sa.String(), primary_key=True, nullable=False),
        sa.Column("who", sa.String(), primary_key=True, nullable=False),
        sa.Column("at_s", sa.Double(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
    )
    op.create_index("ix_done_requests_at_s", "done_requests", ["at_s"])


def downgrade() -> None:
    """Nobody goes back: a backup does."""
    raise NotImplementedError("restore a backup made by the older version instead")
