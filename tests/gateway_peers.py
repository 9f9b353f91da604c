"""A gateway on loopback for tests, and peers that keep to the protocol or do not."""

import asyncio
import threading
import time

import numpy as np
import zmq
from builders import make_case

from cloud.gateway import Gateway, GatewaySettings
from protocols import (
    KINDS,
    CaseChunk,
    CaseOffer,
    Hello,
    Interpretation,
    Prompt,
    PromptBank,
    Vectors,
    decode,
    encode,
    new_case_id,
    slices,
)

PAYLOAD = bytes(range(256)) * 200  # 50 KiB: four chunks


def until(condition, timeout_s=30.0):
    """Waits for an event: until the condition holds, or fails after a generous bound."""
    deadline = time.monotonic() + timeout_s
    while not (result := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
    return result


def big_case(payload=PAYLOAD, **changes):
    return make_case(payload, **changes)


def answer_to(case):
    return Interpretation(case_id=case.case_id, confidence=0.9, by="teacher", interpreter="test", made_at_s=1.7e9)


def next_bank(bank, label):
    vectors = Vectors.from_array(np.eye(2, 8, dtype=np.float32))
    prompt = Prompt(
        prompt_id=f"p-{label}",
        label=label,
        space_id="space",
        variant="fp32",
        positives=vectors,
        negatives=vectors,
        threshold=0.5,
        issued_at_s=1.7e9,
        origin="person",
        confidence=1,
    )
    return PromptBank(epoch=bank.epoch, revision=bank.revision + 1, prompts=(*bank.prompts, prompt))


class Cloud:
    """A gateway in an event loop of its own thread."""

    def __init__(self, store, keys):
        self.store, self.keys, self.stored = store, keys, threading.Event()
        self.endpoint = "tcp://127.0.0.1:*"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def start(self, **settings):
        fields = {"bind": self.endpoint, "heartbeat_s": 0.2, "retry_after_s": 0.1, **settings}
        self.gateway = Gateway(GatewaySettings(**fields), self.store, self.keys)
        self.gateway.on_cases_stored = lambda _: self.stored.set()
        self._run(self.gateway.start())
        self.endpoint = self.gateway.endpoint
        return self.gateway

    def stop(self):
        gateway, self.gateway = self.gateway, None
        self._run(gateway.stop())

    def close(self):
        if self.gateway is not None:
            self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()


class Peer:
    """A craft by hand, on a bare DEALER."""

    def __init__(self, endpoint, keys, server_key, routing_id=None):
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.rcvtimeo = self.socket.sndtimeo = 20_000
        self.socket.curve_publickey, self.socket.curve_secretkey = keys.public, keys.secret
        self.socket.curve_serverkey = server_key
        if routing_id is not None:
            self.socket.routing_id = routing_id
        self.socket.connect(endpoint)

    def send(self, message, blob=b""):
        self.socket.send_multipart(encode(message, blob))

    def receive(self, kind):
        """(message, blob) of the next message of a kind; others are skipped."""
        while True:
            message, blob = self.receive_any()
            if message.kind == kind:
                return message, blob

    def receive_any(self):
        """(message, blob) of the next message."""
        return decode(self.socket.recv_multipart())

    def hello(self, bank=None):
        session_id = new_case_id()
        message = Hello(
            craft_software="peer",
            boot_id="boot",
            session_id=session_id,
            kinds=KINDS,
            space_id="space",
            variant="fp32",
            labels=("Car",),
            bank=bank or PromptBank.empty("none").ref,
            wall_time_s=1.7e9,
        )
        self.send(message)
        return session_id

    def join(self, bank=None):
        self.hello(bank)
        return self.receive("Welcome")[0]

    def upload(self, case, payload=PAYLOAD):
        """Offers and sends a whole case; returns its last receipt."""
        self.send(CaseOffer(case=case))
        receipt = self.receipt_of(case)
        if receipt.state == "partial":
            for offset, blob in slices(payload, receipt.next_offset):
                self.send(CaseChunk(case_id=case.case_id, offset=offset), blob)
        while receipt.state == "partial":
            receipt = self.receipt_of(case)
        return receipt

    def receipt_of(self, case):
        while (receipt := self.receive("CaseReceipt")[0]).case_id != case.case_id:
            pass
        return receipt

    def hears_nothing_for(self, milliseconds):
        """Whether no message comes; the bound is many heartbeats long."""
        return not self.socket.poll(milliseconds)

    def close(self):
        self.context.destroy(linger=0)
