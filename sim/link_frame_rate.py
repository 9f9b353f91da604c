"""How fast the agent flies while its link is dead, swallows everything or crawls, beside a good one."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from sim.flying_agent import FlyingSettings
from sim.journal import JournalReader
from sim.link import LinkProxy
from sim.link_bench_parts import Site, await_event
from sim.link_recovery import PROFILE
from sim.link_schedule import LinkState, always
from sim.processes import LOOPBACK, Child, command_of
from sim.scenario.conditions import LinkProfile

_CRAWL = LinkProfile(edge_to_cloud_bps=2_000, cloud_to_edge_bps=2_000, latency_ms=800.0, jitter_ms=400.0, loss=0.05)

Way: TypeAlias = "tuple[LinkState, LinkProfile]"
WAYS: dict[str, Way] = {
    "good": ("up", PROFILE),
    "dead": ("cut", PROFILE),
    "black-holed": ("black-hole", PROFILE),
    "crawling": ("up", _CRAWL),
}
"""The states of the link that are compared."""

_SETTLE_S = 2.0
"""Between a change of the link and the first round that counts: what was on its way has ended by then."""

_PATIENCE_S = 120.0
_POLL_S = 0.05


@dataclass(frozen=True)
class FrameRateBench:
    """What is measured.

    Attributes:
        rounds: in which each state of the link comes once, in random order.
        frames: flown in each state of a round, at least.
        pictures: different frames.
        threads: of ONNX Runtime, 0 for all cores.
        seed: of the order.
        settle_s: between a change of the link and what counts.
    """

    rounds: int = 12
    frames: int = 40
    pictures: int = 30
    threads: int = 1
    seed: int = 1
    settle_s: float = _SETTLE_S


@dataclass
class FrameRates:
    """What was found.

    Attributes:
        fps: by state of the link, one for each round.
        delivered: cases that reached the cloud, by state of the link.
    """

    fps: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in WAYS})
    delivered: dict[str, int] = field(default_factory=lambda: dict.fromkeys(WAYS, 0))

    def summary(self) -> dict[str, Any]:
        """Medians `fps`; `ratio` to the good link's of the same round, its median and its quartiles by state."""
        ratios = {
            name: [found / good for found, good in zip(rates, self.fps["good"], strict=True)]
            for name, rates in self.fps.items()
            if name != "good"
        }
        return {
            "fps": {name: round(statistics.median(rates), 2) for name, rates in self.fps.items()},
            "ratio": {name: round(statistics.median(values), 3) for name, values in ratios.items()},
            "quartiles": {name: np.quantile(values, (0.25, 0.75)).round(3).tolist() for name, values in ratios.items()},
            "delivered": self.delivered,
        }


def bench_frame_rate(
    options: FrameRateBench, folder: Path, on_round: Callable[[int, str], None] = lambda *_: None
) -> FrameRates:
    """Fly the agent in a process of its own and change its link under way.

    Args:
        options: how long.
        folder: for state and logs, on a disk.
        on_round: told the round and the state that comes next.

    Raises:
        ProcessError: a program failed, or the agent flies no more.
    """
    rng, found = np.random.default_rng(options.seed), FrameRates()
    with ExitStack() as stack:
        site = Site.build(folder)
        stack.enter_context(site.cloud(0.0))
        link = stack.enter_context(LinkProxy(always(PROFILE), (LOOPBACK, site.port), rng))
        link.begin()
        agent = _Watched(site, stack.enter_context(_agent(site, link.port, options)))
        agent.next_rounds(time.monotonic(), 1)  # the first warms up
        for number in range(options.rounds):
            for name in rng.permutation(list(WAYS)):
                on_round(number, str(name))
                link.become(*WAYS[name])
                time.sleep(options.settle_s)
                flown = agent.next_rounds(time.monotonic(), 2)
                found.fps[name].append(statistics.fmean(event["fps"] for event in flown))
                found.delivered[name] += flown[-1]["delivered"] - flown[0]["delivered"]
    return found


class _Watched:
    """The agent's program, and what it notes."""

    def __init__(self, site: Site, child: Child) -> None:
        self._reader, self._child = JournalReader(site.edge_journal), child

    def next_rounds(self, since_s: float, count: int) -> list[dict[str, Any]]:
        """The first rounds that began after a moment."""
        found: list[dict[str, Any]] = []

        def is_enough() -> bool:
            news = [event for event in self._reader.new() if event["kind"] == "flown"]
            found.extend(event for event in news if event["begin_s"] >= since_s)
            return len(found) >= count

        await_event(self._child, is_enough, _PATIENCE_S, _POLL_S)
        return found[:count]


def _agent(site: Site, port: int, options: FrameRateBench) -> Child:
    told = FlyingSettings(
        endpoint=f"tcp://{LOOPBACK}:{port}",
        keys=str(site.keys / "edge"),
        state=str(site.state / "edge"),
        journal=str(site.edge_journal),
        frames=max(options.frames // 2, 1),
        pictures=options.pictures,
        threads=options.threads,
    )
    return Child("the agent", command_of("flying-agent", json.dumps(asdict(told))), site.folder / "agent.log")
