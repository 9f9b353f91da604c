"""What the parts of the link benchmark share: one craft, one cloud, pictures, and both as programs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cloud.config import CloudSettings
from cloud.store import CaseStore
from edge.keys import CLOUD_NAME, EDGE_NAME, new_keys, trust_server
from sim.case_sender import HEIGHT, WIDTH, SenderSettings
from sim.errors import ProcessError
from sim.journal import JournalReader
from sim.processes import LOOPBACK, Child, command_of, free_ports

CRAFT = "bench-craft"
_PICTURES = 16
_QUALITY = 90
_START_S = 90.0
_POLL_S = 0.005


@dataclass(frozen=True)
class Site:
    """One craft and one cloud on this machine.

    Attributes:
        folder: of logs and journals.
        state: of what edge and cloud keep; elsewhere where it is not to be durable.
        port: of the gateway.
    """

    folder: Path
    state: Path
    port: int

    @classmethod
    def build(cls, folder: Path, state: Path | None = None) -> Site:
        """Make keys and enrol the craft.

        Args:
            folder: made if missing.
            state: see the class; None is a folder in `folder`.
        """
        folder.mkdir(parents=True, exist_ok=True)
        site = cls(folder, state or folder / "state", free_ports(1)[0])
        craft = new_keys(site.keys / "edge", EDGE_NAME)
        cloud = new_keys(site.keys / "cloud", CLOUD_NAME)
        trust_server(cloud.public.decode(), site.keys / "edge")
        store = CaseStore(site.data)
        try:
            store.enroll(CRAFT, craft.public.decode())
        finally:
            store.close()
        return site

    @property
    def keys(self) -> Path:
        """Folders `edge` and `cloud`."""
        return self.folder / "keys"

    @property
    def data(self) -> Path:
        """The store."""
        return self.state / "cloud"

    def cloud(self, case_s: float | None, **settings: Any) -> Child:  # noqa: ANN401 - any setting
        """The gateway as a program, once it takes connections.

        Args:
            case_s: time its consumer takes for a case; None is no consumer.
            settings: of `CloudSettings`.

        Raises:
            ProcessError: it did not start.
        """
        told = {"bind": f"tcp://{LOOPBACK}:{self.port}", "data": self.data, "keys": self.keys / "cloud", **settings}
        arguments = (CloudSettings.model_validate(told).model_dump_json(), str(self.cloud_journal))
        reader = JournalReader(self.cloud_journal)
        before = sum(event["kind"] == "ready" for event in reader.new())
        command = command_of("link-cloud", *arguments, "" if case_s is None else str(case_s))
        child = Child("the gateway", command, self.folder / f"cloud-{before}.log")
        await_event(child, lambda: any(event["kind"] == "ready" for event in reader.new()))
        return child

    def sender(self, pictures: list[Path], **settings: Any) -> Child:  # noqa: ANN401 - any setting
        """The edge as a program, once its link has begun to connect; settings are those of `SenderSettings`.

        Raises:
            ProcessError: it did not start.
        """
        reader = JournalReader(self.edge_journal)
        before = sum(event["kind"] == "started" for event in reader.new())
        told = SenderSettings(
            **{
                "endpoint": f"tcp://{LOOPBACK}:{self.port}", "keys": str(self.keys / "edge"),
                "state": str(self.state / "edge"), "journal": str(self.edge_journal),
                "pictures": [str(path) for path in pictures], "fps": 30.0, "begin_s": time.monotonic(), "link": {},
                **settings,
            }
        )  # fmt: skip
        command = command_of("case-sender", json.dumps(asdict(told)))
        child = Child("the edge", command, self.folder / f"edge-{before}.log")
        await_event(child, lambda: any(event["kind"] == "started" for event in reader.new()))
        return child

    @property
    def edge_journal(self) -> Path:
        """What the sender notes."""
        return self.folder / "edge.jsonl"

    @property
    def cloud_journal(self) -> Path:
        """What the gateway's program notes."""
        return self.folder / "cloud.jsonl"


def await_event(
    child: Child, is_there: Callable[[], bool], patience_s: float = _START_S, poll_s: float = _POLL_S
) -> None:
    """Return once what a program is to do has happened.

    Args:
        child: the program.
        is_there: whether it has.
        patience_s: how long that may take.
        poll_s: between two looks.

    Raises:
        ProcessError: it ended, or not in time.
    """
    deadline_s = time.monotonic() + patience_s
    while not is_there():
        child.ensure_running()
        if time.monotonic() > deadline_s:
            raise ProcessError(f"{child.name}: nothing within {patience_s:.0f} s: {child.last_words()}")
        time.sleep(poll_s)


def write_pictures(folder: Path, seed: int = 1, size: tuple[int, int] = (WIDTH, HEIGHT)) -> list[Path]:
    """Encoded pictures, smooth with some grain, about 86 kB for 640x512 px; the same for the same seed.

    Args:
        folder: made if missing.
        seed: of what they show.
        size: width and height, px.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng, paths = np.random.default_rng(seed), []
    for number in range(_PICTURES):
        coarse = rng.integers(0, 256, (size[1] // 16, size[0] // 16, 3)).astype(np.uint8)
        smooth = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC).astype(np.int16)
        image = np.clip(smooth + rng.integers(-6, 7, smooth.shape), 0, 255).astype(np.uint8)
        path = folder / f"{number:02d}.jpg"
        path.write_bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes())
        paths.append(path)
    return paths


def percentiles(values: list[float]) -> dict[str, float]:
    """`p50` and `p99`, rounded to hundredths.

    Raises:
        ProcessError: there are no values: nothing arrived.
    """
    if not values:
        raise ProcessError("nothing arrived: no percentile can be told; is the machine overloaded?")
    return {"p50": round(float(np.percentile(values, 50)), 2), "p99": round(float(np.percentile(values, 99)), 2)}
