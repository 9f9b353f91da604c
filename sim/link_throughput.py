"""How many bytes a second of encoded pictures cross loopback: ours, encrypted and acknowledged, and imagezmq plain."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from sim.errors import ProcessError
from sim.journal import JournalReader
from sim.link_bench_parts import Site, write_pictures

MEMORY = Path("/dev/shm")  # noqa: S108 - on purpose: a disk that forgets, where fsync costs nothing
_PATIENCE_S = 60.0


def ours_mb_s(seconds: float, folder: Path, *, is_durable: bool) -> float:
    """Megabytes a second that our gateway acknowledged, CURVE on.

    Args:
        seconds: how long, after the first case.
        folder: on a disk.
        is_durable: with state on the disk; else in memory, where writing and syncing are done all the same.

    Raises:
        ProcessError: a program ended, or nothing arrived.
    """
    pictures = write_pictures(folder / "pictures")
    case_bytes = sum(path.stat().st_size for path in pictures) / len(pictures)
    with tempfile.TemporaryDirectory(prefix="skyloop-", dir=None if is_durable else MEMORY) as state:
        site = Site.build(
            folder / ("durable" if is_durable else "memory"), (folder if is_durable else Path(state)) / "s"
        )
        with site.cloud(None) as cloud, site.sender(pictures, way="flood") as sender:
            reader, counts = JournalReader(site.edge_journal), list[tuple[float, int]]()
            deadline_s = time.monotonic() + _PATIENCE_S + seconds
            while not counts or counts[-1][0] - counts[0][0] < seconds:
                counts += [(event["s"], event["count"]) for event in reader.new() if event.get("count")]
                cloud.ensure_running()
                sender.ensure_running()
                if time.monotonic() > deadline_s:
                    break
                time.sleep(0.05)
    if len(counts) < 2:
        raise ProcessError("no case arrived in time; is the machine overloaded?")
    (begin_s, begin), (end_s, end) = counts[0], counts[-1]
    return (end - begin) * case_bytes / (end_s - begin_s) / 1e6
