"""The craft's spool in memory: bounded as `edge.spool.Spool` is, and ruled by worth per byte, too.

Two things differ: the case on its way is neither dropped nor expired, so that every case ends in one way alone; and a
case keeps its worth until its deadline, whatever its class, for there is one kind of case here.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge.ranking import rank, worth_per_byte
from sim.mission.settings import SpoolSettings


@dataclass
class MissionCase:
    """A case without imagery; only `offset` and `is_stored` change.

    Attributes:
        case_id: unique in the mission.
        capture: index of the capture it was made of.
        value: its hardness, as in the real scheduler.
        payload_bytes: of imagery.
        captured_s: since the mission's start.
        deadline_s: from then on an answer is of no use; None is never.
        seq: order of arrival.
        offset: bytes of imagery that the cloud has.
        is_stored: whether the cloud has all of it, known to the craft or not.
    """

    case_id: str
    capture: int
    value: float
    payload_bytes: int
    captured_s: float
    deadline_s: float | None
    seq: int
    offset: int = 0
    is_stored: bool = False

    @property
    def order(self) -> tuple[float, int]:
        """Sort key: first to send, last to drop."""
        return rank(worth_per_byte(self.value, self.payload_bytes), self.seq)


class MissionSpool:
    """Cases that the link has not yet taken.

    Attributes:
        total_bytes: of imagery, now.
        peak_bytes: most there ever were.
        dropped, expired: counts.
        on_its_way: the case that is being sent.
    """

    def __init__(self, settings: SpoolSettings) -> None:
        self.settings = settings
        self.total_bytes = self.peak_bytes = self.dropped = self.expired = 0
        self.on_its_way: MissionCase | None = None
        self._kept: dict[str, MissionCase] = {}

    def __len__(self) -> int:
        """Cases kept, with those whose receipt is missing."""
        return len(self._kept)

    @property
    def waiting(self) -> int:
        """Cases that the cloud does not have."""
        return sum(not case.is_stored for case in self._kept.values())

    def put(self, case: MissionCase) -> list[MissionCase]:
        """Keep a case.

        Returns:
            Those that were dropped for want of room, perhaps the new one itself; not one that the cloud has already.
        """
        dropped = []
        while self._is_full(case.payload_bytes):
            last = max((case, *self._droppable()), key=lambda waiting: waiting.order)
            if not last.is_stored:
                dropped.append(last)
                self.dropped += 1
            if last is case:
                return dropped
            self.done(last)
        self._kept[case.case_id] = case
        self.total_bytes += case.payload_bytes
        self.peak_bytes = max(self.peak_bytes, self.total_bytes)
        return dropped

    def best(self) -> MissionCase | None:
        """The case to send next, or None."""
        return min(self._kept.values(), key=lambda case: case.order, default=None)

    def _droppable(self) -> list[MissionCase]:
        return [case for case in self._kept.values() if case is not self.on_its_way]

    def done(self, case: MissionCase) -> None:
        """Let a case go; one that is not here is ignored."""
        if self._kept.pop(case.case_id, None) is not None:
            self.total_bytes -= case.payload_bytes

    def expire(self, now_s: float) -> list[MissionCase]:
        """Let go of cases whose deadline has passed; returns those that the cloud does not have."""
        waiting = (case for case in self._kept.values() if case is not self.on_its_way)
        late = [case for case in waiting if case.deadline_s is not None and case.deadline_s <= now_s]
        for case in late:
            self.done(case)
        lost = [case for case in late if not case.is_stored]
        self.expired += len(lost)
        return lost

    def _is_full(self, more_bytes: int) -> bool:
        limits = self.settings
        return len(self._kept) >= limits.max_cases or self.total_bytes + more_bytes > limits.max_bytes
