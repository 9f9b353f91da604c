"""Looks over the shoulders of the running edge and cloud, at what they publish anyway: files and /metrics."""

from __future__ import annotations

import time
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from edge.bank import FILE_NAME as BANK_FILE
from edge.bank import BankStore
from sim.processes import fetch
from sim.record import BankSeen

_LOOK_EVERY_S = 0.25


class FlightWatch:
    """Collects the craft's bank revisions and frames while a flight goes on; call `poll` often.

    Attributes:
        banks: revisions seen, in order.
        frames: written so far.
    """

    def __init__(self, edge_dir: Path) -> None:
        """Watch a flight.

        Args:
            edge_dir: the edge's output folder.
        """
        self.banks: list[BankSeen] = []
        self.frames = 0
        self._edge_dir = edge_dir
        self._bank_stamp = 0
        self._read_bytes = 0

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
        self._read_bytes += len(new)
        self.frames += new.count(b"\n")


class CloudWatch:
    """Counts what the one cloud of a mission has answered; call `poll` often.

    Attributes:
        cases: interpreted so far, of all craft.
    """

    def __init__(self, http_port: int) -> None:
        """Watch a cloud.

        Args:
            http_port: the cloud's, on this machine.
        """
        self.cases = 0
        self._http_port, self._next_look_s = http_port, 0.0

    def poll(self) -> None:
        """Look, at most four times a second."""
        if time.monotonic() < self._next_look_s:
            return
        page = fetch(self._http_port, "/metrics")
        self._next_look_s = time.monotonic() + _LOOK_EVERY_S
        if page is not None:
            counts = read_counters(page)
            self.cases = sum(n for (name, _), n in counts.items() if name == "skyloop_interpreted_total")


def read_counters(page: str) -> dict[tuple[str, str], int]:
    """The counters of a /metrics page by name and first label value ("" where there is none)."""
    found = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name.endswith("_total"):
                found[sample.name, next(iter(sample.labels.values()), "")] = int(sample.value)
    return found
