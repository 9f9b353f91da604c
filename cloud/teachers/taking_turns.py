"""A teacher that several threads ask, one at a time: batches from one, questions about targets from another."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from cloud.teachers.teacher import Exemplar, Places, Teacher, TeacherAnswer
from protocols.arrays import FloatArray, ImageArray


class TakingTurns:
    """Another teacher behind a lock; a plug-in need not know of threads."""

    def __init__(self, teacher: Teacher) -> None:
        """Guard a teacher."""
        self.name, self.space, self.labels = teacher.name, teacher.space, teacher.labels
        self._teacher, self._lock = teacher, threading.Lock()

    def interpret(self, frames: Sequence[ImageArray]) -> list[TeacherAnswer]:
        """See `Teacher`."""
        with self._lock:
            return self._teacher.interpret(frames)

    def dense_features(self, frames: Sequence[ImageArray]) -> FloatArray:
        """See `Teacher`."""
        with self._lock:
            return self._teacher.dense_features(frames)

    def find(self, chips: Sequence[Exemplar], frames: Sequence[ImageArray]) -> list[Places]:
        """See `Teacher`."""
        with self._lock:
            return self._teacher.find(chips, frames)
