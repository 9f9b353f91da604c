"""One frame's way on the craft, without any input or output: perceive, match, track, estimate hardness.

The agent, the simulator's edge-only reference and the benchmarks all run this same class.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.camera_motion import CameraMotion
from edge.capture import Frame
from edge.chips import embed_chip
from edge.config import Settings
from edge.errors import TargetError
from edge.followed_target import Answering, Target, TargetSettings
from edge.hardness import Hardness, HardnessSettings, estimate_hardness, with_reward
from edge.opencv_trackers import open_short_term
from edge.prompting import PromptMatcher
from edge.raster import RasterImage
from edge.recent_frames import RecentFrames, RecentFramesSettings
from edge.reward import frame_features, load_reward, refitted
from edge.student import Perception, Student
from edge.target_places import Beginning, Present, begin, followable
from edge.target_questions import Budget, Question, QuestionSettings, Surroundings, TargetQuestions
from edge.target_requests import TargetRequest
from edge.targets import TargetTracker
from edge.tracking import Tracker, TrackerSettings
from protocols.arrays import FloatArray
from protocols.errors import ImageryError
from protocols.values import Detection, Interpretation, PromptBank


class PipelineSettings(Settings):
    """Settings of the per-frame work.

    Attributes:
        score_floor: least known-class score; None takes the bundle's own.
        tracker, targets, recent, questions, hardness: see those modules; `tracker` follows all detections, `targets`
            what is asked for.
    """

    score_floor: float | None = None
    tracker: TrackerSettings = TrackerSettings()
    targets: TargetSettings = TargetSettings()
    recent: RecentFramesSettings = RecentFramesSettings()
    questions: QuestionSettings = QuestionSettings()
    hardness: HardnessSettings = HardnessSettings()


@dataclass(frozen=True)
class FrameResult:
    """What is known about one frame.

    Attributes:
        detections: known and prompted ones, with track ids.
        hardness: how much the cloud would help.
        seen: the candidates behind both.
        targets: what somebody asked to follow.
        begun: what became of the requests that were settled in this frame.
    """

    detections: tuple[Detection, ...]
    hardness: Hardness
    seen: Perception
    targets: tuple[Target, ...] = ()
    begun: tuple[Beginning, ...] = ()


class FramePipeline:
    """State that lives from frame to frame: the compiled prompt bank, the trackers, the camera motion.

    Attributes:
        recent: the newest frames, for what comes late; frames too large to be held are not among them.
        remembers: whether they are kept; without a cloud nothing comes late.
        questions: what the cloud is asked about targets.
    """

    def __init__(self, student: Student, settings: PipelineSettings | None = None) -> None:
        """Begin with no prompts and no targets.

        Raises:
            ConfigError, ModelError: the short-term tracker of the settings cannot be had.
        """
        self.student = student
        self.settings = settings or PipelineSettings()
        self.matcher = PromptMatcher(PromptBank.empty("none"), student.manifest.space_id)
        self._tracker = Tracker(self.settings.tracker)
        self._targets = TargetTracker(
            open_short_term(self.settings.targets.tracker),
            self.settings.targets,
            student.manifest.stride_px,
            student.manifest.space_id,
            student.manifest.embedding_dim,
        )
        self.recent = RecentFrames(self.settings.recent)
        self.remembers = True
        self._captured_at_s: deque[tuple[int, float]] = deque()  # of what `recent` holds
        self.questions = TargetQuestions(self.settings.questions)
        self._requests: list[TargetRequest] = []
        self._motion = CameraMotion()
        self._reward = self._bundled_reward = load_reward(student.bundle)
        self._flicker = 0.0

    @property
    def targets(self) -> tuple[Target, ...]:
        """What is followed, as the last frame or a later answer left it."""
        return self._targets.targets

    def use_bank(self, bank: PromptBank) -> None:
        """Match against another prompt bank from the next frame on."""
        self.matcher = PromptMatcher(bank, self.student.manifest.space_id)

    def use_student(self, student: Student, bank: PromptBank) -> None:
        """Look with another student from the next frame on.

        Args:
            student: of the same bands; any space, labels and stride.
            bank: the prompts as it flies them.
        """
        is_same_space = student.manifest.space_id == self.student.manifest.space_id
        self.student = student
        self.use_bank(bank)
        if not is_same_space:
            self._targets.use_student(student.manifest, self._looks_of_lost(student))
        self._reward = self._bundled_reward = load_reward(student.bundle)

    def _looks_of_lost(self, student: Student) -> dict[int, FloatArray]:
        """What a student makes of the first looks of lost targets; others it soon sees for itself."""
        found = {}
        for target in self._targets.targets:
            chip = self.questions.first_look(target.target_id) if target.state == "lost" else None
            if chip is not None:
                with suppress(ImageryError):  # too large to be looked at within a frame
                    found[target.target_id] = embed_chip(student, chip)
        return found

    @property
    def worth(self) -> dict[str, float]:
        """What a detection of a label counts in rewards; see `edge.reward`."""
        return self._reward.worth if self._reward is not None else {}

    def learn_rewards(self, features: FloatArray, gains: FloatArray) -> None:
        """Correct the bundle's own fit by frames for which is known what the cloud put right; see `reward.refitted`."""
        if self._bundled_reward is not None:
            self._reward = refitted(self._bundled_reward, features, gains)

    def follow(self, request: TargetRequest) -> None:
        """Begin to follow a target in the next frame, or in the first one in which its label is seen."""
        self._requests.append(request)

    def withdraw(self, key: str) -> None:
        """Wait no longer for what was asked for under a key."""
        self._requests = [request for request in self._requests if request.key != key]

    def stop(self, target_id: int) -> None:
        """Follow a target no longer.

        Raises:
            TargetError: there is none of that number.
        """
        self._targets.stop(target_id)

    def stop_all(self) -> None:
        """Follow nothing, and wait for nothing."""
        self._requests = []
        for target in self._targets.targets:
            self._targets.stop(target.target_id)

    def ask(self, frame: Frame, result: FrameResult, budget: Budget) -> Question | None:
        """A question to the cloud about one of the targets in the newest frame, or None; see `edge.target_questions`.

        Args:
            frame: that `process` was given last.
            result: what it said.
            budget: what cases may cost.
        """
        if not result.targets or not len(self.recent):
            return None
        space = (self.student.manifest.space_id, self.student.bundle.variant)
        around = Surroundings(frame.header, result.seen, self.student.manifest.stride_px, space)
        return self.questions.consider(self._targets, self.recent, around, budget)

    def heed(self, interpretation: Interpretation) -> bool:
        """Use an answer about a target; whether that puts it right. Call it between two frames."""
        return self.questions.heed(interpretation, self._targets, self.recent)

    def process(self, frame: Frame, seen: Perception | None = None) -> FrameResult:
        """Everything the craft can say about one frame by itself.

        Args:
            frame: the next frame of the video.
            seen: the student's perception of it, where that was made ahead in another thread.
        """
        seen = seen or self.student.perceive(frame.image)
        known = self.student.known(seen, self.settings.score_floor)
        pose = frame.header.pose
        match = self.matcher.match(seen, frame.header.captured_at_s, pose.gsd_m if pose else None, known)
        labels = [self.student.manifest.labels[c] for c in known.classes]
        labels += [self.matcher.prompts[p].label for p in match.prompts]
        sources = ["edge"] * len(known.rows) + [f"prompt:{self.matcher.prompts[p].prompt_id}" for p in match.prompts]
        candidates = np.concatenate([known.rows, match.rows])
        boxes = seen.boxes_xyxy[candidates]
        scores = np.concatenate([known.scores, match.scores]).astype(np.float32)
        sure = np.concatenate([np.ones(len(known.rows), np.bool_), match.sure])
        motion = self._motion.update(frame.image).matrix
        if self.remembers and not isinstance(frame.image, RasterImage):
            self.recent.add(frame.header.index, frame.captured_s, followable(frame.image), motion)
            self._captured_at_s.append((frame.header.index, frame.header.captured_at_s))
            while len(self._captured_at_s) > len(self.recent):
                self._captured_at_s.popleft()
        ids = self._tracker.update(boxes, labels, scores, motion, sure)
        answers = _Answers(candidates[sure], np.array(labels, np.str_)[sure])
        targets, begun = self._follow(frame, seen, motion, answers)
        match = match.only(np.array(ids[len(known.rows) :], np.int64) > 0)
        self._flicker += 0.1 * (self._tracker.ended_young / max(len(self._tracker.tracks), 1) - self._flicker)
        size = (frame.header.width, frame.header.height)
        hardness = estimate_hardness(seen, known, match, self._flicker, size, self.settings.hardness)
        if self._reward is not None:
            features = frame_features(self._reward, self.student, seen, match)
            hardness = with_reward(hardness, self._reward, features, self.settings.hardness)
        rows = zip(boxes.tolist(), labels, scores.tolist(), sources, ids, strict=True)
        detections = tuple(
            Detection(box_xyxy=tuple(box), label=label, score=min(score, 1.0), provenance=source, track_id=track_id)
            for box, label, score, source, track_id in rows
            if track_id
        )
        return FrameResult(detections, hardness, seen, targets, tuple(begun))

    def _follow(
        self, frame: Frame, seen: Perception, motion: FloatArray, answers: _Answers
    ) -> tuple[tuple[Target, ...], list[Beginning]]:
        """Every target in this frame, those that begin in it among them, and what became of requests."""
        if not self._requests and not self._targets.targets:
            return (), []
        try:
            image = followable(frame.image)
        except TargetError as exc:
            refused, self._requests = self._requests, []
            return self._targets.targets, [Beginning(request, None, str(exc)) for request in refused]
        answering = answers.by_label(self.student.manifest.labels + tuple(p.label for p in self.matcher.prompts))
        self._targets.update(image, motion, seen, answering)
        if not self._requests:
            return self._targets.targets, []
        present = Present(frame.header, image, seen, answering, self.recent, dict(self._captured_at_s))
        self._requests, begun = begin(self._requests, self._targets, present)
        return self._targets.targets, begun


class _Answers(NamedTuple):
    """Candidates that surely answer to a label, (N,) each."""

    rows: NDArray[np.int64]
    labels: NDArray[np.str_]

    def by_label(self, known: Iterable[str]) -> Answering:
        """With a row, perhaps an empty one, for every label that the student or a prompt could give."""
        return {label: self.rows[self.labels == label] for label in set(known)}
