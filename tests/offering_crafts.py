"""Crafts by hand that make cases at their own pace, hold a few, and keep to what the cloud tells them."""

import random
import time
from collections import deque

import cv2
import numpy as np
import zmq
from builders import make_case, scene

from protocols import CaseOffer, Hello, InterpretationReceipt, PromptBank, decode, encode, new_case_id
from protocols.messages import KINDS, PromptReceipt, unpack_change
from protocols.reassembly import Reassembly

GREEN = (60, 220, 60)
_SILENCE_S = 2.5
_HOLDS = 8
_OPEN = 4


class OfferingCraft:
    """One craft: `acknowledged`, `answered` and `refusals` tell what became of its cases."""

    def __init__(self, context, site, keys, seed, per_s, label_at):
        self.acknowledged, self.answered, self.refusals, self.times_s = {}, {}, [], []
        self.is_told_otherwise = False  # an answer came again, and was another one
        self.made = self.dropped = self.lost = 0
        self.per_s = per_s
        self._context, self._site, self._keys = context, site, keys
        self._rng = random.Random(seed)
        image = scene((label_at, 50, GREEN), size=(96, 96))
        self._payload = cv2.imencode(".jpg", image)[1].tobytes()
        self.holds, self.open = deque(), {}
        self._paused_until_s = self._next_s = 0.0
        self._bank = PromptBank.empty("none").ref
        self.socket = None
        self.connect()

    def connect(self):
        if self.socket is not None:
            self.socket.close(linger=0)
        for case in self.open:
            self.holds.appendleft(self.open[case][0])
        self.open.clear()
        self.is_welcome, self._update = False, None
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.curve_publickey, self.socket.curve_secretkey = self._keys.public, self._keys.secret
        self.socket.curve_serverkey = self._site.server_key
        self.socket.connect(self._site.endpoint)
        self._heard_s = time.monotonic()
        hello = Hello(
            craft_software="offering",
            boot_id="boot",
            session_id=new_case_id(),
            kinds=KINDS,
            space_id=self._site.space_id,
            variant="fp32",
            labels=("Car",),
            bank=self._bank,
            wall_time_s=time.time(),
        )
        self.socket.send_multipart(encode(hello))

    def step(self, is_making):
        """Make what is due, send what may be sent, and take what has come; begin anew where nothing comes."""
        now_s = time.monotonic()
        if is_making and now_s >= self._next_s:
            self._next_s = max(self._next_s, now_s - 1.0) + self._rng.expovariate(self.per_s)
            self._make()
        if self.is_welcome and now_s >= self._paused_until_s:
            while self.holds and len(self.open) < _OPEN:
                case = self.holds.popleft()
                self.open[case.case_id] = case, now_s
                self.socket.send_multipart(encode(CaseOffer(case=case), self._payload))
        while (frames := self._next()) is not None:
            self._heard_s = now_s
            self._take(*decode(frames))
        if now_s - self._heard_s > _SILENCE_S:
            self.connect()

    def _make(self):
        self.made += 1
        self.holds.append(
            make_case(self._payload, region_xyxy=(0, 0, 96, 96), space_id=self._site.space_id, frame=FRAME)
        )
        if len(self.holds) > _HOLDS:
            self.holds.popleft()
            self.dropped += 1

    def _next(self):
        try:
            return self.socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None

    def _take(self, message, blob):
        if message.kind == "Welcome":
            self.is_welcome = True
        elif message.kind == "CaseReceipt" and message.state == "stored" and message.case_id in self.open:
            self.acknowledged[message.case_id] = self.open.pop(message.case_id)[1]
        elif message.kind == "Interpretation":
            self._on_answer(message.interpretation)
        elif message.kind == "Problem":
            self._on_problem(message)
        elif message.kind == "PromptUpdate":
            self._on_update(message, blob)

    def _on_answer(self, answer):
        if answer.case_id not in self.answered and answer.case_id in self.acknowledged:
            self.times_s.append(time.monotonic() - self.acknowledged[answer.case_id])
        self.is_told_otherwise |= self.answered.get(answer.case_id, answer) != answer
        self.answered[answer.case_id] = answer
        self.socket.send_multipart(encode(InterpretationReceipt(case_id=answer.case_id)))

    def _on_problem(self, problem):
        if problem.code == "not_welcome":
            self.connect()
        elif problem.about in self.open:
            self.refusals.append((problem.code, problem.retry_after_s))
            self.holds.appendleft(self.open.pop(problem.about)[0])
            self._paused_until_s = time.monotonic() + (problem.retry_after_s or 1.0)

    def _on_update(self, update, blob):
        if self._update is None or update.offset == 0:
            self._update = Reassembly(update.total_bytes, update.sha256, cap_bytes=update.total_bytes)
        self._update.add(update.offset, blob)
        if self._update.is_complete:
            self._bank = unpack_change(self._update.finish()).target
            self.socket.send_multipart(encode(PromptReceipt(update_id=update.update_id, bank=self._bank, applied=True)))


FRAME = make_case().frame.model_copy(update={"width": 96, "height": 96})


class Fleet:
    """Crafts that go on until told otherwise; use as a context manager."""

    def __init__(self, site, keys, per_s, seed=1):
        self._context = zmq.Context()
        self.crafts = [
            OfferingCraft(self._context, site, pair, seed + number, per_s / len(keys), 30 + 4 * (number % 8))
            for number, pair in enumerate(keys)
        ]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._context.destroy(linger=0)

    def fly(self, seconds, is_making=True, until=lambda: False):
        """Let them go on for a time, or until something is the case; returns whether it was."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            for craft in self.crafts:
                craft.step(is_making)
            if until():
                return True
            time.sleep(0.002)
        return until()

    def is_connected(self):
        return any(craft.is_welcome for craft in self.crafts)

    def is_through(self):
        """Whether nobody holds a case that the cloud has not acknowledged."""
        return not any(craft.holds or craft.open for craft in self.crafts)

    def is_answered(self):
        """Whether every acknowledged case has its answer at its craft."""
        return all(craft.acknowledged.keys() <= craft.answered.keys() for craft in self.crafts)

    def begin_to_count(self, per_s):
        """From now on at another pace, and times anew."""
        for craft in self.crafts:
            craft.per_s = per_s / len(self.crafts)
            craft.times_s.clear()
            craft.refusals.clear()

    def p99_s(self):
        """Of the times from an offer that was taken to its answer."""
        return float(np.percentile([seconds for craft in self.crafts for seconds in craft.times_s], 99))
