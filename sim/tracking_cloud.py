"""Trackers with a cloud in the benchmark: who asks, who answers, and how late the answers come.

A craft's process and the process that answers it exchange the messages of the wire; here they are carried, counted and
held back for the delay, which counts in the video's own time. Whoever is to do as well with the same answers is told
them at the same frames.
"""

from __future__ import annotations

import math
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from typing_extensions import Self

from protocols.arrays import ImageArray
from protocols.messages import InterpretationMessage, decode
from sim.peers import Followed, TrackerProcess
from sim.tracking_asking import Frames, packed, unpacked
from sim.tracking_data import Sequence as Video


@dataclass
class Traffic:
    """What one sequence cost.

    Attributes:
        requests: questions that were asked.
        bytes_up, bytes_down: of the messages from edge to cloud, headers and pictures, and back.
    """

    requests: int = 0
    bytes_up: int = 0
    bytes_down: int = 0


@dataclass(frozen=True)
class _Late:
    """An answer on its way.

    Attributes:
        due: index of the frame before which it comes.
        frames: the message.
    """

    due: int
    frames: Frames


class CloudTracker:
    """A tracker that asks, as the benchmark sees any tracker; leaving the context ends its processes.

    Attributes:
        traffic: of the sequence in work.
        told: the boxes of answers that came with the newest frame, x, y, w, h; None says that it is not there.
        has_asked: whether the newest frame was asked about.
    """

    def __init__(self, craft: TrackerProcess, answerer: TrackerProcess, delay_s: float) -> None:
        """Let a craft's process ask an answerer's."""
        self._craft, self._answerer, self._delay_s = craft, answerer, delay_s
        self._stack = ExitStack()
        self.traffic = Traffic()
        self.told: list[list[float] | None] = []
        self.has_asked = False

    def __enter__(self) -> Self:
        """Take hold of both processes."""
        self._stack.enter_context(self._craft)
        self._stack.enter_context(self._answerer)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End both."""
        self._stack.close()

    def watch(self, video: Video) -> None:
        """Begin the next sequence: the answerer may read its truth, nobody else does.

        Raises:
            ProcessError: a process ended.
        """
        self._answerer.ask({"watch": str(Path(video.pictures[0]).parent.parent.resolve())})
        self._fps, self._index, self.traffic = video.fps, 0, Traffic()
        self._late: deque[_Late] = deque()
        self.told, self.has_asked = [], False

    def start(self, image: ImageArray, box_xywh: list[float]) -> float:
        """See `TrackerProcess.start`."""
        return float(self._craft.ask({"shape": image.shape, "box": box_xywh, "fps": self._fps}, image)["s"])

    def update(self, image: ImageArray) -> Followed:
        """See `TrackerProcess.update`."""
        self._index += 1
        come = []
        while self._late and self._late[0].due <= self._index:
            come.append(self._late.popleft().frames)
        self.told = [_box_in(frames) for frames in come]
        answer = self._craft.ask({"shape": image.shape, "box": None, "messages": packed(come)}, image)
        self.has_asked = bool(answer["messages"])
        if self.has_asked:
            self._send(answer["messages"])
        return Followed(answer["box"], float(answer["s"]), answer["is_claimed"])

    def _send(self, question: list[list[str]]) -> None:
        (told,) = unpacked(self._answerer.ask({"messages": question})["messages"])
        self.traffic.requests += 1
        self.traffic.bytes_up += sum(len(frame) for frames in unpacked(question) for frame in frames)
        self.traffic.bytes_down += sum(map(len, told))
        # An answer takes a frame's time at least: the next one is in work already.
        self._late.append(_Late(self._index + max(math.ceil(self._delay_s * self._fps), 1), told))


class ToldTracker:
    """A tracker that is told what another one is answered, at the same frames; leaving the context ends its process."""

    def __init__(self, process: TrackerProcess, leader: CloudTracker) -> None:
        """Listen to a leader, whose turn comes first in each frame."""
        self._process, self._leader = process, leader

    def __enter__(self) -> Self:
        """Take hold of the process."""
        self._process.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self._process.__exit__(kind, value, trace)

    @property
    def traffic(self) -> Traffic:
        """Its leader's."""
        return self._leader.traffic

    def start(self, image: ImageArray, box_xywh: list[float]) -> float:
        """See `TrackerProcess.start`."""
        return self._process.start(image, box_xywh)

    def update(self, image: ImageArray) -> Followed:
        """See `TrackerProcess.update`."""
        told = [box for box in self._leader.told if box is not None]
        request: dict[str, Any] = {"shape": image.shape, "box": None, "keep": self._leader.has_asked}
        answer = self._process.ask(request | {"told": told[-1] if told else None}, image)
        return Followed(answer["box"], float(answer["s"]), answer["is_claimed"])


def _box_in(frames: Frames) -> list[float] | None:
    message, _ = decode(frames)
    answer = message.interpretation.target if isinstance(message, InterpretationMessage) else None
    if answer is None or answer.box_xyxy is None:
        return None
    x1, y1, x2, y2 = answer.box_xyxy
    return [x1, y1, x2 - x1, y2 - y1]
