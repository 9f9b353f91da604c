"""The order of the cases in the spool: value per byte now, fairly between classes, what can still be in time first.

Cases of one class and one time to live form a lane. Within a lane the order never changes, since all of them lose worth
alike: by half in each quarter of their time to live, or not at all where an answer is of use for ever. So the next case
is found among the heads of a few lanes, however many cases wait.

Between classes it is proportional fair (Kelly, Maulloo and Tan, "Rate control for communication networks", 1998): next
is the class whose best case brings most per byte in relation to the bytes that the class was given lately. In the long
run each gets bytes in proportion to what its cases are worth, and none gets nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from edge.boot_times import Moment
from edge.fairness import FairShares, class_of
from edge.ordered import Ordered
from edge.ranking import rank, worth_per_byte
from protocols.values import Case

_HALVINGS = 4.0
"""In a time to live: an answer that comes at its very end is worth a sixteenth of one at once."""


@dataclass(frozen=True)
class SpooledCase:
    """A case in the spool, without its imagery.

    Attributes:
        case: as it will be offered.
        value: what sending it is worth when it is new; any scale, only the order counts.
        stored: when it was put here.
        deadline_s: monotonic time from which an answer is of no use; infinite is never.
        seq: order of arrival, over all runs.
        is_left_over: whether an earlier run put it here; it may have been offered then.
    """

    case: Case
    value: float
    stored: Moment
    deadline_s: float
    seq: int
    is_left_over: bool

    @property
    def order(self) -> tuple[float, int]:
        """Sort key by what it was worth for a byte when it was new: first to send, last to drop."""
        return rank(worth_per_byte(self.value, self.case.payload_bytes), self.seq)

    @property
    def end(self) -> tuple[float, int]:
        """Sort key: first to expire."""
        return self.deadline_s, self.seq

    @property
    def class_name(self) -> str:
        """Whom it is for; see `edge.fairness.class_of`."""
        case = self.case
        return class_of(case.reasons, case.detections, case.target.target_id if case.target else None)

    def is_in_time(self, now_s: float, bytes_per_s: float | None) -> bool:
        """Whether a path that takes so much, None for who knows, brings it through before its deadline."""
        return bytes_per_s is None or now_s + self.case.payload_bytes / max(bytes_per_s, 1e-9) <= self.deadline_s

    def log_worth(self, now_s: float) -> float:
        """Logarithm to base 2 of what it is worth for a byte now."""
        new = math.log2(max(worth_per_byte(self.value, self.case.payload_bytes), 1e-12))
        if self.case.ttl_s is None or not math.isfinite(self.deadline_s):
            return new
        return new - _HALVINGS * (1 - (self.deadline_s - now_s) / max(self.case.ttl_s, 1e-9))


_Lane = tuple[str, "float | None"]


class CaseQueue:
    """Cases to be sent, durable or not yet, in lanes; not for several threads at a time."""

    def __init__(self) -> None:
        """Hold nothing."""
        self._lanes: dict[_Lane, Ordered[SpooledCase]] = {}
        self._bytes: Counter[str] = Counter()
        self._given = FairShares()

    def add(self, entry: SpooledCase) -> None:
        """Take one in."""
        lane = self._lanes.setdefault(_lane_of(entry), Ordered(_key))
        lane.add(entry)
        self._bytes[entry.class_name] += entry.case.payload_bytes

    def remove(self, entry: SpooledCase) -> None:
        """Take one out; nothing happens where it is not here."""
        lane = self._lanes.get(_lane_of(entry))
        before = 0 if lane is None else len(lane)
        if lane is None:
            return
        lane.remove(entry)
        if len(lane) < before:
            self._bytes[entry.class_name] -= entry.case.payload_bytes
            if not self._bytes[entry.class_name]:  # each target is a class of its own: there is no end of them
                del self._bytes[entry.class_name]
        if not len(lane):
            del self._lanes[_lane_of(entry)]

    def best(
        self,
        now_s: float,
        skip: Collection[str],
        bytes_per_s: float | None = None,
        is_wanted: Callable[[float | None], bool] | None = None,
    ) -> SpooledCase | None:
        """The case to send next; None where nothing waits.

        Args:
            now_s: monotonic time.
            skip: cases to leave out.
            bytes_per_s: what the path takes: what cannot be through before its deadline comes after all else.
            is_wanted: whether cases with this time to live, or without one, may be sent; None is all of them.
        """
        lanes = [lane for (_, ttl_s), lane in self._lanes.items() if is_wanted is None or is_wanted(ttl_s)]
        heads = _heads(lanes, now_s, skip, bytes_per_s) or _heads(lanes, now_s, skip, None)
        return max(heads, key=lambda entry: (self._index(entry, now_s), -entry.seq), default=None)

    def give(self, entry: SpooledCase, now_s: float) -> None:
        """Note that a case is sent: its class was given the bytes."""
        self._given.give(entry.class_name, entry.case.payload_bytes, now_s)

    def least(self, now_s: float) -> SpooledCase | None:
        """Who makes room at a monotonic time: the least worth of the classes that fill more than an equal share."""
        entries = [lane.last for lane in self._lanes.values() if lane.last is not None]
        share = sum(self._bytes.values()) / max(len(self._bytes), 1)
        rich = [entry for entry in entries if self._bytes[entry.class_name] >= share]
        return min(rich or entries, key=lambda entry: (entry.log_worth(now_s), -entry.seq), default=None)

    def bytes_before(self, worth: float, now_s: float) -> int:
        """Imagery that goes before a case of a new one's worth for a byte."""
        wanted = math.log2(max(worth, 1e-12))
        return sum(entry.case.payload_bytes for lane in self._lanes.values() for entry in _down_to(lane, wanted, now_s))

    def _index(self, entry: SpooledCase, now_s: float) -> float:
        given = self._given.given(entry.class_name, now_s)
        return entry.log_worth(now_s) - math.log2(given + entry.case.payload_bytes)


def _lane_of(entry: SpooledCase) -> _Lane:
    return entry.class_name, entry.case.ttl_s if math.isfinite(entry.deadline_s) else None


def _heads(
    lanes: Iterable[Ordered[SpooledCase]], now_s: float, skip: Collection[str], bytes_per_s: float | None
) -> list[SpooledCase]:
    heads = []
    for lane in lanes:
        for entry in lane:
            if entry.case.case_id not in skip and entry.is_in_time(now_s, bytes_per_s):
                heads.append(entry)
                break
    return heads


def _key(entry: SpooledCase) -> tuple[float, int]:
    """Sort key within a lane: all lose worth alike there, so that any moment will do."""
    return -entry.log_worth(0.0), entry.seq


def _down_to(lane: Ordered[SpooledCase], log_worth: float, now_s: float) -> Iterator[SpooledCase]:
    for entry in lane:
        if entry.log_worth(now_s) < log_worth:
            return
        yield entry
