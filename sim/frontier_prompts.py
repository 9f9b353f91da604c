"""The same stream in capture order with prompts at work: a frame that is sent may put later ones right, too.

The bundled student knows everything that HIT-UAV shows, so that nothing would ever be prompted: here flies the kept
student that never saw a bicycle, INT8 like it. The cloud is the real prompt desk with its store and twin, fed with the
bundled teacher's answers to the frames that are sent; what it issues is in force from the next frame on. Choosing is
causal, by the policies that fly (`edge.policies`): a frame is sent or it is gone.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from cloud.answers import findings_of
from cloud.case_images import CaseImage, viewable
from cloud.config import PromptSettings
from cloud.evidence import look
from cloud.prompt_desk import PromptDesk
from cloud.store import CaseStore
from cloud.teachers.teacher import TeacherAnswer
from cloud.twins import Twins
from distill.evaluate import REPORT_FLOOR, ImageDetections, ImageTruth
from distill.fusion import fuse
from distill.matches import f1_of, judge
from distill.reward_fit import LABELS, SENT_AS, Seen, known_detections
from edge.clock import SystemClock
from edge.hardness import Hardness
from edge.keys import EDGE_NAME, new_keys
from edge.policies import BudgetQuantile, Draw, Policy
from edge.prompting import Match, PromptMatcher
from edge.reward import RewardModel, claims_of, frame_features, frame_reward
from edge.student import NO_MAPS, Student
from protocols.arrays import ImageArray
from protocols.imagery import decode_image
from protocols.limits import CHUNK_BYTES
from protocols.messages import PromptReceipt, PromptUpdate, encode, pack_change
from protocols.values import PromptBank, diff_banks
from sim.frontier import F1_FLOOR
from sim.frontier_rules import axonmesh_margin, entropy_sum
from sim.frontier_wire import case_bytes

BUDGETS = (0.05, 0.1, 0.2)
"""Shares of cloud-only's bytes per frame."""

CRAFT = "frontier"


@dataclass(frozen=True)
class PromptStream:
    """What is flown.

    Attributes:
        student: that never saw one of the labels.
        model: its offload reward.
        looked: both models on each image, in capture order.
        truths: of the images.
        frame_bytes: of sending one to the cloud on average, where every one is sent.
        seed: of chance.
    """

    student: Student
    model: RewardModel
    looked: Sequence[Seen]
    truths: Sequence[ImageTruth]
    frame_bytes: float
    seed: int


def relooked(
    student: Student, looked: Sequence[Seen], images: Callable[[int], ImageArray], on_image: Callable[[int], None]
) -> list[Seen]:
    """The same images and answers of the teacher, seen by another student."""
    result = []
    for index, seen in enumerate(looked):
        perception = replace(student.perceive(images(index)), raw=NO_MAPS)
        edge = known_detections(student, perception, REPORT_FLOOR)
        result.append(replace(seen, perception=perception, claims=claims_of(student, perception), edge=edge))
        on_image(index)
    return result


class Ground:
    """The cloud's half: answers become prompts, and the bank that the craft should hold.

    Attributes:
        prompt_bytes: sent to the craft so far, receipts among them.
    """

    def __init__(self, student: Student, folder: Path) -> None:
        """Open a store and enrol the craft."""
        self.store = CaseStore(folder / "cloud")
        self.store.enroll(CRAFT, new_keys(folder / "keys", EDGE_NAME).public.decode())
        twins = Twins([student.bundle.folder], threads=1)
        self._twin = twins.student(student.manifest.space_id, student.bundle.variant)
        self._desk = PromptDesk(self.store, twins, PromptSettings(), SystemClock())
        self.prompt_bytes = 0

    def teach(self, seen: Seen) -> PromptBank:
        """Answer one frame that was sent, and return the craft's new bank."""
        before = self.store.bank(CRAFT)
        image = CaseImage(viewable(decode_image(seen.payload, SENT_AS)))
        evidence = look(self._twin, image, None)
        answer = TeacherAnswer(seen.cloud.boxes_xyxy, tuple(seen.cloud.labels), seen.cloud.scores)
        names = np.asarray(answer.labels, dtype=object)
        self._desk.correct(CRAFT, evidence, {name: answer.boxes_xyxy[names == name] for name in set(answer.labels)})
        known, least = self._twin.manifest.labels, PromptSettings().min_score
        for finding in findings_of(answer, answer.boxes_xyxy, known, uuid.uuid4().hex, least):
            self._desk.answer(self._twin, CRAFT, evidence, finding)
        unfamiliar = np.array([name not in known for name in answer.labels], np.bool_)
        self._desk.remember(self._twin, CRAFT, evidence, answer.boxes_xyxy[unfamiliar])
        after = self.store.bank(CRAFT)
        if after.ref != before.ref:
            self.prompt_bytes += update_bytes(before, after)
        return after


def update_bytes(before: PromptBank, after: PromptBank) -> int:
    """Bytes of the messages that bring a craft from one bank to the next."""
    packed = pack_change(diff_banks(before, after))
    digest, name = 64 * "0", 32 * "0"
    receipt = PromptReceipt(update_id=name, bank=after.ref, applied=True)
    total = sum(map(len, encode(receipt)))
    for start in range(0, len(packed), CHUNK_BYTES):
        piece = PromptUpdate(update_id=name, target=after.ref, total_bytes=len(packed), offset=start, sha256=digest)
        total += sum(map(len, encode(piece, packed[start : start + CHUNK_BYTES])))
    return total


def bench_with_prompts(stream: PromptStream, on_way: Callable[[int], None] = lambda _: None) -> dict[str, Any]:
    """Fly the stream once for each way and budget.

    Returns:
        `edge_only` F1, and by way a list over the budgets of `bytes` (all), `prompt_bytes`, `cases`, `f1`, frames
        `set_right` and `set_wrong` against edge-only, and `right_per_kb`.
    """
    alone = [f1_of(judge(t, s.edge, LABELS), F1_FLOOR) for t, s in zip(stream.truths, stream.looked, strict=True)]
    result: dict[str, Any] = {"images": len(alone), "edge_only": {"f1": round(float(np.mean(alone)), 4), "bytes": 0}}
    ways: dict[str, list[dict[str, float]]] = {}
    for number, budget in enumerate(BUDGETS):
        each = budget * stream.frame_bytes
        share = each / float(np.mean([_price(seen) for seen in stream.looked]))
        flights: dict[str, tuple[Policy, _Value, bool]] = {
            "ours": (_best(each), _reward(stream), True),
            "ours_without_prompts": (_best(each), _reward(stream), False),
            "random": (Draw(share, stream.seed), lambda *_: 1.0, True),
            "axonmesh_margin": (_best(each), lambda seen, _: axonmesh_margin(_reported(seen.edge)), True),
            "entropy_sum": (_best(each), lambda seen, _: entropy_sum(seen.edge), True),
        }
        for name, (policy, value, prompted) in flights.items():
            flown = _fly(stream, policy, value, each * len(alone), prompted=prompted)
            ways.setdefault(name, []).append({"budget": budget, **_told(flown, alone)})
        on_way(number)
    return result | {"policies": ways}


_Value = Callable[[Seen, Match], float]


def _reward(stream: PromptStream) -> _Value:
    model, student = stream.model, stream.student
    return lambda seen, match: frame_reward(model, frame_features(model, student, seen.perception, match))


def _best(bytes_per_frame: float) -> BudgetQuantile:
    """One frame a second."""
    return BudgetQuantile(bytes_per_frame, lambda hardness: hardness.reward or 0.0)


def _reported(found: ImageDetections) -> ImageDetections:
    rows = np.flatnonzero(found.scores >= F1_FLOOR)
    return ImageDetections(found.boxes_xyxy[rows], [found.labels[i] for i in rows.tolist()], found.scores[rows])


def _price(seen: Seen) -> int:
    return case_bytes(seen.payload, SENT_AS, _reported(seen.edge), seen.cloud)


@dataclass(frozen=True)
class _Flown:
    """F1 of each frame, how many were sent, and the bytes of cases and prompts."""

    f1s: list[float]
    cases: int
    case_bytes: int
    prompt_bytes: int


def _fly(stream: PromptStream, policy: Policy, value: _Value, budget_bytes: float, *, prompted: bool) -> _Flown:
    spent, cases, f1s = 0, 0, []
    with TemporaryDirectory(prefix="skyloop-frontier-") as folder:
        ground = Ground(stream.student, Path(folder))
        bank = ground.store.bank(CRAFT)
        for index, (truth, seen) in enumerate(zip(stream.truths, stream.looked, strict=True)):
            own, match = _with_prompts(stream.student, seen, bank)
            price = case_bytes(seen.payload, SENT_AS, _reported(own), seen.cloud)
            hardness = Hardness(0.0, {}, np.zeros(0, np.int64), value(seen, match))
            wanted = policy.wants(hardness, float(index))
            if wanted and spent + ground.prompt_bytes + price <= budget_bytes:
                spent, cases = spent + price, cases + 1
                policy.sent(price)
                own = fuse(own, seen.cloud)
                bank = ground.teach(seen) if prompted else bank
            f1s.append(f1_of(judge(truth, own, LABELS), F1_FLOOR))
        prompt_bytes = ground.prompt_bytes
        ground.store.close()
    return _Flown(f1s, cases, spent, prompt_bytes)


def _with_prompts(student: Student, seen: Seen, bank: PromptBank) -> tuple[ImageDetections, Match]:
    """What the craft says: known classes, and what it is sure of by a prompt."""
    matcher = PromptMatcher(bank, student.manifest.space_id)
    match = matcher.match(seen.perception, SystemClock().wall_s(), None, student.known(seen.perception))
    sure = match.only(match.sure)
    labels = [matcher.prompts[row].label for row in sure.prompts.tolist()]
    # A match that is sure is reported, whatever its score; the benchmark's one floor would drop some.
    scores = np.maximum(sure.scores, np.float32(F1_FLOOR))
    return (
        ImageDetections(
            np.concatenate([seen.edge.boxes_xyxy, seen.perception.boxes_xyxy[sure.rows]]),
            [*seen.edge.labels, *labels],
            np.concatenate([seen.edge.scores, scores]).astype(np.float32),
        ),
        match,
    )


def _told(flown: _Flown, alone: Sequence[float]) -> dict[str, float]:
    better = np.array(flown.f1s) - np.array(alone)
    right, total = int((better > 1e-9).sum()), flown.case_bytes + flown.prompt_bytes
    return {
        "bytes": total,
        "prompt_bytes": flown.prompt_bytes,
        "cases": flown.cases,
        "f1": round(float(np.mean(flown.f1s)), 4),
        "set_right": right,
        "set_wrong": int((better < -1e-9).sum()),
        "right_per_kb": round(1000 * right / total, 4) if total else 0.0,
    }
