"""What a review holds, and what a look at a case is worth."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_LABELS = """
UPDATE cases SET labels_json = (
  SELECT json_group_array(label) FROM (
    SELECT json_extract(d.value, '$.label') AS label FROM json_each(cases.case_json, '$.detections') AS d
    UNION
    SELECT json_extract(d.value, '$.label')
    FROM interpretations AS i, json_each(i.interpretation_json, '$.detections') AS d
    WHERE i.craft = cases.craft AND i.case_id = cases.case_id
    ORDER BY label))
"""
"""The names that craft, teacher or person gave to anything in a case; a union holds each once."""

_VALUES = """
UPDATE cases SET value = json_extract(case_json, '$.hardness') * CASE state
  WHEN 'stored' THEN 1.0
  WHEN 'unsure' THEN max(1.0 - coalesce(confidence, 0.0), 0.5)
  WHEN 'interpreted' THEN 1.0 - coalesce(confidence, 0.0)
  ELSE 0.0 END
"""


def upgrade() -> None:
    """What a review holds, and what a look at a case is worth."""
    op.add_column("reviews", sa.Column("labels_json", sa.String(), nullable=False, server_default="[]"))
    op.add_column("reviews", sa.Column("negatives_json", sa.String(), nullable=False, server_default="[]"))
    op.add_column("reviews", sa.Column("makes_prompt", sa.Boolean(), nullable=False, server_default="1"))
    op.create_index("ix_reviews_case_id", "reviews", ["case_id"])
    op.add_column("cases", sa.Column("value", sa.Double(), nullable=False, server_default="0"))
    op.add_column("cases", sa.Column("labels_json", sa.String(), nullable=False, server_default="[]"))
    op.execute(_LABELS)
    op.execute(_VALUES)
    op.create_index("ix_cases_queue", "cases", ["state", "value"])


def downgrade() -> None:
    """Nobody goes back: a backup does."""
    raise NotImplementedError("restore a backup made by the older version instead")
