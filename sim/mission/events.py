"""The event log of a mission: what happened, when, to whom; the same mission and seed give the same bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

Field = str | float | int | bool

_DECIMALS = 3


@dataclass(frozen=True)
class Event:
    """One event.

    Attributes:
        time_s: since the mission's start, to the millisecond.
        craft: whom it happened to.
        kind: what happened; the kinds stand in `sim/mission/README.md`.
        fields: name and value of the details, in a fixed order for each kind.
    """

    time_s: float
    craft: str
    kind: str
    fields: tuple[tuple[str, Field], ...] = ()

    def line(self) -> str:
        """One line of JSON: time_s, craft, kind, then the fields in their order."""
        return json.dumps(
            {"time_s": self.time_s, "craft": self.craft, "kind": self.kind, **dict(self.fields)}, separators=(",", ":")
        )


class EventLog:
    """Events in the order they happened."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def add(self, time_s: float, craft: str, kind: str, **fields: Field) -> None:
        """Note an event; numbers are rounded to three decimals, so that the log does not tell compilers apart."""
        rounded = tuple((name, _rounded(value)) for name, value in fields.items())
        self.events.append(Event(round(time_s, _DECIMALS), craft, kind, rounded))


def _rounded(value: Field) -> Field:
    return round(value, _DECIMALS) if isinstance(value, float) else value


def _lines(events: Iterable[Event]) -> Iterator[str]:
    return (event.line() + "\n" for event in events)


def event_digest(events: Iterable[Event]) -> str:
    """SHA-256 in hex of the lines that `write_events` writes."""
    digest = hashlib.sha256()
    for line in _lines(events):
        digest.update(line.encode())
    return digest.hexdigest()


def write_events(events: Iterable[Event], path: Path) -> None:
    """One JSON object a line, in order.

    Raises:
        OSError: the file cannot be written.
    """
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(_lines(events))
