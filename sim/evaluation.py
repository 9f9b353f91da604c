"""A flight scored: the unfamiliar label frame by frame, and AP50 against the student alone and the teacher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from threadpoolctl import threadpool_limits

from cloud.teachers import Teacher
from edge.student import Student
from sim.record import FlightRecord
from sim.reference import ask_teacher, fly_alone
from sim.score import (
    FrameTally,
    Precision,
    UnfamiliarScore,
    average_precision,
    pick_evenly,
    reported,
    sum_up,
    tally_flight,
)

SAMPLE_FRAMES = 120
TEACHER_FRAMES = 40
"""Frames that AP50 is computed on: as many as two cores manage in a few seconds."""


@dataclass(frozen=True)
class Evaluation:
    """Everything measured about one flight.

    Attributes:
        label: the unfamiliar one.
        known: labels the student was trained on and the truth holds.
        tallies: the unfamiliar label per frame that was not sent.
        score: the tallies summed up.
        with_prompts: what the craft reported, on the sample.
        edge_only: the student without prompts, on the sample.
        cloud: the teacher, on part of the sample.
        sample_frames: size of the sample.
        teacher_frames: size of the teacher's part.
        score_floor: least score that the flight and the student alone report.
    """

    label: str
    known: tuple[str, ...]
    tallies: tuple[FrameTally, ...]
    score: UnfamiliarScore
    with_prompts: Precision
    edge_only: Precision
    cloud: Precision
    sample_frames: int
    teacher_frames: int
    score_floor: float


def evaluate_flight(
    record: FlightRecord,
    label: str,
    student: Student,
    teacher: Teacher,
    on_image: Callable[[int], None] = lambda _: None,
) -> Evaluation:
    """Score a flight.

    AP50 comes from a sample of the frames after the first prompt that were not sent (of all frames not sent, where
    there never was a prompt). Lines of a flight hold only what the craft reported, so the student alone is
    cut at the same score floor; the teacher answers down to its own.

    Args:
        record: the flight.
        label: the unfamiliar label.
        student: the craft's bundle.
        teacher: the cloud's.
        on_image: called with the number of images done, of at most `SAMPLE_FRAMES + TEACHER_FRAMES`.
    """
    tallies = tally_flight(record, label)
    eligible = [t.index for t in tallies if t.is_after] or [t.index for t in tallies]
    sample = pick_evenly(eligible, SAMPLE_FRAMES)
    seen_by_teacher = pick_evenly(sample, TEACHER_FRAMES)
    floor = score_floor(record, student)
    known = tuple(name for name in student.manifest.labels if name != label)
    with threadpool_limits(1, user_api="blas"):  # as `skyloop-edge run` sets it
        alone = fly_alone(student, record.truth, sample, floor, on_image)
    answers = ask_teacher(teacher, record.truth, seen_by_teacher, lambda n: on_image(len(sample) + n))
    return Evaluation(
        label=label,
        known=tuple(name for name in known if any(name in item.labels for item in record.truth)),
        tallies=tuple(tallies),
        score=sum_up(tallies),
        with_prompts=average_precision(record.truth, sample, reported(record.frames, sample, label), known, label),
        edge_only=average_precision(record.truth, sample, alone, known, label),
        cloud=average_precision(record.truth, seen_by_teacher, answers, known, label),
        sample_frames=len(sample),
        teacher_frames=len(seen_by_teacher),
        score_floor=floor,
    )


def score_floor(record: FlightRecord, student: Student) -> float:
    """The least known-class score that the flight reported."""
    chosen = record.summary.get("settings", {}).get("pipeline", {}).get("score_floor")
    return student.manifest.score_floor if chosen is None else float(chosen)
