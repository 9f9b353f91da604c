"""Answers and what became of their cases, many in one transaction: that costs one sync, whatever their number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from cloud.case_value import labels_in, labels_text
from cloud.database import Database
from protocols.values import Interpretation

CaseState: TypeAlias = Literal["stored", "interpreted", "unsure", "reviewed", "failed"]
Receipt: TypeAlias = tuple[str, str, str, float]

# Written out, as the store's own inserts are: what SQLAlchemy makes of each row takes longer than the row.
_KEEP_ANSWER = (
    "INSERT INTO interpretations (craft, case_id, by, interpretation_json, is_delivered) VALUES (?, ?, 'teacher', ?, 0)"
    " ON CONFLICT DO NOTHING"
)
_SET_STATE = (
    "UPDATE cases SET state = ?1, reason = ?2, confidence = coalesce(?3, confidence), "
    "value = expected_value(?1, json_extract(case_json, '$.hardness'), coalesce(?3, confidence)) "
    "WHERE craft = ?4 AND case_id = ?5 AND state != 'reviewed'"
)
_ADD_LABELS = (
    "UPDATE cases SET labels_json = (SELECT json_group_array(value) FROM "
    "(SELECT value FROM json_each(labels_json) UNION SELECT value FROM json_each(?))) WHERE craft = ? AND case_id = ?"
)
# The very answer that was sent: a person's newer one may be in its row since. SQLite may round the time it reads.
_MARK_DELIVERED = (
    "UPDATE interpretations SET is_delivered = 1 WHERE craft = ? AND case_id = ? AND by = ? "
    "AND abs(json_extract(interpretation_json, '$.made_at_s') - ?) < 1e-6"
)
_MAX_REASON_CHARS = 1000


@dataclass(frozen=True)
class CaseOutcome:
    """What became of a case; see `StoredCase`."""

    craft: str
    case_id: str
    state: CaseState
    reason: str = ""
    confidence: float | None = None


class AnswerShelf:
    """The part of the store that the engine writes; see `CaseStore`."""

    _db: Database

    def keep_answers(
        self, answers: Sequence[tuple[str, Interpretation]], outcomes: Sequence[CaseOutcome] = ()
    ) -> list[bool]:
        """Keep a teacher's answers for delivery, durably and all or none.

        Args:
            answers: (craft, answer); the first answer to a case counts.
            outcomes: what becomes of cases with it; a person's answer (`reviewed`) is not undone.

        Returns:
            For each answer whether it is to be delivered: False where one was kept before.

        Raises:
            StoreError: nothing is kept.
        """
        with self._db.writing() as session:
            connection = session.connection()
            kept = []
            for craft, answer in answers:
                row = (craft, answer.case_id, answer.model_dump_json())
                kept.append(connection.exec_driver_sql(_KEEP_ANSWER, row).rowcount > 0)
                if kept[-1] and answer.detections:
                    labels = labels_text(labels_in(answer.detections))
                    connection.exec_driver_sql(_ADD_LABELS, (labels, craft, answer.case_id))
            if outcomes:
                connection.exec_driver_sql(_SET_STATE, [_row(outcome) for outcome in outcomes])
        return kept

    def settle_cases(self, outcomes: Sequence[CaseOutcome]) -> None:
        """Note what became of several cases; a person's answer (`reviewed`) is not undone.

        Raises:
            StoreError: nothing is noted.
        """
        self.keep_answers((), outcomes)

    def mark_all_delivered(self, receipts: Sequence[Receipt]) -> None:
        """Note that crafts keep answers.

        Args:
            receipts: (craft, case_id, who made the answer, when it was made); an answer that replaced it stays.

        Raises:
            StoreError: nothing is noted; they are delivered again.
        """
        with self._db.writing() as session:
            session.connection().exec_driver_sql(_MARK_DELIVERED, list(receipts))

    def waiting_counts(self) -> dict[str, int]:
        """How many cases of each craft no teacher has interpreted; a craft without any is missing."""
        return dict(self._db.fetch("SELECT craft, count(*) FROM cases WHERE state = 'stored' GROUP BY craft"))


def _row(outcome: CaseOutcome) -> tuple[str, str, float | None, str, str]:
    return outcome.state, outcome.reason[:_MAX_REASON_CHARS], outcome.confidence, outcome.craft, outcome.case_id
