"""A peer of the link benchmark as two processes in the peers' own environment."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from sim.errors import ProcessError
from sim.peers import environment, peers_python
from sim.processes import Child, free_ports

_SETTLE_S = 2.0
"""For both ends to start and to find each other, before the camera begins."""

_GRACE_S = 30.0

PEERS: dict[str, dict[str, Any]] = {
    "imagezmq 1.2.0 REQ/REP": {"peer": "imagezmq-req"},
    "imagezmq 1.2.0 PUB/SUB": {"peer": "imagezmq-pub"},
    "imagezmq 1.2.0 PUB/SUB, latest-frame helper": {"peer": "imagezmq-latest"},
    "NetGear 0.3.6 PAIR, its own JPEG": {"peer": "netgear", "pattern": 0},
}
"""Each at the settings that its documentation begins with; all in plaintext, none of them keeps anything."""


@dataclass(frozen=True)
class PeerRun:
    """How a peer is run.

    Attributes:
        python: of the peers' environment.
        pictures: files of encoded images.
        seconds: from the camera's first frame on.
        fps: of the camera; 0 is as fast as frames are taken.
        case_s: that the consumer takes for a frame, with a camera.
    """

    python: Path
    pictures: Sequence[Path]
    seconds: float
    fps: float = 0.0
    case_s: float = 0.0

    @classmethod
    def of(cls, peers: Path, pictures: Sequence[Path], seconds: float, **camera: float) -> PeerRun:
        """A run in the environment that `bench setup` made.

        Raises:
            ProcessError: it is not there.
        """
        return cls(peers_python(peers), pictures, seconds, **camera)


def run_peer(name: str, run: PeerRun, folder: Path) -> dict[str, Any]:
    """What a peer's receiver found: `ages` in seconds, `bytes`, `s` and `frames`.

    Args:
        name: one of `PEERS`.
        run: how.
        folder: for logs.

    Raises:
        ProcessError: the receiver failed, or did not end in time.
    """
    told = {
        "port": free_ports(1)[0], "pictures": [str(path) for path in run.pictures], "fps": run.fps,
        "seconds": run.seconds, "begin_s": time.monotonic() + _SETTLE_S, "case_s": run.case_s,
        "settle_s": _SETTLE_S / 2, **PEERS[name],
    }  # fmt: skip
    worker = str(resources.files("sim") / "link_worker.py")

    def command(role: str) -> list[str]:
        return [str(run.python), "-I", worker, json.dumps({**told, "role": role})]

    with ExitStack() as stack:
        receiver = subprocess.Popen(  # noqa: S603 - our own arguments
            command("receive"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment(1)
        )
        stack.callback(receiver.wait)
        stack.callback(receiver.kill)
        stack.enter_context(Child(f"the sender of {name}", command("send"), folder / f"{told['peer']}-send.log"))
        try:
            answer = receiver.communicate(timeout=_SETTLE_S + run.seconds + _GRACE_S)[0]
        except subprocess.TimeoutExpired as exc:
            raise ProcessError(f"{name}: its receiver did not end in time") from exc
    if receiver.returncode or not answer:
        raise ProcessError(f"{name}: its receiver ended with exit code {receiver.returncode} and no answer")
    found: dict[str, Any] = json.loads(answer.splitlines()[-1])
    return found
