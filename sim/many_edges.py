"""A thousand edges in one process: each with its own key and connection, speaking the protocol as the link does.

They hold no student and no spool; what they cost the gateway is what as many crafts would: a handshake, a heartbeat a
second each way, and cases.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import zmq
import zmq.asyncio

from protocols.limits import CHUNK_BYTES, MAX_MESSAGE_BYTES
from protocols.messages import (
    KINDS,
    AnyMessage,
    CaseChunk,
    CaseOffer,
    CaseReceipt,
    Heartbeat,
    Hello,
    InterpretationMessage,
    InterpretationReceipt,
    PromptReceipt,
    PromptUpdate,
    Welcome,
    decode,
    encode,
    unpack_change,
)
from protocols.reassembly import Reassembly
from protocols.values import BankRef, Case, FrameHeader, PromptBank, new_case_id
from sim.journal import Journal

_HEARTBEAT_S = 1.0
_CONNECTS_PER_S = 40.0
"""A thousand handshakes in 25 s, so that it is not them that is measured."""


class SimulatedEdge:
    """One craft's end of the wire."""

    def __init__(self, socket: zmq.asyncio.Socket, payload: bytes, journal: Journal) -> None:
        """Take a connected socket.

        Args:
            socket: a DEALER.
            payload: imagery of every case.
            journal: gets `welcome`, and `receipt` with the seconds from offer to `stored`.
        """
        self._socket, self._payload, self._journal = socket, payload, journal
        self._sha256 = hashlib.sha256(payload).hexdigest()
        self._offered_s: dict[str, float] = {}
        self._update: Reassembly | None = None
        self._bank = PromptBank(epoch=uuid.uuid4().hex, revision=0).ref

    async def run(self, every_s: float, first_s: float) -> None:
        """Greet, and go on until cancelled.

        Args:
            every_s: between two cases.
            first_s: until the first.
        """
        await self._send(self._hello())
        await asyncio.gather(self._receive(), self._beat(), self._offer(every_s, first_s))

    def _hello(self) -> Hello:
        return Hello(
            craft_software="many-edges",
            boot_id=uuid.uuid4().hex,
            session_id=uuid.uuid4().hex,
            kinds=KINDS,
            space_id="bench-space",
            variant="bench",
            bank=self._bank,
            wall_time_s=time.time(),
        )

    async def _send(self, message: AnyMessage, blob: bytes = b"") -> None:
        await self._socket.send_multipart(encode(message, blob))

    async def _beat(self) -> None:
        for seq in range(1, sys.maxsize):
            await asyncio.sleep(_HEARTBEAT_S)
            await self._send(Heartbeat(seq=seq, wall_time_s=time.time(), spool_cases=0, spool_bytes=0))

    async def _offer(self, every_s: float, first_s: float) -> None:
        await asyncio.sleep(first_s)
        while True:
            case = Case(
                case_id=new_case_id(),
                frame=FrameHeader(index=0, source_id="bench", captured_at_s=time.time(), width=640, height=512),
                region_xyxy=(0, 0, 640, 512),
                hardness=1.0,
                space_id="bench-space",
                variant="bench",
                media_type="image/jpeg",
                payload_bytes=len(self._payload),
                payload_sha256=self._sha256,
            )
            self._offered_s[case.case_id] = time.monotonic()
            await self._send(CaseOffer(case=case))
            await asyncio.sleep(every_s)

    async def _receive(self) -> None:
        while True:
            message, blob = decode(await self._socket.recv_multipart())
            if isinstance(message, CaseReceipt):
                await self._on_receipt(message)
            elif isinstance(message, PromptUpdate):
                await self._on_update(message, blob)
            elif isinstance(message, InterpretationMessage):
                await self._send(InterpretationReceipt(case_id=message.interpretation.case_id))
            elif isinstance(message, Welcome):
                self._journal.note("welcome")

    async def _on_receipt(self, receipt: CaseReceipt) -> None:
        case_id = receipt.case_id
        if receipt.state == "stored":
            self._journal.note("receipt", took_s=time.monotonic() - self._offered_s.pop(case_id))
        elif receipt.next_offset == 0:
            for offset in range(0, len(self._payload), CHUNK_BYTES):
                chunk = self._payload[offset : offset + CHUNK_BYTES]
                await self._send(CaseChunk(case_id=case_id, offset=offset), chunk)

    async def _on_update(self, update: PromptUpdate, blob: bytes) -> None:
        if self._update is None or update.offset == 0:
            self._update = Reassembly(update.total_bytes, update.sha256, cap_bytes=update.total_bytes)
        self._update.add(update.offset, blob)
        if self._update.is_complete:
            held: BankRef = unpack_change(self._update.finish()).target
            self._bank = held
            await self._send(PromptReceipt(update_id=update.update_id, bank=held, applied=True))


def _socket(context: zmq.asyncio.Context, told: dict[str, Any], key: list[str]) -> zmq.asyncio.Socket:
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
    socket.curve_publickey, socket.curve_secretkey = (text.encode() for text in key)
    socket.curve_serverkey = told["server_key"].encode()
    socket.connect(told["endpoint"])
    return socket


async def fly(told: dict[str, Any]) -> None:
    """All edges, for ever: connected one after the other, their cases spread over the minute."""
    context, journal = zmq.asyncio.Context(), Journal(Path(told["journal"]))
    keys = json.loads(Path(told["keys"]).read_text())
    context.set(zmq.MAX_SOCKETS, 2 * len(keys) + 64)
    payload, rng = bytes(random.Random(1).randbytes(told["case_bytes"])), random.Random(2)  # noqa: S311 - no secret
    ramp_s = len(keys) / _CONNECTS_PER_S
    tasks = []
    for number, key in enumerate(keys):
        edge = SimulatedEdge(_socket(context, told, key), payload, journal)
        first_s = ramp_s - number / _CONNECTS_PER_S + rng.uniform(1.0, 1.0 + told["every_s"])
        tasks.append(asyncio.create_task(edge.run(told["every_s"], first_s)))
        await asyncio.sleep(1 / _CONNECTS_PER_S)
    await asyncio.gather(*tasks)


def main() -> None:
    """Fly until ended. Argument: JSON with `endpoint`, `server_key`, `keys`, `journal`, `every_s`, `case_bytes`."""
    asyncio.run(fly(json.loads(sys.argv[1])))
