"""The two sides of cloud-assisted tracking in the benchmark, each in a process of its own.

The craft's side is our tracker with its recent frames and its questions; it sees pictures, the first box and answers.
The answering side is a person who knows the true box, or the teacher; it sees questions, and alone reads the truth.
Between them go the very messages of the wire; `sim/tracking_cloud.py` carries them and keeps the time.
"""

from __future__ import annotations

import json
import sys
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeAlias

import cv2
import numpy as np

from cloud.case_images import CaseImage, open_case_image
from cloud.config import TargetAnswerSettings
from cloud.target_answers import Told, answer_of, find_target
from cloud.teachers import Teacher, open_teacher
from edge.camera_motion import CameraMotion
from edge.followed_target import TargetSettings
from edge.opencv_trackers import open_short_term
from edge.recent_frames import RecentFrames
from edge.scheduler import CasePace, SchedulerSettings
from edge.target_questions import Question, QuestionSettings, Surroundings, TargetQuestions
from edge.targets import TargetTracker
from protocols.arrays import ImageArray
from protocols.limits import MAX_CASE_BYTES
from protocols.messages import CaseChunk, CaseOffer, InterpretationMessage, decode, encode
from protocols.reassembly import Reassembly, slices
from protocols.values import Case, FrameHeader, Interpretation
from sim.tracking_data import is_box, read_sequence

Frames: TypeAlias = list[bytes]
"""The two frames of one message."""

ANSWERERS = ("operator", "teacher")


@dataclass
class AskingTracker:
    """One target, followed with questions to a cloud; times are those of the video.

    Attributes:
        spec: of the short-term tracker, see `edge.opencv_trackers.open_short_term`.
        fps: of the video.
        questions, targets: see those modules.
    """

    spec: str
    fps: float = 30.0
    questions: QuestionSettings = field(default_factory=QuestionSettings)
    targets: TargetSettings = field(default_factory=TargetSettings)

    def start(self, image: ImageArray, box_xywh: Sequence[float]) -> None:
        """Begin with the first frame of a video."""
        self._tracker = TargetTracker(open_short_term(self.spec), self.targets)
        self._motion, self._frames = CameraMotion(), RecentFrames()
        self._asking, self._budget = TargetQuestions(self.questions), CasePace(SchedulerSettings())
        self._index = 0
        self._frames.add(0, 0.0, image, self._motion.update(image).matrix)
        x, y, width, height = box_xywh
        self._tracker.start(image, np.array([x, y, x + width, y + height], np.float32))
        self._consider(image)

    def update(self, image: ImageArray, answers: Sequence[Frames]) -> tuple[list[float], bool, list[Frames]]:
        """The next frame.

        Args:
            image: (H, W, 3) uint8.
            answers: messages that have come since the last one.

        Returns:
            x, y, w, h in pixels, whether the target is said to be there, and the messages of a question, none or all of
            one.
        """
        for frames in answers:
            message, _ = decode(frames)
            if isinstance(message, InterpretationMessage):
                self._asking.heed(message.interpretation, self._tracker, self._frames)
        self._index += 1
        motion = self._motion.update(image).matrix
        self._frames.add(self._index, self._index / self.fps, image, motion)
        (target,) = self._tracker.update(image, motion)
        x1, y1, x2, y2 = target.box_xyxy.tolist()
        is_claimed = target.state in ("tracked", "re_found")
        return [x1, y1, x2 - x1, y2 - y1], is_claimed, self._consider(image)

    def _consider(self, image: ImageArray) -> list[Frames]:
        header = FrameHeader(
            index=self._index,
            source_id="video",
            captured_at_s=self._index / self.fps,
            width=image.shape[1],
            height=image.shape[0],
        )
        asked = self._asking.consider(self._tracker, self._frames, Surroundings(header), self._budget)
        return [] if asked is None else messages_of(asked)


def messages_of(question: Question) -> list[Frames]:
    """A question as it goes over the wire: the offer, and its picture in slices."""
    case_id = question.case.case_id
    chunks = [encode(CaseChunk(case_id=case_id, offset=offset), part) for offset, part in slices(question.payload)]
    return [encode(CaseOffer(case=question.case)), *chunks]


def question_in(messages: Sequence[Frames]) -> tuple[Case, CaseImage]:
    """A question as it comes off the wire.

    Raises:
        MessageError, ImageryError: it is none.
        TypeError: the first message is no offer.
    """
    offer, _ = decode(messages[0])
    if not isinstance(offer, CaseOffer):
        raise TypeError(f"{offer.kind}: is no offer of a case")
    case = offer.case
    parts = Reassembly(case.payload_bytes, case.payload_sha256, cap_bytes=MAX_CASE_BYTES)
    for frames in messages[1:]:
        chunk, blob = decode(frames)
        if isinstance(chunk, CaseChunk):
            parts.add(chunk.offset, blob)
    return case, open_case_image(case, parts.finish())


class Operator:
    """A person who sees where the target is, where the picture shows its middle."""

    def __init__(self) -> None:
        """Knows no video yet."""
        self._truth = np.zeros((0, 4), np.float32)

    def watch(self, folder: Path) -> None:
        """Get to know the next video: the one place where the truth is read."""
        self._truth = read_sequence(folder, folder.name).truth_xywh

    def answer(self, messages: Sequence[Frames]) -> Frames:
        """The true box in the frame that was asked about, or that the target is not in the picture."""
        case, _ = question_in(messages)
        x, y, width, height = (float(v) for v in self._truth[case.frame.index])
        x1, y1, x2, y2 = case.region_xyxy
        is_there = bool(is_box(self._truth[case.frame.index][None])[0])
        is_there = is_there and x1 <= x + width / 2 < x2 and y1 <= y + height / 2 < y2
        box = (x, y, x + width, y + height) if is_there else None
        return _told(case, Told("here" if is_there else "gone", box, 1.0), "person", "operator")


class TeacherAlone:
    """The teacher, as the cloud asks it."""

    def __init__(self, teacher: Teacher | None = None, settings: TargetAnswerSettings | None = None) -> None:
        """Open the teacher that comes with the package, unless another is given."""
        self._teacher, self._settings = teacher or open_teacher(threads=1), settings or TargetAnswerSettings()

    def watch(self, folder: Path) -> None:
        """Nothing: it sees the pictures of questions alone."""

    def answer(self, messages: Sequence[Frames]) -> Frames:
        """What the teacher says."""
        case, image = question_in(messages)
        return _told(case, find_target(self._teacher, case, image, self._settings), "teacher", self._teacher.name)


def _told(case: Case, told: Told, by: str, interpreter: str) -> Frames:
    assert case.target is not None
    return encode(
        InterpretationMessage(
            interpretation=Interpretation(
                case_id=case.case_id,
                confidence=told.confidence,
                by="person" if by == "person" else "teacher",
                interpreter=interpreter,
                made_at_s=case.frame.captured_at_s,
                target=answer_of(case.target, told, None, None),
            )
        )
    )


def packed(messages: Sequence[Frames]) -> list[list[str]]:
    """Messages as JSON can hold them."""
    return [[b64encode(frame).decode() for frame in frames] for frames in messages]


def unpacked(messages: Sequence[Sequence[str]]) -> list[Frames]:
    """The same, back."""
    return [[b64decode(frame) for frame in frames] for frames in messages]


def serve_tracker(tracker: AskingTracker, requests: BinaryIO, answers: BinaryIO) -> None:
    """Follow until the requests end: as `tracking_worker.serve`, with messages beside pictures and boxes."""
    while line := requests.readline():
        request = json.loads(line)
        image = np.frombuffer(requests.read(int(np.prod(request["shape"]))), np.uint8).reshape(request["shape"])
        box, told, begin = request["box"], unpacked(request.get("messages", [])), time.perf_counter()
        is_claimed, asked = True, list[Frames]()
        if box is not None:
            tracker.fps = request["fps"]
            tracker.start(image, box)
        else:
            box, is_claimed, asked = tracker.update(image, told)
        seconds = time.perf_counter() - begin
        answer = {"box": box, "is_claimed": is_claimed, "s": seconds, "messages": packed(asked)}
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def serve_answers(answerer: Operator | TeacherAlone, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the requests end: lines of JSON with `watch`, a sequence's folder, or `messages` of a question."""
    while line := requests.readline():
        request = json.loads(line)
        told: list[Frames] = []
        if "watch" in request:
            answerer.watch(Path(request["watch"]))
        else:
            told = [answerer.answer(unpacked(request["messages"]))]
        answers.write(json.dumps({"messages": packed(told)}).encode() + b"\n")
        answers.flush()


def main() -> None:
    """Serve one side on standard input and output: `tracker SPEC`, `operator` or `teacher`."""
    cv2.setNumThreads(1)
    kind, *told = sys.argv[1:]
    makers: dict[str, Callable[[], Operator | TeacherAlone]] = {"operator": Operator, "teacher": TeacherAlone}
    if kind == "tracker":
        serve_tracker(AskingTracker(told[0]), sys.stdin.buffer, sys.stdout.buffer)
    else:
        serve_answers(makers[kind](), sys.stdin.buffer, sys.stdout.buffer)
