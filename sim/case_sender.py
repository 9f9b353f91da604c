"""The edge's end of the link benchmark: the real link and the real spool, fed with pictures encoded before."""

from __future__ import annotations

import hashlib
import itertools
import json
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cloud.cli import configure_logging
from edge.bank import BankStore
from edge.keys import EDGE_NAME, load_keys, load_server_key
from edge.link import HelloProfile, Link, LinkSettings
from edge.outputs import RunOutputs
from edge.spool import Spool
from protocols.values import Case, FrameHeader, new_case_id
from sim.camera_clock import CameraClock
from sim.journal import Journal

WIDTH, HEIGHT = 640, 512
_LOOK_S = 0.002
_KEPT = 8192
"""Cases of ten minutes without a link, three times over."""

_AHEAD = 24
"""Cases that wait in the spool while it is kept full; its memory takes more."""


@dataclass(frozen=True)
class SenderSettings:
    """What is sent.

    Attributes:
        way: `paced` sends every case and notes each that is durable; `newest` is a camera that only the newest frame
            of is of use, so that the spool holds one; `flood` keeps the spool full.
        endpoint: of the cloud, or of the link before it.
        keys: folder of the craft's keys, with the server's.
        state: folder for spool, bank and outputs.
        journal: the file that gets `started`, `accepted` and `delivered`.
        pictures: files of encoded images, sent in turn.
        fps: cases a second of `paced`, frames of `newest`.
        begin_s: monotonic time of the camera's first frame.
        link: further settings of the link.
        most: cases of `paced`; 0 is without end.
    """

    way: Literal["paced", "newest", "flood"]
    endpoint: str
    keys: str
    state: str
    journal: str
    pictures: Sequence[str]
    fps: float
    begin_s: float
    link: dict[str, Any]
    most: int = 0


class Sender:
    """Spool, link, and what goes in."""

    def __init__(self, settings: SenderSettings, outputs: RunOutputs) -> None:
        """Open the spool; nothing is sent yet.

        Args:
            settings: what is sent.
            outputs: the agent's own, which keep the cloud's answers.
        """
        self._settings, self._journal = settings, Journal(Path(settings.journal))
        self._payloads = [Path(path).read_bytes() for path in settings.pictures]
        state, keys = Path(settings.state), Path(settings.keys)
        self._spool = Spool(state / "spool", max_cases=1 if settings.way == "newest" else _KEPT)
        self._link = Link(
            LinkSettings(endpoint=settings.endpoint, **settings.link),
            load_keys(keys, EDGE_NAME),
            load_server_key(keys),
            self._spool,
            BankStore(state / "bank"),
            HelloProfile("bench-space", "bench"),
            on_interpretation=outputs.write_interpretation,
        )
        self._stopping = threading.Event()
        self._draining = threading.Event()

    def run(self) -> None:
        """Send until SIGTERM; SIGUSR1 ends the feeding, and the program once the spool is empty."""
        signal.signal(signal.SIGTERM, lambda *_: self._stopping.set())
        signal.signal(signal.SIGUSR1, lambda *_: self._draining.set())
        self._journal.note("started")
        self._link.start()
        feeder = threading.Thread(target=self._feed, daemon=True)
        feeder.start()
        delivered = -1
        while not self._stopping.is_set():
            stats = self._link.stats()
            if stats.cases_delivered != delivered:
                delivered = stats.cases_delivered
                self._journal.note("delivered", count=delivered)
            if self._draining.is_set() and not feeder.is_alive() and len(self._spool) == 0:
                break
            time.sleep(_LOOK_S)
        self._link.close()
        spool = self._spool.stats
        self._journal.note("ended", dropped=spool.dropped, write_errors=spool.write_errors)

    def _feed(self) -> None:
        ways = {"paced": self._feed_all, "newest": self._feed_newest, "flood": self._feed_flood}
        ways[self._settings.way]()

    def _feed_all(self) -> None:
        camera = CameraClock(time.monotonic(), self._settings.fps)
        for number in itertools.count(1):
            index = camera.newest()
            case, payload = self._case(index, camera.captured_s(index), ttl_s=None)
            if self._spool.put(case, payload, 1.0):
                self._spool.flush()
                self._journal.note("accepted", case_id=case.case_id)
            if number == self._settings.most or self._draining.is_set():
                return

    def _feed_newest(self) -> None:
        camera = CameraClock(self._settings.begin_s, self._settings.fps)
        while not self._draining.is_set():
            index = camera.newest()
            case, payload = self._case(index, camera.captured_s(index), ttl_s=2.0)
            self._spool.put(case, payload, float(index))

    def _feed_flood(self) -> None:
        for index in itertools.count():
            while len(self._spool) >= _AHEAD:
                if self._draining.is_set():
                    return
                time.sleep(_LOOK_S / 2)
            case, payload = self._case(index, time.monotonic(), ttl_s=None)
            self._spool.put(case, payload, 1.0)

    def _case(self, index: int, captured_s: float, ttl_s: float | None) -> tuple[Case, bytes]:
        payload = self._payloads[index % len(self._payloads)]
        wall_s = time.time() - (time.monotonic() - captured_s)
        case = Case(
            case_id=new_case_id(),
            frame=FrameHeader(index=index, source_id="bench", captured_at_s=wall_s, width=WIDTH, height=HEIGHT),
            region_xyxy=(0, 0, WIDTH, HEIGHT),
            hardness=1.0,
            space_id="bench-space",
            variant="bench",
            media_type="image/jpeg",
            payload_bytes=len(payload),
            payload_sha256=hashlib.sha256(payload).hexdigest(),
            ttl_s=ttl_s,
        )
        return case, payload


def main() -> None:
    """Send. Argument: JSON of `SenderSettings`."""
    configure_logging(as_json=False)
    settings = SenderSettings(**json.loads(sys.argv[1]))
    with RunOutputs(Path(settings.state) / "out", fps=settings.fps, video=False) as outputs:
        Sender(settings, outputs).run()
