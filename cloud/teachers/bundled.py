"""The teacher in the package: a large student, run by the same code as the small one, so that it needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np

from cloud.errors import TeacherError
from cloud.teachers.teacher import TeacherAnswer
from edge.student import Student
from protocols.arrays import FloatArray, ImageArray


class BundledTeacher:
    """A bundle as a teacher."""

    def __init__(self, student: Student) -> None:
        """Use a bundle that is open already."""
        self._student = student
        manifest = student.manifest
        self.name = f"{manifest.name}/{student.bundle.variant}"[:128]
        self.space = manifest.space_id
        self.labels = manifest.labels

    def interpret(self, frames: Sequence[ImageArray]) -> list[TeacherAnswer]:
        """One answer for each image; see `Teacher`."""
        return [self._interpret(frame) for frame in frames]

    def dense_features(self, frames: Sequence[ImageArray]) -> FloatArray:
        """(N, D, h, w) embeddings of images of one size; see `Teacher`."""
        maps = [self._student.perceive(frame).raw.embedding for frame in frames]
        if len({item.shape for item in maps}) > 1:
            raise TeacherError("dense features need images of one size; give them one by one")
        return np.stack(maps) if maps else np.zeros((0, self._student.manifest.embedding_dim, 0, 0), np.float32)

    def _interpret(self, frame: ImageArray) -> TeacherAnswer:
        seen = self._student.perceive(frame)
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
