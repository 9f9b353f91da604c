"""How soon cases flow again after the link or one of its ends broke, and whether any is lost or applied twice."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from sim.errors import ProcessError
from sim.journal import JournalReader
from sim.link import LinkProxy
from sim.link_bench_parts import Site, write_pictures
from sim.link_schedule import always
from sim.processes import LOOPBACK, Child
from sim.scenario.conditions import LinkProfile

FaultKind: TypeAlias = Literal["cut", "outage", "black-hole", "half-open", "flips", "kill-edge", "kill-cloud"]
KINDS: tuple[FaultKind, ...] = ("cut", "outage", "black-hole", "half-open", "flips", "kill-edge", "kill-cloud")

PROFILE = LinkProfile(edge_to_cloud_bps=8e6, cloud_to_edge_bps=16e6, latency_ms=20.0)
"""The scenarios' own link; its round trip is 40 ms."""

_CASES_PER_S = 4.0
_MOST_FAULT_S = 1.0
_FLIPPED = 1e-4
_PATIENCE_S = 90.0
_DRAIN_S = 900.0
_POLL_S = 0.005


@dataclass(frozen=True)
class Fault:
    """One thing that breaks.

    Attributes:
        kind: what; `kill-…` is `kill -9` and a new start.
        after_s: since the last fault was over and cases flowed again.
        for_s: how long; `half-open` happens in a moment.
    """

    kind: FaultKind
    after_s: float
    for_s: float


@dataclass
class Recovery:
    """What was found.

    Attributes:
        resume_s: (kind, how long it lasted, seconds from its end to the next case acknowledged), in order.
        lost: cases that the spool had taken and the store has not.
        doubled: cases that the store holds twice, or whose answer it or the craft holds twice.
        accepted: cases that the spool had taken.
    """

    resume_s: list[tuple[FaultKind, float, float]] = field(default_factory=list)
    lost: int = 0
    doubled: int = 0
    accepted: int = 0

    def summary(self) -> dict[str, Any]:
        """`points`, `lost`, `doubled`, and `resume_s` with `p50` and `max`."""
        times = [resume_s for _, _, resume_s in self.resume_s]
        resume = {"p50": round(float(np.median(times)), 3), "max": round(max(times), 3)}
        return {"points": len(times), "lost": self.lost, "doubled": self.doubled, "resume_s": resume}

    def by_kind(self) -> dict[str, dict[str, float]]:
        """The same of each kind of fault: `points`, and seconds `p50` and `max`."""
        rows: dict[str, dict[str, float]] = {}
        for kind in KINDS:
            times = [resume_s for found, _, resume_s in self.resume_s if found == kind]
            if times:
                rows[kind] = {"points": len(times), "p50": float(np.median(times)), "max": max(times)}
        return rows


def random_faults(count: int, seed: int) -> list[Fault]:
    """As many of each kind, in random order, at random moments and for up to a second."""
    rng = np.random.default_rng(seed)
    kinds = [KINDS[number % len(KINDS)] for number in range(count)]
    return [
        Fault(kinds[place], float(rng.uniform(0.2, 1.5)), float(rng.uniform(0.05, _MOST_FAULT_S)))
        for place in rng.permutation(count)
    ]


def told_outages(lengths_s: Sequence[float]) -> list[Fault]:
    """Of each length one in silence and one that refuses connections."""
    kinds: tuple[FaultKind, ...] = ("outage", "cut")
    return [Fault(kind, 1.0, length_s) for length_s in lengths_s for kind in kinds]


def bench_recovery(
    faults: Sequence[Fault], folder: Path, seed: int, on_fault: Callable[[int, str], None] = lambda *_: None
) -> Recovery:
    """Break things one after the other while cases flow, then let all arrive and count.

    Args:
        faults: what breaks.
        folder: for state and logs, on a disk.
        seed: of the link.
        on_fault: told how many are over and which comes next.

    Raises:
        ProcessError: a program failed by itself, or cases did not flow again within a minute and a half.
    """
    found = Recovery()
    with Crossing(folder, seed) as crossing:
        for number, fault in enumerate(faults):
            on_fault(number, fault.kind)
            found.resume_s.append((fault.kind, fault.for_s, crossing.break_and_mend(fault)))
        crossing.drain()
        accepted = crossing.accepted
    found.accepted = len(accepted)
    stored = _cases(crossing.site.data)
    found.lost = len(accepted - set(stored))
    found.doubled = sum(count - 1 for count in stored.values()) + _doubled_answers(crossing.site)
    return found


class Crossing:
    """Edge, link and cloud with cases under way; use as a context manager.

    Attributes:
        site: where they keep what they keep.
        accepted: ids of the cases that the spool took durably.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        """Make keys; nothing runs yet."""
        self.site = Site.build(folder / "recovery")
        self.accepted: set[str] = set()
        self._pictures = write_pictures(folder / "crops", size=(96, 80))
        self._link = LinkProxy(always(PROFILE), (LOOPBACK, self.site.port), np.random.default_rng(seed))
        self._reader = JournalReader(self.site.edge_journal)
        self._cloud_reader = JournalReader(self.site.cloud_journal)
        self._delivered_s: list[float] = []
        self._started_s = self._ready_s = 0.0
        self._stack = ExitStack()

    def __enter__(self) -> Crossing:
        """Start everything, and wait for the first case to arrive."""
        with ExitStack() as stack:
            stack.enter_context(self._link)
            self._cloud = self._start_cloud()
            stack.callback(lambda: self._cloud.stop())
            self._edge = self._start_edge()
            stack.callback(lambda: self._edge.stop())
            self._await_case(time.monotonic())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """End everything."""
        self._stack.close()

    def break_and_mend(self, fault: Fault) -> float:
        """Seconds from the fault's end to the next case that is acknowledged.

        Raises:
            ProcessError: cases do not flow again.
        """
        time.sleep(fault.after_s)
        mended_s = self._suffer(fault)
        resume_s = self._await_case(mended_s) - mended_s
        self._link.become("up", PROFILE)
        return resume_s

    def drain(self) -> None:
        """Take no more cases, and return once the spool is empty.

        Raises:
            ProcessError: it does not become empty.
        """
        os.kill(self._edge.pid, signal.SIGUSR1)
        self._edge.wait(_DRAIN_S)
        self._look()

    def _suffer(self, fault: Fault) -> float:
        """Let it happen; returns when it was over."""
        if fault.kind == "kill-cloud":
            self._cloud.kill()
            time.sleep(fault.for_s)
            self._cloud = self._start_cloud()
            return self._ready_s
        if fault.kind == "kill-edge":
            self._edge.kill()
            time.sleep(fault.for_s)
            self._edge = self._start_edge()
            return self._started_s
        if fault.kind == "half-open":
            self._link.become("half-open")
            return time.monotonic()
        if fault.kind == "flips":
            self._link.become("up", PROFILE.model_copy(update={"bit_error_rate": _FLIPPED}))
        else:
            self._link.become(fault.kind)
        time.sleep(fault.for_s)
        self._link.become("up", PROFILE)
        return time.monotonic()

    def _start_cloud(self) -> Child:
        child = self.site.cloud(0.0, max_wait_s=0.0)
        self._ready_s = [event["s"] for event in self._cloud_reader.new() if event["kind"] == "ready"][-1]
        return child

    def _start_edge(self) -> Child:
        endpoint = f"tcp://{LOOPBACK}:{self._link.port}"
        child = self.site.sender(self._pictures, way="paced", fps=_CASES_PER_S, endpoint=endpoint)
        self._look()
        return child

    def _await_case(self, since_s: float) -> float:
        """When the first case after a moment was acknowledged."""
        deadline_s = time.monotonic() + _PATIENCE_S
        while True:
            self._look()
            later = [at_s for at_s in self._delivered_s if at_s > since_s]
            if later:
                return later[0]
            self._edge.ensure_running()
            self._cloud.ensure_running()
            if time.monotonic() > deadline_s:
                raise ProcessError(f"no case came through within {_PATIENCE_S:.0f} s; see {self.site.folder}")
            time.sleep(_POLL_S)

    def _look(self) -> None:
        for event in self._reader.new():
            if event["kind"] == "accepted":
                self.accepted.add(event["case_id"])
            elif event["kind"] == "started":
                self._started_s = event["s"]
            elif event["kind"] == "delivered" and event["count"]:
                self._delivered_s = [*self._delivered_s[-8:], event["s"]]


def _cases(data: Path) -> Counter[str]:
    """How often the store holds each case, read without the store's own code."""
    with closing(sqlite3.connect(data / "skyloop.sqlite")) as database:
        return Counter(case_id for (case_id,) in database.execute("SELECT case_id FROM cases"))


def _doubled_answers(site: Site) -> int:
    with closing(sqlite3.connect(site.data / "skyloop.sqlite")) as database:
        given = Counter(database.execute("SELECT case_id, by FROM interpretations"))
    lines = (site.state / "edge" / "out" / "interpretations.jsonl").read_text().splitlines()
    kept = Counter((answer["case_id"], answer["by"]) for answer in map(json.loads, lines))
    return sum(count - 1 for counts in (given, kept) for count in counts.values())
