"""A run watched while it flies: a page on loopback, and a window where there is a screen.

Everything shown is read from what edge, cloud and link publish anyway; the programs do not know that they are watched.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import unquote

import cv2
import numpy as np

from distill.dataset import read_image
from distill.errors import DataSetError
from edge.outputs import draw, sent_regions
from protocols.arrays import ImageArray
from sim.errors import OutputError
from sim.flying import CraftFlight, Mission
from sim.processes import LOOPBACK
from sim.record import detections_of

_TAIL_BYTES = 65_536
_WINDOW_S = 0.1
_JPEG_QUALITY = 80
_STRIP_PX = 28
_PROBE = "import cv2; cv2.namedWindow('skyloop'); cv2.waitKey(1)"
_PROBE_S = 20.0


class LiveView:
    """Shows a mission; give it to `run_scenario` as its onlooker.

    Attributes:
        address: of the page, once it is open.
    """

    def __init__(self, port: int = 0, *, window: bool | None = None) -> None:
        """Prepare.

        Args:
            port: of the page, on loopback; 0 takes a free one.
            window: whether to open a window too; None opens one where there is a screen.
        """
        self.address = ""
        self._port = port
        self._has_window = has_screen() if window is None else window
        self._mission: Mission | None = None
        self._shown_s = float("-inf")
        self._titles: set[str] = set()

    @contextmanager
    def watching(self, mission: Mission) -> Iterator[LiveView]:
        """Serve the page until the context ends.

        Raises:
            OutputError: the port is in use.
        """
        self._mission = mission
        try:
            server = _Server(self._port, mission)
        except OSError as exc:
            raise OutputError(f"--live: port {self._port} cannot be used ({exc.strerror}); choose another") from exc
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="live-page", daemon=True)
        thread.start()
        self.address = f"http://{LOOPBACK}:{server.server_address[1]}/"
        sys.stderr.write(f"watch it at {self.address}\n")
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def look(self) -> None:
        """Bring the window up to date, ten times a second."""
        mission, now_s = self._mission, time.monotonic()
        if not self._has_window or mission is None or now_s - self._shown_s < _WINDOW_S:
            return
        self._shown_s = now_s
        try:
            for craft in mission.craft:
                picture = newest_picture(craft)
                if picture is not None:
                    self._show(f"skyloop: {craft.folder.name}", captioned(picture, words_of(craft, mission)))
            cv2.waitKey(1)
        except cv2.error:  # no screen after all: the page is still there
            self._has_window = False

    def _show(self, title: str, picture: ImageArray) -> None:
        if title not in self._titles:
            self._titles.add(title)
            os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")  # OpenCV's Qt comes without fonts
            cv2.namedWindow(title, cv2.WINDOW_AUTOSIZE | cv2.WINDOW_GUI_NORMAL)
        cv2.imshow(title, picture)


def words_of(craft: CraftFlight, mission: Mission) -> str:
    """A craft's state in one line: time, link, what it sent of its budget, and what it was taught."""
    state = _craft_state(craft, mission)
    link = "link up" if state["is_linked"] else "LINK DOWN"
    sent, budget = (state[name] / 1000 for name in ("edge_to_cloud_bytes", "budget_bytes"))
    prompts = ", ".join(state["prompts"]) or "none"
    return f"{mission.now_s:.1f} s   {link}   {sent:.0f} kB sent, budget {budget:.0f} kB   prompts: {prompts}"


def captioned(picture: ImageArray, words: str) -> ImageArray:
    """The (H, W, 3) picture on top of a strip with one line of text."""
    strip = np.full((_STRIP_PX, picture.shape[1], 3), 32, np.uint8)
    cv2.putText(strip, words, (8, _STRIP_PX - 9), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (235, 235, 235), 1, cv2.LINE_AA)
    return np.concatenate([picture, strip])


def has_screen() -> bool:
    """Whether a window can be opened here.

    Tried in a process of its own: on a screen that does not answer OpenCV's Qt ends the whole process.
    """
    name = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if sys.platform not in ("win32", "darwin") and not name:
        return False
    command = [sys.executable, "-c", _PROBE]
    with suppress(subprocess.TimeoutExpired):
        if not subprocess.run(command, capture_output=True, timeout=_PROBE_S, check=False).returncode:  # noqa: S603 - ours
            return True
    sys.stderr.write(f"no window can be opened on the screen {name or 'here'}; the page shows the same\n")
    return False


def state_of(mission: Mission) -> dict[str, Any]:
    """What the page shows beside the pictures."""
    return {
        "scenario": mission.scenario.name,
        "seconds": mission.scenario.seconds,
        "now_s": round(mission.now_s, 1),
        "answers": len(mission.given),
        "craft": [_craft_state(craft, mission) for craft in mission.craft],
    }


def _craft_state(craft: CraftFlight, mission: Mission) -> dict[str, Any]:
    bank = craft.watch.banks[-1] if craft.watch.banks else None
    return {
        "name": craft.folder.name,
        "frame": craft.watch.frames,
        "is_linked": craft.link.is_up,
        "edge_to_cloud_bytes": craft.link.edge_to_cloud_bytes,
        "cloud_to_edge_bytes": craft.link.cloud_to_edge_bytes,
        "budget_bytes": round(
            mission.scenario.budget.burst_bytes + mission.scenario.budget.bytes_per_s * mission.now_s
        ),
        "prompts": sorted(bank.labels) if bank else [],
    }


def newest_picture(craft: CraftFlight) -> ImageArray | None:
    """The newest frame that the edge has written about, with its boxes; None before the first."""
    line = _newest_line(craft)
    if line is None or not craft.edge.legs:
        return None
    index = craft.edge.legs[-1].first + int(line["frame"])
    try:
        image = read_image(craft.folder.flight / "images" / f"{index:06d}.jpg")
    except DataSetError:
        return None
    return draw(image, detections_of(line), sent_regions(line))


def _newest_line(craft: CraftFlight) -> dict[str, Any] | None:
    """The last whole line of the edge's detections."""
    path = craft.folder.edge / "detections.jsonl"
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - _TAIL_BYTES, 0))
            lines = file.read().split(b"\n")[:-1]
        return json.loads(lines[-1]) if lines else None
    except (OSError, ValueError):
        return None


class _Server(ThreadingHTTPServer):
    """The page's server, which knows the mission it shows."""

    daemon_threads = True

    def __init__(self, port: int, mission: Mission) -> None:
        super().__init__((LOOPBACK, port), _Page)
        self.mission = mission

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the base class's
        """Say nothing of a browser that left in mid-transfer; tell anything else as usual."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Page(BaseHTTPRequestHandler):
    """Three pages: `/`, `/state.json`, and `/frame/NAME.jpg` for each craft."""

    server: _Server

    def do_GET(self) -> None:
        """Answer one request; the name is the base class's."""
        path = unquote(self.path.split("?")[0])
        if path == "/":
            self._send("text/html; charset=utf-8", files("sim").joinpath("templates", "live.html").read_bytes())
        elif path == "/state.json":
            self._send("application/json", json.dumps(state_of(self.server.mission)).encode())
        else:
            self._send_frame(path)

    def _send_frame(self, path: str) -> None:
        craft = next((c for c in self.server.mission.craft if path == f"/frame/{c.folder.name}.jpg"), None)
        picture = newest_picture(craft) if craft else None
        if picture is None:
            self.send_error(404, "no such page, or no frame yet")
            return
        encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
        self._send("image/jpeg", encoded.tobytes())

    def _send(self, kind: str, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the terminal shows how far the flight is."""
