"""What retention needs: how large each case's imagery is, and the digests of cases that went."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Sizes of imagery, digests of cases that went, and indices to find the oldest by."""
    op.add_column("cases", sa.Column("imagery_bytes", sa.Integer(), nullable=False, server_default="0"))
    op.execute("UPDATE cases SET imagery_bytes = json_extract(case_json, '$.payload_bytes')")
    op.create_index("ix_cases_state_received", "cases", ["state", "received_at_s"])
    op.create_index(
        "ix_cases_imagery",
        "cases",
        ["state", "received_at_s", "imagery_bytes"],
        sqlite_where=sa.text("imagery_bytes > 0"),
    )
    op.create_table(
        "forgotten_cases",
        sa.Column("case_id", sa.String(), primary_key=True, nullable=False),
        sa.Column("craft", sa.String(), primary_key=True, nullable=False),
        sa.Column("payload_sha256", sa.String(), nullable=False),
        sa.Column("forgotten_at_s", sa.Double(), nullable=False),
    )
    op.create_index("ix_forgotten_cases_forgotten_at_s", "forgotten_cases", ["forgotten_at_s"])


def downgrade() -> None:
    """Nobody goes back: a backup does."""
    raise NotImplementedError("restore a backup made by the older version instead")
