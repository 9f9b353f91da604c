"""How old frames are when a consumer that is three times too slow comes to them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from sim.errors import ProcessError
from sim.journal import JournalReader
from sim.link_bench_parts import Site, percentiles, write_pictures
from sim.link_peers import PEERS, PeerRun, run_peer

FPS, CASE_S = 30.0, 0.1
_LEAST = 0.1
"""Share of the frames a consumer that never waits could take; with fewer there is nothing to tell."""

_GRACE_S = 5.0

OURS = "skyloop, CURVE, durable"


def frame_ages_ms(seconds: float, folder: Path, peers: Path, say: Callable[[str], None]) -> dict[str, dict[str, float]]:
    """`p50` and `p99` of ours and of each peer: 30 frames a second to a consumer that takes 100 ms for each.

    Args:
        seconds: that the camera runs for each of them.
        folder: for state and logs, on a disk.
        peers: environment that `bench setup` made.
        say: told what is next.

    Raises:
        ProcessError: a program failed, or nothing arrived.
    """
    pictures = write_pictures(folder / "pictures")
    say(OURS)
    found = {OURS: percentiles([1000 * age_s for age_s in _ours_s(seconds, folder, pictures)])}
    run = PeerRun.of(peers, pictures, seconds, fps=FPS, case_s=CASE_S)
    for name in PEERS:
        say(name)
        found[name] = percentiles([1000 * age_s for age_s in run_peer(name, run, folder)["ages"]])
    return found


def _ours_s(seconds: float, folder: Path, pictures: list[Path]) -> list[float]:
    site = Site.build(folder / "ours")
    reader, ages = JournalReader(site.cloud_journal), list[float]()
    with site.cloud(CASE_S, max_batch=1, max_wait_s=0.0) as cloud, site.sender(pictures, way="newest", fps=FPS) as edge:
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            time.sleep(0.1)
            cloud.ensure_running()
            edge.ensure_running()
            ages += [event["age_s"] for event in reader.new() if event["kind"] == "consumed"]
    if len(ages) < _LEAST * seconds / CASE_S:
        raise ProcessError(f"only {len(ages)} frames were consumed in {seconds:g} s; is the machine overloaded?")
    return ages
