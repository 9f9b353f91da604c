"""Which cases somebody asks for: in the console's queue, and in the lists of the HTTP API."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement

from cloud.case_value import label_text
from cloud.tables import CaseRow


@dataclass(frozen=True)
class CaseFilter:
    """Which cases are asked for; None is any.

    Attributes:
        state: of the case.
        craft: who sent it.
        label: a name that craft, teacher or person gave to something in it.
        since_s, until_s: wall times between which it came in, the first included.
    """

    state: str | None = None
    craft: str | None = None
    label: str | None = None
    since_s: float | None = None
    until_s: float | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """What is true of the rows of such cases."""
        found: list[ColumnElement[bool]] = []
        if self.state is not None:
            found.append(CaseRow.state == self.state)
        if self.craft is not None:
            found.append(CaseRow.craft == self.craft)
        if self.label is not None:
            found.append(CaseRow.labels_json.contains(label_text(self.label), autoescape=True))
        if self.since_s is not None:
            found.append(CaseRow.received_at_s >= self.since_s)
        if self.until_s is not None:
            found.append(CaseRow.received_at_s < self.until_s)
        return found
