"""Looks over the shoulders of the running edge and cloud, at what they publish anyway: files and /metrics."""

from __future__ import annotations

import json
import time
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from edge.bank import FILE_NAME as BANK_FILE
from edge.bank import BankStore
from sim.processes import fetch
from sim.record import BankSeen, BytesSeen

_TRAFFIC_EVERY_S = 0.25


class FlightWatch:
    """Collects the craft's bank revisions and the byte counters while a flight goes on; call `poll` often."""

    def __init__(self, edge_dir: Path, http_port: int) -> None:
        """Watch a flight.

        Args:
            edge_dir: the edge's output folder.
            http_port: the cloud's, on this machine.
        """
        self.banks: list[BankSeen] = []
        self.frames = 0
        self.cases = 0
        self._edge_dir, self._http_port = edge_dir, http_port
        self._bank_stamp = 0
        self._read_bytes = 0
        self._start_wall_s: float | None = None
        self._next_traffic_s = 0.0
        self._traffic: list[tuple[float, int, int]] = []

    @property
    def prompts(self) -> int:
        """Bank revisions the craft has applied."""
        return self.banks[-1].revision if self.banks else 0

    def next_leg(self) -> None:
        """The edge is started again and begins new lines; what was counted stays."""
        self._read_bytes = 0

    def poll(self) -> None:
        """Look once; cheap when nothing changed."""
        self._look_at_bank()
        self._count_frames()
        if time.monotonic() >= self._next_traffic_s:
            self._next_traffic_s = time.monotonic() + _TRAFFIC_EVERY_S
            self._look_at_traffic()

    def traffic(self) -> list[BytesSeen]:
        """The byte counters over the flight's time, from its first frame on."""
        start_s = self._start_wall_s
        if start_s is None:
            return []
        return [BytesSeen(max(wall_s - start_s, 0.0), up, down) for wall_s, up, down in self._traffic]

    def _look_at_bank(self) -> None:
        folder = self._edge_dir / "state" / "bank"
        try:
            stamp = (folder / BANK_FILE).stat().st_mtime_ns
        except FileNotFoundError:
            return
        if stamp == self._bank_stamp:
            return
        self._bank_stamp = stamp
        bank = BankStore(folder).current
        case_ids = tuple(prompt.case_id for prompt in bank.prompts if prompt.case_id)
        self.banks.append(BankSeen(bank.revision, tuple(prompt.label for prompt in bank.prompts), case_ids))

    def _count_frames(self) -> None:
        """Counts the lines written so far; the edge writes them in blocks."""
        try:
            with (self._edge_dir / "detections.jsonl").open("rb") as file:
                file.seek(self._read_bytes)
                new = file.read()
        except FileNotFoundError:
            return
        if self._start_wall_s is None and b"\n" in new:
            self._start_wall_s = float(json.loads(new.split(b"\n", 1)[0])["time_s"])
        self._read_bytes += len(new)
        self.frames += new.count(b"\n")

    def _look_at_traffic(self) -> None:
        page = fetch(self._http_port, "/metrics")
        if page is None:
            return
        counts = read_counters(page)
        self.cases = sum(n for (name, _), n in counts.items() if name == "skyloop_interpreted_total")
        up = counts.get(("skyloop_bytes_total", "edge_to_cloud"), 0)
        down = counts.get(("skyloop_bytes_total", "cloud_to_edge"), 0)
        self._traffic.append((time.time(), up, down))


def read_counters(page: str) -> dict[tuple[str, str], int]:
    """The counters of a /metrics page by name and first label value ("" where there is none)."""
    found = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name.endswith("_total"):
                found[sample.name, next(iter(sample.labels.values()), "")] = int(sample.value)
    return found
