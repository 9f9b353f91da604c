"""Which waiting cases go next: each craft in its turn, and of a craft's cases what is worth most while it is of use.

The turns are start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996): a craft's clock goes on by the pixels that
it was given, and the craft whose clock is furthest behind is next. So crafts share the teacher equally however many
cases each of them sends, and one that was silent has no claim to what it did not use.

Within a craft a case with a time to live loses half its worth in each quarter of it, as in the craft's own spool; one
without keeps its place by age, and at least one turn in every few. A case that cannot be answered in time any more
waits for all others.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from cloud.store import StoredCase
from edge.ordered import Ordered
from protocols.values import Case

MOST_HELD_BYTES = 64 * 2**20
"""Imagery kept from its receipt to its turn; what is beyond is read from the disk again."""

_HALVINGS = 4.0
"""In a time to live, as in the spool."""

_LEAST_WORTH = 1e-3
_CASE_PIXELS = 10_000
"""What a case costs beside its pixels, in pixels."""

_SURVEY_EVERY = 4
"""Of a craft's turns one goes to a case without a time to live, where it has both kinds."""

Key = tuple[str, str]


@dataclass(eq=False)
class WaitingCase:
    """A case that no teacher has seen.

    Attributes:
        stored: the case.
        came_s: monotonic time when it became durable.
        payload: its imagery; None where the store is to be asked.
        pixels: of its pictures, as announced.
    """

    stored: StoredCase
    came_s: float
    payload: bytes | None = None
    pixels: int = field(init=False)

    def __post_init__(self) -> None:
        """Count the pixels."""
        self.pixels = pixels_of(self.stored.case)

    @property
    def key(self) -> Key:
        """(craft, case_id)."""
        return self.stored.craft, self.stored.case.case_id

    @property
    def deadline_s(self) -> float:
        """Monotonic time after which nobody needs the answer; infinite is never."""
        ttl_s = self.stored.case.ttl_s
        return math.inf if ttl_s is None else self.came_s + ttl_s


def pixels_of(case: Case) -> int:
    """Pixels of a case's pictures, as its regions and scales announce them."""
    total = 0.0
    for part in case.parts:
        x1, y1, x2, y2 = part.region_xyxy
        total += (x2 - x1) * (y2 - y1) * part.image_scale**2
    return math.ceil(total)


class _CraftLine:
    """One craft's waiting cases."""

    def __init__(self, clock_px: float) -> None:
        self.clock_px = clock_px
        self._lanes: dict[float, Ordered[tuple[float, int, WaitingCase]]] = {}  # by time to live: worth keeps its order
        self._survey: deque[WaitingCase] = deque()
        self._passed_over = 0

    def add(self, case: WaitingCase, seq: int) -> None:
        ttl_s = case.stored.case.ttl_s
        if ttl_s is None:
            self._survey.append(case)
            return
        rank = -(math.log2(max(case.stored.case.hardness, _LEAST_WORTH)) + _HALVINGS * case.came_s / max(ttl_s, 1e-9))
        lane = self._lanes.setdefault(ttl_s, Ordered(lambda item: (item[0], item[1])))
        lane.add((rank, -seq, case))  # of equals the newest

    def pop(self, now_s: float, late_s: float, late: deque[WaitingCase]) -> WaitingCase | None:
        """Its best case; what would come after its deadline, at `late_s`, is moved to `late`."""
        best: tuple[float, Ordered[tuple[float, int, WaitingCase]]] | None = None
        for ttl_s, lane in list(self._lanes.items()):
            while lane.first is not None and lane.first[2].deadline_s <= late_s:
                late.append(lane.first[2])
                lane.remove(lane.first)
            if lane.first is None:
                del self._lanes[ttl_s]
                continue
            worth = -lane.first[0] - _HALVINGS * now_s / max(ttl_s, 1e-9)
            if best is None or worth > best[0]:
                best = worth, lane
        if self._survey and (best is None or self._passed_over >= _SURVEY_EVERY - 1):
            self._passed_over = 0
            return self._survey.popleft()
        if best is None or best[1].first is None:
            return None
        self._passed_over += bool(self._survey)
        chosen = best[1].first
        best[1].remove(chosen)
        return chosen[2]


class WaitingCases:
    """The cases that wait for the teacher, a bounded number of them; in one thread."""

    def __init__(self, most: int) -> None:
        """Know of none.

        Args:
            most: cases known here at a time; the store has the others.
        """
        self.most = most
        self._lines: dict[str, _CraftLine] = {}
        self._turns: list[tuple[float, int, str]] = []  # heap of (clock, tie breaker, craft), one for each line
        self._late: deque[WaitingCase] = deque()
        self._aside: WaitingCase | None = None  # had its turn, and did not fit
        self._keys: set[Key] = set()
        self._seq = self._held_bytes = 0
        self._clock_px = 0.0

    def __len__(self) -> int:
        """How many wait here."""
        return len(self._keys)

    def __contains__(self, key: Key) -> bool:
        """Whether a case waits here."""
        return key in self._keys

    def add(self, cases: Iterable[WaitingCase]) -> bool:
        """Take cases in, but none twice; False where some found no room, and stay in the store alone."""
        for case in cases:
            if case.key in self._keys:
                continue
            if len(self._keys) >= self.most:
                return False
            self._keys.add(case.key)
            if case.payload is not None and self._held_bytes + len(case.payload) > MOST_HELD_BYTES:
                case.payload = None
            self._held_bytes += len(case.payload or b"")
            self._seq += 1
            self._line_of(case.stored.craft).add(case, self._seq)
        return True

    def take(
        self, now_s: float, ahead_s: float, most: int, most_pixels: float, *, may_exceed: bool = True
    ) -> list[WaitingCase]:
        """The cases to answer next, in the order in which they came; they wait no longer.

        Args:
            now_s: monotonic time.
            ahead_s: until they are answered: what would come too late waits for all others.
            most: cases.
            most_pixels: of all of them.
            may_exceed: the first may have more, and goes alone then; not where others are taken already.
        """
        taken: list[WaitingCase] = []
        pixels = 0
        while len(taken) < most and (case := self._pop(now_s, now_s + ahead_s)) is not None:
            if (taken or not may_exceed) and pixels + case.pixels > most_pixels:
                self._aside = case
                break
            self._out(case)
            taken.append(case)
            pixels += case.pixels
        return sorted(taken, key=lambda case: case.came_s)

    def clear(self) -> None:
        """Forget all: the store knows them."""
        self._lines.clear()
        self._turns.clear()
        self._late.clear()
        self._aside = None
        self._keys.clear()
        self._held_bytes = 0

    def _line_of(self, craft: str) -> _CraftLine:
        line = self._lines.get(craft)
        if line is None:
            # Not before the craft that has its turn now: what a silent craft did not use is gone.
            line = self._lines[craft] = _CraftLine(self._clock_px)
            self._push(craft, line)
        return line

    def _push(self, craft: str, line: _CraftLine) -> None:
        self._seq += 1
        heapq.heappush(self._turns, (line.clock_px, self._seq, craft))

    def _pop(self, now_s: float, late_s: float) -> WaitingCase | None:
        if self._aside is not None:
            aside, self._aside = self._aside, None
            return aside
        while self._turns:
            clock_px, _, craft = heapq.heappop(self._turns)
            line = self._lines[craft]
            case = line.pop(now_s, late_s, self._late)
            if case is None:
                del self._lines[craft]
                continue
            self._clock_px = clock_px
            line.clock_px = clock_px + case.pixels + _CASE_PIXELS
            self._push(craft, line)
            return case
        return self._late.popleft() if self._late else None

    def _out(self, case: WaitingCase) -> None:
        self._keys.discard(case.key)
        self._held_bytes -= len(case.payload or b"")
