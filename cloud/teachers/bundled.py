"""The teacher in the package: a large student, run by the same code as the small one, so that it needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np

from cloud.errors import TeacherError
from cloud.teachers.finding import check_chips, find_by_features
from cloud.teachers.matcher import Matcher
from cloud.teachers.teacher import Exemplar, Places, TeacherAnswer
from edge.student import Perception, Student
from protocols.arrays import FloatArray, ImageArray


class BundledTeacher:
    """A bundle as a teacher."""

    def __init__(self, student: Student, matcher: Matcher | None = None) -> None:
        """Use a bundle that is open already, and its matching head where it has one."""
        self._student, self._matcher = student, matcher
        manifest = student.manifest
        self.name = f"{manifest.name}/{student.bundle.variant}"[:128]
        self.space = manifest.space_id
        self.labels = manifest.labels

    def interpret(self, frames: Sequence[ImageArray]) -> list[TeacherAnswer]:
        """One answer for each image; see `Teacher`."""
        return [self._answer(seen) for seen in self._student.perceive_all(frames)]

    def dense_features(self, frames: Sequence[ImageArray]) -> FloatArray:
        """(N, D, h, w) embeddings of images of one size; see `Teacher`."""
        maps = [self._map_of(frame) for frame in frames]
        if len({item.shape for item in maps}) > 1:
            raise TeacherError("dense features need images of one size; give them one by one")
        return np.stack(maps) if maps else np.zeros((0, self._student.manifest.embedding_dim, 0, 0), np.float32)

    def find(self, chips: Sequence[Exemplar], frames: Sequence[ImageArray]) -> list[Places]:
        """Where things are that look like the chips; see `Teacher`. Without a matching head, by features alone."""
        check_chips(chips)
        if self._matcher is None:
            return find_by_features(self.dense_features, chips, frames)
        return self._matcher.find(list(chips), list(frames))

    def _map_of(self, frame: ImageArray) -> FloatArray:
        """(D, h, w) of one image, without what the network pads."""
        stride = self._student.manifest.stride_px
        height, width = (-(-side // stride) for side in frame.shape[:2])
        return self._student.perceive(frame).raw.embedding[:, :height, :width]

    def _answer(self, seen: Perception) -> TeacherAnswer:
        known = self._student.known(seen)
        order = np.argsort(-known.scores, kind="stable")
        return TeacherAnswer(
            boxes_xyxy=seen.boxes_xyxy[known.rows[order]],
            labels=tuple(self.labels[index] for index in known.classes[order]),
            scores=known.scores[order],
        )


def bundled_teacher() -> Path:
    """Folder of the teacher that comes with the package."""
    return Path(str(files("cloud"))) / "bundles" / "teacher"
