"""What a thousand edges cost one gateway, and how soon they have their receipts."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq

from cloud.store import CaseStore
from edge.keys import CLOUD_NAME, read_public_key
from sim.errors import ProcessError
from sim.journal import JournalReader
from sim.link_bench_parts import Site, percentiles
from sim.processes import LOOPBACK, Child, command_of

_CASE_BYTES = 15_000
"""A crop of the demo, to the next five thousand."""

_RAMP_S = 120.0
_LEAST = 0.5
"""Share of the receipts that must come in time: with fewer, those that came say little."""


@dataclass(frozen=True)
class ManyEdges:
    """How many, and how long.

    Attributes:
        edges: connections, each of its own craft.
        every_s: between two cases of one.
        seconds: measured, once all are welcome.
        settle_s: from then until it is measured.
    """

    edges: int = 1000
    every_s: float = 60.0
    seconds: float = 60.0
    settle_s: float = 5.0


def bench_many_edges(options: ManyEdges, folder: Path) -> dict[str, Any]:
    """`edges`, `cores` of the gateway's process, and `receipt_ms` from offer to `stored`.

    Args:
        options: how many, and how long.
        folder: for state and logs, on a disk.

    Raises:
        ProcessError: a program failed, or an edge was not welcomed or got no receipt.
    """
    site = Site.build(folder / "many")
    told = {
        "endpoint": f"tcp://{LOOPBACK}:{site.port}", "keys": str(_enrol(site, options.edges)),
        "server_key": read_public_key(site.keys / "cloud" / f"{CLOUD_NAME}.pub").decode(),
        "journal": str(site.edge_journal), "every_s": options.every_s, "case_bytes": _CASE_BYTES,
    }  # fmt: skip
    with site.cloud(None, max_crafts=2 * options.edges) as cloud:
        command = command_of("many-edges", json.dumps(told))
        with Child("the edges", command, site.folder / "edges.log") as edges:
            reader = JournalReader(site.edge_journal)
            _wait_until_welcome(reader, options.edges, (cloud, edges))
            time.sleep(options.settle_s)
            list(reader.new())
            begin_s, before_s = time.monotonic(), processor_s(cloud.pid)
            while time.monotonic() < begin_s + options.seconds:
                time.sleep(0.2)
                cloud.ensure_running()
                edges.ensure_running()
            used_s, took_s = processor_s(cloud.pid) - before_s, time.monotonic() - begin_s
            receipts_ms = [1000 * event["took_s"] for event in reader.new() if event["kind"] == "receipt"]
    expected = options.edges * options.seconds / options.every_s
    if len(receipts_ms) < _LEAST * expected:
        raise ProcessError(f"{len(receipts_ms)} receipts of about {expected:.0f}: the gateway does not keep up")
    return {"edges": options.edges, "cores": round(used_s / took_s, 3), "receipt_ms": percentiles(receipts_ms)}


def processor_s(pid: int) -> float:
    """Seconds of processor time that a process has used, all its threads together (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _enrol(site: Site, count: int) -> Path:
    """A file with a pair of keys for each edge, all of them enrolled."""
    keys = [[part.decode() for part in zmq.curve_keypair()] for _ in range(count)]
    store = CaseStore(site.data)
    try:
        for number, (public, _) in enumerate(keys):
            store.enroll(f"craft-{number:04d}", public)
    finally:
        store.close()
    path = site.folder / "keys.json"
    path.write_text(json.dumps(keys))
    path.chmod(0o600)
    return path


def _wait_until_welcome(reader: JournalReader, count: int, children: tuple[Child, ...]) -> None:
    welcome, deadline_s = 0, time.monotonic() + _RAMP_S
    while welcome < count:
        welcome += sum(event["kind"] == "welcome" for event in reader.new())
        for child in children:
            child.ensure_running()
        if time.monotonic() > deadline_s:
            raise ProcessError(f"only {welcome} of {count} edges were welcomed in {_RAMP_S:g} s")
        time.sleep(0.1)
