"""What others would have found on the same frames: the student without prompts, and the teacher itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from cloud.teachers import Teacher
from distill.dataset import DataSet
from distill.evaluate import ImageDetections
from edge.capture import Frame
from edge.outputs import detection_line
from edge.pipeline import FramePipeline, PipelineSettings
from edge.student import Student
from protocols.values import FrameHeader
from sim.record import detections_of
from sim.score import as_image

OnImage = Callable[[int], None]


def fly_alone(
    student: Student, data: DataSet, chosen: Sequence[int], score_floor: float, on_image: OnImage
) -> list[ImageDetections]:
    """What the edge's own pipeline reports on some frames with an empty prompt bank.

    A known-class detection depends on its own frame only, so leaving frames out changes nothing but track ids. What
    is returned went through a line as the craft writes it, with the same rounding.

    Args:
        student: the craft's.
        data: images of the flight.
        chosen: frame indices.
        score_floor: least score reported, the flight's own.
        on_image: called with the number of frames done.
    """
    pipeline = FramePipeline(student, PipelineSettings(score_floor=score_floor))
    found = []
    for done, index in enumerate(chosen, start=1):
        image = data.image(index)
        height, width = image.shape[:2]
        bands = 1 if image.ndim == 2 else image.shape[2]
        header = FrameHeader(index=index, source_id=data.name, captured_at_s=0, width=width, height=height, bands=bands)
        frame = Frame(header, image, captured_s=0.0)
        line = detection_line(frame, pipeline.process(frame).detections, {})
        found.append(as_image(detections_of(json.loads(line))))
        on_image(done)
    return found


def ask_teacher(teacher: Teacher, data: DataSet, chosen: Sequence[int], on_image: OnImage) -> list[ImageDetections]:
    """What the teacher finds on whole frames, down to its own floor.

    Args:
        teacher: the cloud's.
        data: images of the flight.
        chosen: frame indices.
        on_image: called with the number of frames done.
    """
    found = []
    for done, index in enumerate(chosen, start=1):
        answer = teacher.interpret([data.image(index)])[0]
        found.append(ImageDetections(answer.boxes_xyxy, answer.labels, answer.scores))
        on_image(done)
    return found
