"""Looks over the shoulders of the running edge and cloud, at the files that they write anyway."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from typing_extensions import Self

from cloud.store import CaseStore
from edge.bank import FILE_NAME as BANK_FILE
from edge.bank import BankStore
from sim.record import BankSeen


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
    """Counts the cases that the one cloud of a mission keeps; use as a context manager and call `poll` often.

    They are counted in the cloud's store: counters of the cloud begin anew when it is started again, and those of a
    craft lack a case whose receipt did not come back.

    Attributes:
        cases_of: cases kept so far, by craft.
    """

    def __init__(self, data: Path) -> None:
        """Watch a cloud.

        Args:
            data: the cloud's data folder.
        """
        self.cases_of: dict[str, int] = {}
        self._data, self._version = data, -1
        self._store: CaseStore | None = None

    def __enter__(self) -> Self:
        """This watch."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the store; what was counted stays."""
        if self._store is not None:
            self._store.close()

    @property
    def cases(self) -> int:
        """Cases kept so far, of all craft."""
        return sum(self.cases_of.values())

    def poll(self) -> None:
        """Look once; takes microseconds when nothing changed.

        Raises:
            StoreError: the store cannot be read.
        """
        if self._store is None:
            if not (self._data / "skyloop.sqlite").exists():
                return
            self._store = CaseStore(self._data)
        if (version := self._store.data_version()) != self._version:
            self._version, self.cases_of = version, self._store.count_cases()
