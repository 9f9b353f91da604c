"""Load for the serving benchmark, a process of its own: as many requests under way as told, each answered by the next.

A request is a picture as the craft sends it and its answer at the client. For ours that is an offer with its imagery,
the receipt that says that it is durable, the interpretation, and the receipt for that. Messages are put together from
parts made before, and read no further than needed, alike for both: what is measured is the servers.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import cv2
import msgpack
import numpy as np
import zmq
from numpy.typing import NDArray

from edge.bundle import load_bundle
from edge.runtime.onnx import OUTPUT_NAMES, OnnxBackend
from protocols.imagery import decode_image
from protocols.limits import MAX_MESSAGE_BYTES
from protocols.messages import KINDS, CaseOffer, Hello, encode
from protocols.values import Case, FrameHeader, PromptBank

_HEARTBEAT_S = 1.0
_JOIN_S = 30.0


class Tally:
    """Times of requests that ended while it was measured."""

    def __init__(self, warm_s: float, seconds: float) -> None:
        """Measure so long, after having warmed up."""
        now_s = time.perf_counter()
        self.begin_s, self.end_s = now_s + warm_s, now_s + warm_s + seconds
        self.times_s: list[float] = []
        self.errors = 0

    @property
    def is_over(self) -> bool:
        """Whether no more requests are to begin."""
        return time.perf_counter() >= self.end_s

    def answered(self, begin_s: float) -> None:
        """Note a request that began then and was answered now."""
        now_s = time.perf_counter()
        if self.begin_s <= now_s < self.end_s:
            self.times_s.append(now_s - begin_s)

    def summary(self) -> dict[str, float]:
        """`rps`, `p50_ms`, `p99_ms`, `errors`."""
        times_ms = 1000 * np.asarray(self.times_s or [float("nan")])
        return {
            "rps": len(self.times_s) / (self.end_s - self.begin_s),
            "p50_ms": float(np.percentile(times_ms, 50)),
            "p99_ms": float(np.percentile(times_ms, 99)),
            "errors": self.errors,
        }


class _Craft:
    """One craft with one case under way at a time."""

    def __init__(self, context: zmq.Context[Any], told: dict[str, Any], key: list[str], parts: list[_Part]) -> None:
        self.socket = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        self.socket.curve_publickey, self.socket.curve_secretkey = (text.encode() for text in key)
        self.socket.curve_serverkey = told["server_key"].encode()
        self.socket.connect(told["endpoint"])
        self._parts, self._number = parts, 0
        self._case_id, self._begin_s, self._sent_s, self._missing = "", 0.0, 0.0, 0
        self.socket.send_multipart(encode(_hello()))

    def offer(self) -> None:
        """Send the next case."""
        part = self._parts[self._number % len(self._parts)]
        self._number += 1
        self._case_id, self._missing = uuid.uuid4().hex, 2
        self._begin_s = time.perf_counter()
        self.socket.send(part.header(self._case_id), zmq.SNDMORE)
        self.socket.send(part.payload)

    def take(self, tally: Tally) -> None:
        """Take all that has come."""
        while True:
            try:
                header = msgpack.unpackb(self.socket.recv_multipart(zmq.NOBLOCK)[0])
            except zmq.Again:
                return
            self._heed(header, tally)

    def _heed(self, header: dict[str, Any], tally: Tally) -> None:
        kind = header["kind"]
        if kind == "Welcome":
            self.offer()
        elif kind == "CaseReceipt":
            self._missing -= header["state"] == "stored" and header["case_id"] == self._case_id
        elif kind == "Interpretation":
            case_id = header["interpretation"]["case_id"]
            self._missing -= case_id == self._case_id
            receipt = {"v": 1, "kind": "InterpretationReceipt", "case_id": case_id}
            self.socket.send_multipart([msgpack.packb(receipt), b""])
        elif kind == "Problem":
            tally.errors += 1
            self._missing = 1 if self._missing else 0
            if header.get("about") == self._case_id:
                self.offer()
                return
        if self._case_id and self._missing == 0:
            tally.answered(self._begin_s)
            self._case_id = ""
            if not tally.is_over:
                self.offer()


class _Part:
    """A picture as a case, all but its id packed."""

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        image = decode_image(payload, "image/jpeg")
        height, width = image.shape[:2]
        case = Case(
            case_id="0" * 32,
            frame=FrameHeader(index=0, source_id="bench", captured_at_s=time.time(), width=width, height=height),
            region_xyxy=(0, 0, width, height),
            hardness=1.0,
            space_id="bench-space",
            variant="bench",
            media_type="image/jpeg",
            payload_bytes=len(payload),
            payload_sha256=hashlib.sha256(payload).hexdigest(),
        )
        self._before, self._after = encode(CaseOffer(case=case), b"x")[0].split(b"0" * 32)

    def header(self, case_id: str) -> bytes:
        """The offer's header."""
        return self._before + case_id.encode() + self._after


def _hello() -> Hello:
    return Hello(
        craft_software="serving-load",
        boot_id=uuid.uuid4().hex,
        session_id=uuid.uuid4().hex,
        kinds=KINDS,
        space_id="bench-space",
        variant="bench",
        bank=PromptBank.empty(uuid.uuid4().hex).ref,
        wall_time_s=time.time(),
    )


def load_skyloop(told: dict[str, Any], payloads: list[bytes]) -> Tally:
    """Crafts, each with a key and a connection of its own."""
    context: zmq.Context[Any] = zmq.Context()
    keys = json.loads(Path(told["keys"]).read_text())[: told["concurrency"]]
    parts = [_Part(payload) for payload in payloads]
    tally = Tally(told["warm_s"], told["seconds"])
    crafts = {}
    poller = zmq.Poller()
    for number, key in enumerate(keys):
        craft = _Craft(context, told, key, parts[number % len(parts) :] + parts[: number % len(parts)])
        crafts[craft.socket] = craft
        poller.register(craft.socket, zmq.POLLIN)
    while not tally.is_over:
        for socket, _ in poller.poll(100):
            crafts[socket].take(tally)
    context.destroy(linger=0)
    return tally


def load_litserve(told: dict[str, Any], payloads: list[bytes]) -> Tally:
    """Connections that stay open, as a good client keeps them."""
    requests = []
    for payload in payloads:
        body = json.dumps({"image": base64.b64encode(payload).decode()}).encode()
        head = f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        requests.append(head.encode() + b"\r\n\r\n" + body)

    async def connection(number: int, tally: Tally) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", told["port"])
        while not tally.is_over:
            begin_s = time.perf_counter()
            writer.write(requests[number % len(requests)])
            number += 1
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
            if head.split(b" ", 2)[1] == b"200":
                tally.answered(begin_s)
            else:
                tally.errors += 1
        writer.close()

    async def run() -> Tally:
        tally = Tally(told["warm_s"], told["seconds"])
        await asyncio.gather(*(connection(number, tally) for number in range(told["concurrency"])))
        return tally

    return asyncio.run(run())


def load_session(told: dict[str, Any], payloads: list[bytes]) -> Tally:
    """The bare session on pictures that are decoded: as many wait as are under way elsewhere, the oldest go first."""
    bundle = load_bundle(Path(told["bundle"]))
    session = OnnxBackend(bundle.model_path, threads=told["threads"]).session
    images = [np.asarray(decode_image(payload, "image/jpeg"), np.uint8) for payload in payloads]
    most = min(told["max_batch"], told["concurrency"])
    batches: list[NDArray[np.uint8]] = [
        np.stack([images[(first + index) % len(images)] for index in range(most)]) for first in range(len(images))
    ]
    tally, number = Tally(told["warm_s"], told["seconds"]), 0
    waiting = [time.perf_counter()] * told["concurrency"]
    while not tally.is_over:
        session.run(OUTPUT_NAMES, {"image": batches[number % len(batches)]})
        number += 1
        for begin_s in waiting[:most]:
            tally.answered(begin_s)
        waiting = waiting[most:] + [time.perf_counter()] * most
    return tally


def main() -> None:
    """Load what the argument says and print what came of it. Argument: JSON of `_told` in `bench_serving.py`."""
    told = json.loads(sys.argv[1])
    cv2.setNumThreads(1)
    payloads = [Path(path).read_bytes() for path in told["pictures"]]
    loads = {"skyloop": load_skyloop, "litserve": load_litserve, "session": load_session}
    print(json.dumps(loads[told["system"]](told, payloads).summary()))  # noqa: T201 - this is its answer
