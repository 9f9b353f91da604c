"""A case between its turn and its answer, and the small interfaces that the engine works between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cloud.answers import Seen
from cloud.case_images import CaseImage
from cloud.metrics import CloudMetrics
from cloud.store import StoredCase
from cloud.teachers.teacher import TeacherAnswer
from cloud.waiting import WaitingCase
from protocols.values import Interpretation


class Postman(Protocol):
    """Takes what is new for crafts; called in the thread that keeps answers."""

    def notify(self, craft: str) -> None:
        """The store has something new for a craft."""
        ...

    def deliver(self, answers: Sequence[tuple[str, Interpretation]]) -> None:
        """These answers are durable: (craft, answer)."""
        ...


@dataclass
class OpenedCase:
    """A case on its way through the teacher.

    Attributes:
        waiting: the case.
        images: its pictures; none where `fault` is.
        fault: why it cannot be answered; empty where it can.
        answers: the teacher's, one for each picture, once it was asked.
    """

    waiting: WaitingCase
    images: list[CaseImage] = field(default_factory=list)
    fault: str = ""
    answers: list[TeacherAnswer] = field(default_factory=list)

    @property
    def stored(self) -> StoredCase:
        """As the store has it."""
        return self.waiting.stored

    @property
    def seen(self) -> Seen:
        """Each picture with its answer."""
        return list(zip(self.images, self.answers, strict=True))


class Backlog(Protocol):
    """Where cases wait durably: of the store what the engine needs."""

    def waiting_cases(self, limit: int) -> list[StoredCase]:
        """Cases that no teacher has interpreted yet."""
        ...

    def waiting_counts(self) -> Mapping[str, int]:
        """How many cases of each craft no teacher has interpreted."""
        ...


class Answering(Protocol):
    """Answers cases in three steps, each in a thread of its own; see `Interpreter`."""

    metrics: CloudMetrics

    def open(self, cases: Sequence[WaitingCase]) -> list[OpenedCase]:
        """Decode the pictures of cases."""
        ...

    def ask(self, cases: Sequence[OpenedCase]) -> None:
        """Let the teacher look at a batch."""
        ...

    def keep(self, cases: Sequence[OpenedCase], postman: Postman) -> None:
        """Make a batch's answers durable, and send them out."""
        ...


class Knocking:
    """Says of answers, too, no more than that there is something new."""

    def __init__(self, notify: Callable[[str], None]) -> None:
        """Call this with a craft's name."""
        self.notify = notify

    def deliver(self, answers: Sequence[tuple[str, Interpretation]]) -> None:
        """Tell each craft that there is something new."""
        for craft, _ in answers:
            self.notify(craft)
