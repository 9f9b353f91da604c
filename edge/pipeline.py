"""One frame's way on the craft, without any input or output: perceive, match, track, estimate hardness.

The agent, the simulator's edge-only reference and the benchmarks all run this same class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge.camera_motion import CameraMotion
from edge.capture import Frame
from edge.config import Settings
from edge.hardness import Hardness, HardnessSettings, estimate_hardness
from edge.prompting import PromptMatcher
from edge.student import Perception, Student
from edge.tracking import Tracker, TrackerSettings
from protocols.values import Detection, PromptBank


class PipelineSettings(Settings):
    """Settings of the per-frame work.

    Attributes:
        score_floor: least known-class score; None takes the bundle's own.
        tracker, hardness: see those modules.
    """

    score_floor: float | None = None
    tracker: TrackerSettings = TrackerSettings()
    hardness: HardnessSettings = HardnessSettings()


@dataclass(frozen=True)
class FrameResult:
    """What is known about one frame.

    Attributes:
        detections: known and prompted ones, with track ids.
        hardness: how much the cloud would help.
        seen: the candidates behind both.
    """

    detections: tuple[Detection, ...]
    hardness: Hardness
    seen: Perception


class FramePipeline:
    """State that lives from frame to frame: the compiled prompt bank, the tracker, the camera motion."""

    def __init__(self, student: Student, settings: PipelineSettings | None = None) -> None:
        self.student = student
        self.settings = settings or PipelineSettings()
        self.matcher = PromptMatcher(PromptBank.empty("none"), student.manifest.space_id)
        self._tracker = Tracker(self.settings.tracker)
        self._motion = CameraMotion()
        self._flicker = 0.0

    def use_bank(self, bank: PromptBank) -> None:
        """Match against another prompt bank from the next frame on."""
        self.matcher = PromptMatcher(bank, self.student.manifest.space_id)

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
        boxes = seen.boxes_xyxy[np.concatenate([known.rows, match.rows])]
        scores = np.concatenate([known.scores, match.scores]).astype(np.float32)
        sure = np.concatenate([np.ones(len(known.rows), np.bool_), match.sure])
        motion = self._motion.update(frame.image).matrix
        ids = self._tracker.update(boxes, labels, scores, motion, sure)
        match = match.only(np.array(ids[len(known.rows) :], np.int64) > 0)
        self._flicker += 0.1 * (self._tracker.ended_young / max(len(self._tracker.tracks), 1) - self._flicker)
        size = (frame.header.width, frame.header.height)
        hardness = estimate_hardness(seen, known, match, self._flicker, size, self.settings.hardness)
        rows = zip(boxes.tolist(), labels, scores.tolist(), sources, ids, strict=True)
        detections = tuple(
            Detection(box_xyxy=tuple(box), label=label, score=min(score, 1.0), provenance=source, track_id=track_id)
            for box, label, score, source, track_id in rows
            if track_id
        )
        return FrameResult(detections, hardness, seen)
