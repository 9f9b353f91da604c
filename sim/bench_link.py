"""`skyloop-sim bench link`: what the link reaches on this machine, beside systems that people use.

Everything is measured between real processes on loopback; `link_recovery.py`, `frame_age.py`, `link_throughput.py`,
`many_edges_bench.py` and `link_frame_rate.py` hold one part each.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.display import Display
from sim.errors import OptionError
from sim.frame_age import frame_ages_ms
from sim.link_bench_parts import write_pictures
from sim.link_frame_rate import FrameRateBench, bench_frame_rate
from sim.link_peers import PeerRun, run_peer
from sim.link_recovery import Recovery, bench_recovery, random_faults, told_outages
from sim.link_throughput import ours_mb_s
from sim.many_edges_bench import ManyEdges, bench_many_edges
from sim.peers import PEERS_FOLDER, peers_python

PARTS = ("recovery", "age", "throughput", "edges", "frame-rate")
OUTAGES_S = (1.0, 20.0)
LONG_OUTAGE_S = 600.0

_THROUGHPUT_PEERS = ("imagezmq 1.2.0 REQ/REP", "imagezmq 1.2.0 PUB/SUB")


@dataclass(frozen=True)
class LinkBench:
    """What is measured.

    Attributes:
        parts: out of `PARTS`.
        points: random faults.
        is_long: with outages of ten minutes.
        seconds: of each row of age and throughput.
        edges: that one gateway serves.
        peers: the environment that `bench setup` made.
        seed: of the faults.
    """

    parts: tuple[str, ...] = PARTS
    points: int = 100
    is_long: bool = False
    seconds: float = 20.0
    edges: int = 1000
    peers: Path = PEERS_FOLDER
    seed: int = 1


def bench_link(options: LinkBench, display: Display) -> tuple[dict[str, Any], Recovery | None]:
    """Measure.

    Args:
        options: what to measure.
        display: shows how far it is.

    Returns:
        `recovery` (`points`, `lost`, `doubled`, `resume_s`), `age_ms` and `throughput_mb_s` by name, `many_edges`, and
        `agent_frame_rate` (see `FrameRates.summary`), those that were asked for; and every single recovery, where it
        was.

    Raises:
        OptionError: an unknown part.
        ProcessError: a program failed, or the peers' environment is not there.
    """
    unknown = sorted(set(options.parts) - set(PARTS))
    if unknown or not options.parts:
        raise OptionError(f"--parts {','.join(unknown)!r}: is none of {', '.join(PARTS)}; choose among them")
    if {"age", "throughput"} & set(options.parts):
        peers_python(options.peers)  # before the long part
    found: dict[str, Any] = {}
    recovery: Recovery | None = None
    with tempfile.TemporaryDirectory(prefix="skyloop-bench-link-") as folder:
        if "recovery" in options.parts:
            recovery = _recovery(options, Path(folder), display)
            found["recovery"] = recovery.summary()
        if "age" in options.parts:
            with display.stage("frame age") as advance:
                found["age_ms"] = frame_ages_ms(options.seconds, Path(folder), options.peers, _naming(advance))
        if "throughput" in options.parts:
            with display.stage("throughput") as advance:
                found["throughput_mb_s"] = _throughput(options, Path(folder), _naming(advance))
        if "edges" in options.parts:
            with display.stage(f"{options.edges} edges"):
                found["many_edges"] = bench_many_edges(ManyEdges(options.edges), Path(folder))
        if "frame-rate" in options.parts:
            found["agent_frame_rate"] = _frame_rate(options, Path(folder), display)
    return found, recovery


def _naming(advance: Callable[[int, str], None]) -> Callable[[str], None]:
    return lambda name: advance(0, name)


def _recovery(options: LinkBench, folder: Path, display: Display) -> Recovery:
    lengths = (*OUTAGES_S, LONG_OUTAGE_S) if options.is_long else OUTAGES_S
    faults = told_outages(lengths) + random_faults(options.points, options.seed)
    with display.stage("recovery", len(faults)) as advance:
        return bench_recovery(faults, folder, options.seed, advance)


def _frame_rate(options: LinkBench, folder: Path, display: Display) -> dict[str, Any]:
    bench = FrameRateBench(seed=options.seed)
    with display.stage("frame rate", bench.rounds) as advance:
        return bench_frame_rate(bench, folder / "frame-rate", advance).summary()


def _throughput(options: LinkBench, folder: Path, say: Callable[[str], None]) -> dict[str, float]:
    found = {}
    for name, is_durable in (("skyloop, CURVE, not durable", False), ("skyloop, CURVE, durable", True)):
        say(name)
        found[name] = round(ours_mb_s(options.seconds, folder, is_durable=is_durable), 2)
    run = PeerRun.of(options.peers, write_pictures(folder / "pictures"), options.seconds)
    for name in _THROUGHPUT_PEERS:
        say(name)
        answer = run_peer(name, run, folder)
        found[f"{name}, plain"] = round(answer["bytes"] / answer["s"] / 1e6, 2)
    return found
