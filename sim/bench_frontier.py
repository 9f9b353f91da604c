"""Which images are worth their bytes: accuracy over bytes of ours, of chance, of an oracle and of published rules.

HIT-UAV, the INT8 student, the teacher in the package. A case costs all of its messages (`frontier_wire`). Cloud-only
is whole frames at the cheapest codec and quality at which the teacher keeps 99 % of its mAP50 on dev's raw frames, and
answers down to the score where precision-recall curves begin; all other ways send frames as `distill.reward_fit` says
and are answered from the teacher's own floor, since the student's faint candidates stay known. The reward is fitted on
dev against the teacher's answers, without labels: dev's own rewards come from fits without their flight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cloud.case_images import viewable
from distill.dataset import DataSet, read_data_set
from distill.evaluate import REPORT_FLOOR, ImageDetections, truths_of
from distill.fusion import fuse
from distill.matches import judge, map50_of
from distill.reward_fit import (
    LABELS,
    SENT_AS,
    Seen,
    agreed_truth,
    fit_reward,
    known_detections,
    look_at_all,
    rewards_of,
)
from edge.bundle import load_bundle
from edge.student import Student, as_picture
from protocols.arrays import FloatArray
from protocols.fields import MediaType
from protocols.imagery import decode_image, encode_image
from sim.display import Display
from sim.frontier import F1_FLOOR, OURS, Frontier, Stream
from sim.frontier_prompts import BUDGETS, PromptStream, bench_with_prompts, relooked
from sim.frontier_rules import RULES, difficult_case, entropy_sum
from sim.frontier_wire import case_bytes

KEPT = 0.99
"""Share of the teacher's mAP50 on raw frames that cloud-only keeps."""

AUDIT_SHARE = 0.01
"""As the scheduler's default."""

_LADDER: tuple[tuple[MediaType, int], ...] = (
    *(("image/webp", quality) for quality in (50, 60, 70, 75, 80, 90)),
    *(("image/jpeg", quality) for quality in (40, 50, 60, 75, 90)),
)
"""Codings that cloud-only is chosen from; WebP and JPEG 30 keep less on dev."""


@dataclass(frozen=True)
class FrontierBench:
    """What is measured.

    Attributes:
        data: the HIT-UAV folder.
        student: bundle that flies, in INT8 on a CPU.
        teacher: bundle that answers.
        naive: bundle of a student that never saw one of the labels, for the stream with prompts at work.
        images: of each split, the first ones by a stride; None takes all.
        draws: of the bootstrap.
        seed: of chance, the audit and the bootstrap.
        threads: of both models, 0 for all cores.
    """

    data: Path
    student: Path
    teacher: Path
    naive: Path
    images: int | None = None
    draws: int = 200
    seed: int = 0
    threads: int = 0


@dataclass(frozen=True)
class Coding:
    """A codec, its quality, and each image in it."""

    media_type: MediaType
    quality: int
    payloads: tuple[bytes, ...]

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.media_type.split('/')[1]} {self.quality}"


def bench_frontier(options: FrontierBench, display: Display) -> dict[str, Any]:
    """Measure.

    Returns:
        For `val` and `dev`: `edge_only`, `cloud_only`, `policies`, `g`, `gap_recovered` and their intervals; how
        cloud-only sends; and `with_prompts`, of val: see `frontier_prompts.bench_with_prompts`.

    Raises:
        DataSetError: the folder is no HIT-UAV folder.
        ModelError: a bundle is missing or damaged.
        DistillError: the images are too few to fit a reward.
    """
    student, teacher = (
        Student.open(load_bundle(folder), threads=options.threads) for folder in (options.student, options.teacher)
    )
    sets = {split: _evenly(read_data_set(options.data, split), options.images) for split in ("dev", "val")}
    looked = {split: _look(student, teacher, data, split, display) for split, data in sets.items()}
    coding = cheapest_coding(teacher, sets["dev"], looked["dev"], display)
    floor = student.manifest.score_floor
    fit = fit_reward(student, looked["dev"], [agreed_truth(seen.reference, floor) for seen in looked["dev"]])
    rewards = {"dev": fit.held_out, "val": rewards_of(student, fit.model, looked["val"])}
    result: dict[str, Any] = {"cloud_only_sends": coding.name}
    for split, data in sets.items():
        sent = coding if split == "dev" else encoded(data, coding.media_type, coding.quality)
        answers = _answers(teacher, sent, f"{split}: everything to the cloud", display)
        stream = _stream(data, looked[split], sent, answers, rewards[split], options.seed)
        result[split] = _measured(stream, options, f"{split}: bootstrap", display)
        references = [judge(t, s.reference, LABELS) for t, s in zip(truths_of(data), looked[split], strict=True)]
        result[split]["teacher_on_raw_map50"] = round(map50_of(references), 4)
    frame_bytes = result["val"]["cloud_only"]["bytes"] / len(sets["val"])
    return result | {"with_prompts": _with_prompts(options, sets, looked, frame_bytes, display)}


def _with_prompts(
    options: FrontierBench,
    sets: Mapping[str, DataSet],
    looked: Mapping[str, Sequence[Seen]],
    frame_bytes: float,
    display: Display,
) -> dict[str, Any]:
    """Val in capture order: HIT-UAV numbers its images in the order of their capture, at the end of their names."""
    student = Student.open(load_bundle(options.naive), threads=options.threads)
    anew = {}
    for split, data in sets.items():
        with display.stage(f"{split}: the naive student", len(data)) as advance:
            anew[split] = relooked(student, looked[split], data.image, lambda index: advance(index + 1, ""))
    floor = student.manifest.score_floor
    fit = fit_reward(student, anew["dev"], [agreed_truth(seen.reference, floor) for seen in anew["dev"]])
    names, truths = [item.path.stem.rsplit("_", 1)[-1] for item in sets["val"]], truths_of(sets["val"])
    order = sorted(range(len(names)), key=lambda row: names[row])
    flown, wanted = [anew["val"][row] for row in order], [truths[row] for row in order]
    stream = PromptStream(student, fit.model, flown, wanted, frame_bytes, options.seed)
    with display.stage("val: prompts at work", len(BUDGETS)) as advance:
        return bench_with_prompts(stream, lambda number: advance(number + 1, ""))


def _measured(stream: Stream, options: FrontierBench, name: str, display: Display) -> dict[str, Any]:
    frontier = Frontier(stream, options.seed)
    with display.stage(name, options.draws) as advance:
        gains = frontier.gains(options.draws, lambda number: advance(number + 1, ""))
    return {"images": len(stream.edge), **frontier.ends(), "policies": frontier.curves(), **gains}


def _evenly(data: DataSet, count: int | None) -> DataSet:
    if count is None or count >= len(data):
        return data
    return DataSet(data.name, tuple(data.items[i * len(data) // count] for i in range(count)))


def _look(student: Student, teacher: Student, data: DataSet, split: str, display: Display) -> list[Seen]:
    with display.stage(f"{split}: both models", len(data)) as advance:
        return look_at_all(student, teacher, data, lambda index: advance(index + 1, ""))


def encoded(data: DataSet, media_type: MediaType, quality: int) -> Coding:
    """Every image of a set as it would be sent."""
    images = (data.image(index) for index in range(len(data)))
    payloads = (
        encode_image(as_picture(image) if media_type == "image/webp" else image, media_type, quality)
        for image in images
    )
    return Coding(media_type, quality, tuple(payloads))


def cheapest_coding(teacher: Student, data: DataSet, looked: Sequence[Seen], display: Display) -> Coding:
    """The fewest bytes at which the teacher keeps its mAP50; the dearest one tried where none does."""
    truths = truths_of(data)
    wanted = KEPT * map50_of([judge(t, s.reference, LABELS) for t, s in zip(truths, looked, strict=True)])
    codings = [encoded(data, *rung) for rung in _LADDER]
    codings.sort(key=lambda coding: sum(map(len, coding.payloads)))
    for coding in codings:
        answers = _answers(teacher, coding, f"cloud-only at {coding.name}", display)
        if map50_of([judge(t, a, LABELS) for t, a in zip(truths, answers, strict=True)]) >= wanted:
            return coding
    return codings[-1]


def _answers(teacher: Student, coding: Coding, name: str, display: Display) -> list[ImageDetections]:
    """What the teacher says of every image as it was sent, down to where precision-recall curves begin."""
    found = []
    with display.stage(name, len(coding.payloads)) as advance:
        for index, payload in enumerate(coding.payloads):
            image = viewable(decode_image(payload, coding.media_type))
            found.append(known_detections(teacher, teacher.perceive(image), REPORT_FLOOR))
            advance(index + 1, "")
    return found


def _stream(
    data: DataSet,
    looked: Sequence[Seen],
    coding: Coding,
    answers: Sequence[ImageDetections],
    rewards: FloatArray,
    seed: int,
) -> Stream:
    truths = truths_of(data)
    reported = [_from(seen.edge, F1_FLOOR) for seen in looked]
    scores = {name: np.array([rule(found) for found in reported]) for name, rule in RULES.items()}
    scores["difficult_case"] = np.array([difficult_case(seen.edge) for seen in looked])
    scores["entropy_sum"] = np.array([entropy_sum(seen.edge) for seen in looked])
    cases = zip(looked, reported, strict=True)
    everything = zip(coding.payloads, answers, strict=True)
    return Stream(
        edge=[judge(truth, seen.edge, LABELS) for truth, seen in zip(truths, looked, strict=True)],
        both=[judge(truth, fuse(seen.edge, seen.cloud), LABELS) for truth, seen in zip(truths, looked, strict=True)],
        cloud=[judge(truth, answer, LABELS) for truth, answer in zip(truths, answers, strict=True)],
        case_bytes=np.array([case_bytes(seen.payload, SENT_AS, own, seen.cloud) for seen, own in cases]),
        cloud_bytes=np.array([case_bytes(payload, coding.media_type, None, answer) for payload, answer in everything]),
        scores={OURS: rewards, **scores},
        audited=np.random.default_rng(seed).random(len(looked)) < AUDIT_SHARE,
    )


def _from(found: ImageDetections, floor: float) -> ImageDetections:
    rows = np.flatnonzero(found.scores >= floor)
    return ImageDetections(found.boxes_xyxy[rows], [found.labels[i] for i in rows.tolist()], found.scores[rows])
