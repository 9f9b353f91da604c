"""How long and how much a data folder keeps, and the rounds that see to it.

What goes first: imagery of answered cases, the oldest first; then their rows, of which the digest stays, so that a
case that is offered again after months is known and not answered twice; events and digests by age. What waits for the
teacher or a person, is not yet delivered, or is in use is kept however old it is, and what people reviewed unless
`drop_reviewed` says otherwise (`cloud/retention_shelf.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

import structlog

from cloud.data_lock import taking_away
from cloud.retention_settings import RetentionSettings
from cloud.retention_shelf import Gone, Spare
from cloud.store import CaseStore
from edge.clock import Clock

log = structlog.get_logger()

Kind: TypeAlias = Literal["imagery", "case", "event", "digest", "orphan"]

PREFIXES = tuple(f"{number:02x}" for number in range(256))
"""The folders that imagery lies in."""

_DAY_S = 86400.0

_STEP = 100
"""Cases of one step: a write transaction of some ten milliseconds."""

_STEP_ROWS = 2000
"""Events or digests of one step: they are small."""


@dataclass(frozen=True)
class Step:
    """What one step let go.

    Attributes:
        kind: of thing.
        gone: how much.
    """

    kind: Kind
    gone: Gone


class Retention:
    """Rounds over one store; one thread at a time.

    Attributes:
        over_bytes: imagery over the bound that may not go, as the last round found; 0 where the bound is kept.
        over_cases: likewise of cases.
    """

    def __init__(self, store: CaseStore, settings: RetentionSettings, clock: Clock) -> None:
        self.over_bytes = self.over_cases = 0
        self._store, self._settings, self._clock = store, settings, clock
        self._revisions: dict[str, tuple[str, int]] | None = None
        self._in_prompts: frozenset[str] = frozenset()
        self._next_prefix = 0

    def steps(self, folders: int = 4) -> Iterator[Step]:
        """One round, step by step: each is short, and the caller may pause between them; ends early for a backup.

        Args:
            folders: of 256, looked through for files that no case claims, going on where the last round ended.

        Raises:
            StoreError: the store failed; what is gone is gone, the next round goes on.
        """
        steps = self._all_steps(folders)
        while True:
            with taking_away(self._store.data_dir) as may:
                step = next(steps, None) if may else None
            if step is None:
                return
            yield step

    def _all_steps(self, folders: int) -> Iterator[Step]:
        spare = self._spare()
        yield from self._imagery(spare)
        yield from self._cases(spare)
        for kind, table, column, days in self._tables():
            if before_s := self._before(days):
                yield from _until_none(kind, partial(self._store.forget_rows, table, column, before_s, _STEP_ROWS))
        if most := self._settings.events:
            yield from _until_none("event", partial(self._store.forget_events, most, _STEP_ROWS))
        older_than_s = self._clock.wall_s() - self._settings.orphan_s
        for _ in range(folders):
            prefix = PREFIXES[self._next_prefix]
            self._next_prefix = (self._next_prefix + 1) % len(PREFIXES)
            yield from _until_none("orphan", partial(self._store.remove_orphans, prefix, older_than_s, _STEP))

    def plan(self) -> list[Step]:
        """What a round over everything would let go now; nothing is changed.

        Imagery that goes only because its case goes whole is not counted.
        """
        store, settings, spare = self._store, self._settings, self._spare()
        before_s = self._before(settings.imagery_days)
        aged = store.spare_imagery(spare, before_s) if before_s else Gone()
        excess = store.imagery_bytes() - aged.freed_bytes - settings.imagery_bytes if settings.imagery_bytes else 0
        bulky = store.oldest_imagery(spare, before_s, excess) if excess > 0 else Gone()
        old = store.spare_cases(spare, before_s) if (before_s := self._before(settings.case_days)) else 0
        many = store.case_count() - old - settings.cases if settings.cases else 0
        more = min(max(many, 0), store.spare_cases(spare) - old)
        older_than_s = self._clock.wall_s() - settings.orphan_s
        orphans = [path for prefix in PREFIXES for path in store.find_orphans(prefix, older_than_s)]
        rows = [
            Step(kind, Gone(store.count_rows(table, column, before_s)))
            for kind, table, column, days in self._tables()
            if (before_s := self._before(days))
        ]
        aged_events = sum(step.gone.count for step in rows if step.kind == "event")
        over = max(store.count_events_over(settings.events) - aged_events, 0) if settings.events else 0
        return [
            Step("imagery", aged + bulky),
            Step("case", Gone(old + more)),
            *rows,
            Step("event", Gone(over)),
            Step("orphan", Gone(len(orphans), sum(path.stat().st_size for path in orphans))),
        ]

    def _tables(self) -> tuple[tuple[Kind, str, str, float], ...]:
        """What goes by age alone: (kind, table, its column of wall times, days)."""
        return (
            ("event", "events", "at_s", self._settings.event_days),
            ("digest", "forgotten_cases", "forgotten_at_s", self._settings.digest_days),
        )

    def _before(self, days: float) -> float | None:
        """The wall time before which things are too old; None where no age is."""
        return self._clock.wall_s() - days * _DAY_S if days else None

    def _imagery(self, spare: Spare) -> Iterator[Step]:
        store, most = self._store, self._settings.imagery_bytes
        if before_s := self._before(self._settings.imagery_days):
            yield from _until_none("imagery", partial(store.drop_imagery, spare, _STEP, before_s=before_s))
        excess = store.imagery_bytes() - most if most else 0
        while excess > 0 and (gone := store.drop_imagery(spare, _STEP, excess=excess)).count:
            yield Step("imagery", gone)
            excess = store.imagery_bytes() - most
        self.over_bytes = _tell_over("imagery bytes", self.over_bytes, excess)

    def _cases(self, spare: Spare) -> Iterator[Step]:
        store, most = self._store, self._settings.cases
        if before_s := self._before(self._settings.case_days):
            yield from _until_none("case", partial(store.forget_cases, spare, _STEP, before_s=before_s))
        excess = store.case_count() - most if most else 0
        while excess > 0 and (gone := store.forget_cases(spare, min(_STEP, excess))).count:
            yield Step("case", gone)
            excess = store.case_count() - most
        self.over_cases = _tell_over("cases", self.over_cases, excess)

    def _spare(self) -> Spare:
        revisions = self._store.bank_revisions()
        if revisions != self._revisions:  # banks are large, and change rarely
            prompts = [prompt for craft in revisions for prompt in self._store.bank(craft).prompts]
            prompts += self._store.fleet_prompts()
            self._in_prompts = frozenset(prompt.case_id for prompt in prompts if prompt.case_id)
            self._revisions = revisions
        return Spare(self._in_prompts | self._store.target_cases(), self._settings.drop_reviewed)


def _until_none(kind: Kind, step: Callable[[], Gone]) -> Iterator[Step]:
    while (gone := step()).count:
        yield Step(kind, gone)


def _tell_over(what: str, before: int, excess: int) -> int:
    """The excess that is left, once in the log when it begins."""
    if excess > 0 and not before:
        log.warning(
            "retention bound cannot be kept: the rest waits, is not delivered, is reviewed or is in use",
            what=what,
            excess=excess,
        )
    return max(excess, 0)
