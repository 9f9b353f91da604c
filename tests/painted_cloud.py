"""The real cloud service with a teacher that names what is painted green and takes its time: a program of its own.

Arguments: JSON of `CloudSettings`, and seconds that the teacher takes for a picture.
"""

import asyncio
import json
import sys
import time

import cv2
import numpy as np

from cloud.cli import configure_logging
from cloud.config import CloudSettings
from cloud.service import CloudService
from cloud.teachers import TeacherAnswer
from edge.keys import CLOUD_NAME, load_keys


class PaintedTeacher:
    """Calls what is green `debris`."""

    name, space, labels = "painted", "none", ("debris",)

    def __init__(self, picture_s):
        self._picture_s = picture_s

    def interpret(self, frames):
        time.sleep(self._picture_s * len(frames))
        return [self._answer(frame) for frame in frames]

    def _answer(self, frame):
        mask = (frame[:, :, 1].astype(int) - frame[:, :, 0] > 80).astype(np.uint8)
        boxes = [cv2.boundingRect(c) for c in cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]]
        xyxy = np.array([(x, y, x + w, y + h) for x, y, w, h in boxes], np.float32).reshape(-1, 4)
        return TeacherAnswer(xyxy, ("debris",) * len(boxes), np.full(len(boxes), 0.9, np.float32))


def main():
    configure_logging(as_json=False)
    settings = CloudSettings.model_validate(json.loads(sys.argv[1]))
    service = CloudService(settings, load_keys(settings.keys_folder, CLOUD_NAME), PaintedTeacher(float(sys.argv[2])))
    asyncio.run(service.run())


main()
