"""One end of a peer of the link benchmark: `python link_worker.py JSON`, in the peers' own environment.

Nothing of ours may be imported here but `camera_clock`, which lies beside it; peers are opened with the calls and the
settings of their documentation. The receiver prints one line of JSON at its end.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

Receive: TypeAlias = "Callable[[], tuple[int, int] | None]"  # (frame's number, bytes); None is nothing more
Send: TypeAlias = "Callable[[int], None]"

_END = -1
_BLOCK_PX = 32
_BITS = 16


def sender_of(told: dict[str, Any], pictures: list[bytes]) -> Send:
    """What sends a frame by its number."""
    address = f"tcp://127.0.0.1:{told['port']}"
    if told["peer"] == "netgear":
        return _netgear_sender(told, pictures)
    imagezmq: Any = importlib.import_module("imagezmq")
    if told["peer"] == "imagezmq-req":
        sender = imagezmq.ImageSender(connect_to=address)
    else:
        sender = imagezmq.ImageSender(connect_to=address, REQ_REP=False)
        time.sleep(told["settle_s"])  # a subscriber that comes late has missed what was before
    return lambda number: sender.send_jpg(str(number), pictures[number % len(pictures)])


def _netgear_sender(told: dict[str, Any], pictures: list[bytes]) -> Send:
    """NetGear takes no encoded pictures: it encodes by itself, at its own settings."""
    cv2, np = importlib.import_module("cv2"), importlib.import_module("numpy")
    gears: Any = importlib.import_module("vidgear.gears")
    frames = [cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR) for picture in pictures]
    server = gears.NetGear(address="127.0.0.1", port=str(told["port"]), protocol="tcp", pattern=told["pattern"])

    def send(number: int) -> None:
        if number == _END:
            server.close()
            return
        frame = frames[number % len(frames)].copy()
        for bit in range(_BITS):
            frame[:_BLOCK_PX, bit * _BLOCK_PX : (bit + 1) * _BLOCK_PX] = 255 * (number >> bit & 1)
        server.send(frame)

    return send


def receiver_of(told: dict[str, Any]) -> Receive:
    """What gives the next frame that the peer gives."""
    address, peer = f"tcp://127.0.0.1:{told['port']}", told["peer"]
    if peer == "netgear":
        return _netgear_receiver(told)
    imagezmq: Any = importlib.import_module("imagezmq")
    if peer == "imagezmq-req":
        hub = imagezmq.ImageHub(open_port=f"tcp://127.0.0.1:{told['port']}")
        return _reply_after(hub)
    hub = imagezmq.ImageHub(open_port=address, REQ_REP=False)
    if peer == "imagezmq-latest":
        return _latest(hub)
    return lambda: _told(hub.recv_jpg())


def _reply_after(hub: Any) -> Receive:  # noqa: ANN401 - another environment's type
    """The reply goes out when the next picture is asked for, once this one is dealt with, as in its examples."""
    is_first = True

    def receive() -> tuple[int, int]:
        nonlocal is_first
        if not is_first:
            hub.send_reply(b"OK")
        is_first = False
        return _told(hub.recv_jpg())

    return receive


def _latest(hub: Any) -> Receive:  # noqa: ANN401
    """Its documentation's "PUB/SUB Multithreaded Fast Subscribers": a thread receives, and the newest stays."""
    newest: list[tuple[int, int]] = []
    is_ready = threading.Event()

    def run() -> None:
        while True:
            newest[:] = [_told(hub.recv_jpg())]
            is_ready.set()

    threading.Thread(target=run, daemon=True).start()

    def receive() -> tuple[int, int]:
        is_ready.wait()
        is_ready.clear()
        return newest[0]

    return receive


def _told(item: Any) -> tuple[int, int]:  # noqa: ANN401
    text, picture = item
    return int(text), len(picture)


def _netgear_receiver(told: dict[str, Any]) -> Receive:
    gears: Any = importlib.import_module("vidgear.gears")
    client = gears.NetGear(
        address="127.0.0.1", port=str(told["port"]), protocol="tcp", pattern=told["pattern"], receive_mode=True
    )

    def receive() -> tuple[int, int] | None:
        frame = client.recv()
        if frame is None:
            return None
        row = frame[_BLOCK_PX // 2, _BLOCK_PX // 2 : _BITS * _BLOCK_PX : _BLOCK_PX, 0]
        return sum(1 << bit for bit in range(_BITS) if row[bit] > 127), frame.nbytes

    return receive


def send_frames(told: dict[str, Any], send: Send) -> None:
    """Frames at the camera's pace, or as fast as they are taken; then the number that stands for the end."""
    end_s = told["begin_s"] + told["seconds"]
    if told["fps"]:
        clock = _camera_clock()(told["begin_s"], told["fps"])
        while time.monotonic() < end_s:
            send(clock.newest())
    else:
        number = 0
        while time.monotonic() < end_s:
            send(number)
            number += 1
    send(_END)


def _camera_clock() -> Any:  # noqa: ANN401 - a module by its path: beside it lie names of the standard library
    path = Path(__file__).with_name("camera_clock.py")
    spec = importlib.util.spec_from_file_location("camera_clock", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.CameraClock


def receive_frames(told: dict[str, Any], receive: Receive) -> dict[str, Any]:
    """Ages in seconds of the frames when their turn came, and bytes a second; ends with the frames, or in time."""
    ages: list[float] = []
    times: list[float] = []
    total = 0
    while time.monotonic() < told["begin_s"] + told["seconds"]:
        item = receive()
        if item is None or item[0] == _END:
            break
        now_s = time.monotonic()
        times.append(now_s)
        total += item[1] if len(times) > 1 else 0
        if told["fps"]:
            ages.append(now_s - told["begin_s"] - item[0] / told["fps"])
            time.sleep(told["case_s"])
    return {"ages": ages, "bytes": total, "s": times[-1] - times[0] if len(times) > 1 else 0.0, "frames": len(times)}


def main() -> None:
    """Be what the argument says."""
    told = json.loads(sys.argv[1])
    if told["role"] == "send":
        send_frames(told, sender_of(told, [Path(path).read_bytes() for path in told["pictures"]]))
    else:
        print(json.dumps(receive_frames(told, receiver_of(told))), flush=True)  # noqa: T201 - this is its answer
    # Peers' sockets would wait for a partner that has left; nothing of theirs is needed any more.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
