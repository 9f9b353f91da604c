"""Software that people use, to measure ours against: its own virtual environment, and any tracker as a process.

`opencv-contrib-python` overwrites the files of `opencv-python`, so it must never be installed beside it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from typing_extensions import Self

from protocols.arrays import ImageArray
from sim.display import Display
from sim.errors import OutputError, ProcessError

PEERS_FOLDER = Path("runs/peers")
LIBRARIES = (
    "opencv-contrib-python==5.0.0.93",  # with `numpy` the newest that both agree on, of our own OpenCV's version
    "numpy==2.4.6",
    "pyzmq==27.3.0",  # of both below, and the one that `constraints.txt` names for ourselves
    "simplejpeg==1.9.0",  # with it NetGear compresses, as its documentation advises
    "colorlog==6.12.0",
    "packaging==26.3",
    "requests==2.34.2",
    "tqdm==4.70.1",
    "litserve==0.2.19",  # of the serving benchmark; it asks for the three below
    "fastapi==0.165.0",
    "uvicorn==0.54.0",
    "uvloop==0.23.0",
    "httptools==0.9.0",
)
BARE = ("imagezmq==1.2.0", "vidgear==0.3.6")
"""Installed without what they ask for, so that nothing can put `opencv-python` beside `opencv-contrib-python`; and
vidgear's extras would bring a downloader of films and a screen grabber. What the two do need is above.
"""
PEER_PACKAGES = (*LIBRARIES, *BARE)

_WORKER = Path(__file__).with_name("tracking_worker.py")
_LAUNCH = "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); from sim.{module} import main; main()"
_INSTALL_S = 900.0
_ANSWER_S = 120.0
"""Of the slowest tracker's first frame, weights and all, on a busy machine."""


def set_up_peers(folder: Path, display: Display) -> bool:
    """Make the peers' environment, unless it is there already.

    Args:
        folder: of the virtual environment.
        display: tells what is being done.

    Returns:
        Whether anything had to be done.

    Raises:
        OutputError: the folder cannot be written, or is something else.
        ProcessError: pip failed.
    """
    if _is_ready(folder):
        return False
    if folder.exists() and not (folder / "pyvenv.cfg").is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder}: is no virtual environment; choose another --out, or remove it")
    try:
        with display.stage(f"virtual environment in {folder}"):
            venv.create(folder, with_pip=True, clear=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        raise OutputError(f"{folder}: no virtual environment can be made there ({exc}); choose another --out") from exc
    with display.stage(f"pip install {' '.join(PEER_PACKAGES)}"):
        _pip(folder, LIBRARIES)
        _pip(folder, ("--no-deps", *BARE))
    _stamp(folder).write_text("\n".join(PEER_PACKAGES) + "\n")
    return True


def _pip(folder: Path, packages: Sequence[str]) -> None:
    command = [str(python_of(folder)), "-m", "pip", "install", "--quiet", "--only-binary", ":all:", *packages]
    try:
        done = subprocess.run(  # noqa: S603 - our own arguments
            command, capture_output=True, text=True, timeout=_INSTALL_S, check=False, env=environment(1)
        )
    except subprocess.TimeoutExpired as exc:
        raise ProcessError(f"pip: not done after {_INSTALL_S:g} s; check the network and run it again") from exc
    if done.returncode:
        lines = [line for line in done.stderr.strip().splitlines() if line.startswith("ERROR")] or ["no reason given"]
        raise ProcessError(f"pip: {' '.join(packages)} cannot be installed: {lines[-1]}; check network and index")


def python_of(folder: Path) -> Path:
    """The interpreter of the peers' environment."""
    return folder / "bin" / "python"


def peers_python(folder: Path) -> Path:
    """The same, once it is certain that the environment is whole.

    Raises:
        ProcessError: it is not.
    """
    if not _is_ready(folder):
        raise ProcessError(f"{folder}: the peers' environment is not there, or an older one; skyloop-sim bench setup")
    return python_of(folder)


def _stamp(folder: Path) -> Path:
    """Written last, so that an installation that was cut short is made again."""
    return folder / "skyloop-peers.txt"


def _is_ready(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return python_of(folder).exists() and _stamp(folder).read_text().split() == list(PEER_PACKAGES)
    return False


def environment(threads: int) -> dict[str, str]:
    """Variables for a process in the peers' environment, which must find none of our packages."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return kept | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))


class Followed(NamedTuple):
    """What a tracker says of one frame.

    Attributes:
        box_xywh: pixels.
        seconds: that it took.
        is_claimed: whether it says that the target is there.
    """

    box_xywh: list[float]
    seconds: float
    is_claimed: bool = True


class TrackerProcess:
    """A tracker in a process of its own; leaving the context ends it."""

    def __init__(
        self, name: str, arguments: list[str], python: Path | None, threads: int, module: str = "tracking_worker"
    ) -> None:
        """Start it.

        Args:
            name: for messages.
            arguments: of `tracking_worker.py`, or of the module.
            python: of the peers' environment; None is ours.
            threads: that it may use.
            module: of `sim`, whose `main` serves; another than the default in our environment alone.
        """
        self.name = name
        if python is None:
            # As in `processes.py`: modules are found exactly where this process finds them.
            launch = _LAUNCH.format(module=module)
            command = [sys.executable, "-c", launch, json.dumps(sys.path), *arguments]
        else:
            command = [str(python), "-I", str(_WORKER), *arguments]  # -I: our package's files shadow no module
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._process = subprocess.Popen(  # noqa: S603 - our own arguments
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env=environment(threads)
        )

    def __enter__(self) -> Self:
        """Nothing more to do."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it and wait for it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def start(self, image: ImageArray, box_xywh: list[float]) -> float:
        """Begin a target at a box in pixels; seconds that it took.

        Raises:
            ProcessError: the process ended, or does not answer.
        """
        return float(self.ask({"shape": image.shape, "box": box_xywh}, image)["s"])

    def update(self, image: ImageArray) -> Followed:
        """What the tracker says of the next frame.

        Raises:
            ProcessError: the process ended, or does not answer.
        """
        answer = self.ask({"shape": image.shape, "box": None}, image)
        return Followed(answer["box"], float(answer["s"]), answer["is_claimed"])

    def ask(self, request: dict[str, Any], image: ImageArray | None = None) -> dict[str, Any]:
        """What the process answers to a line of JSON, and to a picture behind it.

        Raises:
            ProcessError: the process ended, or does not answer.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.write(b"" if image is None else image.tobytes())
            self._process.stdin.flush()
        except BrokenPipeError as exc:
            raise self._ended() from exc
        if not select.select([self._process.stdout], [], [], _ANSWER_S)[0]:
            raise ProcessError(f"{self.name}: no answer after {_ANSWER_S:g} s; leave it out with --trackers")
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _ended(self) -> ProcessError:
        self._log.seek(0)
        lines = [line for line in self._log.read().decode(errors="replace").splitlines() if line.strip()]
        reason = lines[-1].strip() if lines else "it said nothing"
        return ProcessError(f"{self.name}: its process ended: {reason}; mend that, or leave it out with --trackers")
