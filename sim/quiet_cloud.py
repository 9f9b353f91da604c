"""The real cloud service with a teacher that never finds anything, as the other end for the overhead benchmark.

Gateway, store and receipts do their real work; what is left out is the teacher's arithmetic, which in a deployment
runs on another machine and would only take the craft's cores here.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cloud.cli import configure_logging
from cloud.config import CloudSettings
from cloud.service import CloudService
from cloud.teachers import Exemplar, Places, TeacherAnswer
from edge.keys import CLOUD_NAME, load_keys
from protocols.arrays import FloatArray, ImageArray


class QuietTeacher:
    """Says that nothing is there."""

    name = "quiet"
    space = "none"
    labels: tuple[str, ...] = ()

    def interpret(self, frames: Sequence[ImageArray]) -> list[TeacherAnswer]:
        """One empty answer for each image."""
        return [TeacherAnswer(np.zeros((0, 4), np.float32), (), np.zeros(0, np.float32)) for _ in frames]

    def dense_features(self, frames: Sequence[ImageArray]) -> FloatArray:
        """No features."""
        return np.zeros((len(frames), 1, 1, 1), np.float32)

    def find(self, chips: Sequence[Exemplar], frames: Sequence[ImageArray]) -> list[Places]:
        """No places."""
        return [Places(np.zeros((0, 4), np.float32), np.zeros(0, np.float32)) for _ in frames]


def main() -> None:
    """Serve until SIGTERM. Arguments: data folder, keys folder, endpoint, HTTP port, student bundle."""
    data, keys, endpoint, http_port, student = sys.argv[1:]
    configure_logging(as_json=False)
    settings = CloudSettings(
        bind=endpoint, http=f"127.0.0.1:{http_port}", data=Path(data), students=(Path(student),), threads=1
    )
    service = CloudService(settings, load_keys(Path(keys), CLOUD_NAME), QuietTeacher())
    asyncio.run(service.run())
