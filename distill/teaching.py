"""What a teacher tells a student about a batch, whatever kind of teacher it is.

A run of ours answers with its maps, any other teacher (`cloud.teachers.open_teacher`) with boxes, labels, scores and
dense features; a `Lesson` holds either in the same form.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cloud.teachers import Teacher, TeacherAnswer, open_teacher
from distill.augment import Objects, make_targets
from distill.batches import Batch, make_batch
from distill.dataset import DataSet
from distill.errors import TrainingError
from distill.phi_s import FILE_NAME, PhiS, estimate, load_phi_s, save_phi_s
from distill.recipe import NetworkConfig, Recipe, Workspace
from distill.weights import check_unfamiliar, load_network, read_card

MAP_LOSSES, FEATURE_LOSSES = {"kd_heat", "kd_box"}, {"kd_dense", "kd_angle"}

_LEAST_CROPS = 64
"""So many training crops at least tell the statistics of a teacher's features, and whether it finds anything."""


@dataclass(frozen=True)
class Lesson:
    """What a teacher says about one batch, without gradient; None where nobody asked.

    Attributes:
        heat: (B, C + 1, h, w) float32 probabilities of the student's classes, then of objectness.
        box_ltrb: (B, 4, h, w) float32 log distances in cells, where objectness is high.
        embedding: (B, D, h, w) float32, a run's own embedding.
        features: (B, C', h', w') float32 on a grid of the teacher's own: normalised once it leaves `Teaching`.
        knows: (C + 1, 1, 1) float32, 1 where the teacher has learnt what a channel of `heat` is; None where it has all.
    """

    heat: Tensor | None = None
    box_ltrb: Tensor | None = None
    embedding: Tensor | None = None
    features: Tensor | None = None
    knows: Tensor | None = None


class _Tutor(Protocol):
    """One kind of teacher."""

    features: str
    """Names the weights behind its features."""

    def lesson(self, batch: Batch) -> Lesson: ...


@dataclass(frozen=True)
class Teaching:
    """An open teacher, and the scales of its features where a loss wants them."""

    tutor: _Tutor
    phi_s: PhiS | None
    record: dict[str, str]

    def lesson(self, batch: Batch) -> Lesson:
        """What the teacher says about a batch.

        Raises:
            TrainingError: its features are not finite, or are of another width than those its scales were taken from.
            TeacherError: it fails.
        """
        with torch.no_grad():
            found = self.tutor.lesson(batch)
            if self.phi_s is None or found.features is None:
                return replace(found, features=None)
            return replace(found, features=self.phi_s.normalise(_checked(found.features, len(self.phi_s.mean))))


def open_teaching(recipe: Recipe, workspace: Workspace, sets: list[DataSet], *, resumed: bool) -> Teaching | None:
    """The recipe's teacher, None without one or without a loss that asks it.

    The scales of its features are estimated once, on crops that no step will see, and kept in the run's folder.

    Raises:
        TrainingError: the teacher is missing, does not know the student's labels, finds nothing, its features do not
            fit, or it is no longer the one that a resumed run began with.
        TeacherError: it does not open, or lacks what a loss asks for.
    """
    if recipe.teacher is None or not any(name.startswith("kd_") for name in recipe.losses):
        return None
    tutor = _open(recipe, workspace)
    record = {"name": recipe.teacher, "features": tutor.features}
    path = workspace.folder(recipe.name) / FILE_NAME
    with torch.no_grad():
        if not resumed and isinstance(tutor, _OpenedTutor):
            tutor.check_finds(_unseen(recipe, sets))
        if not FEATURE_LOSSES & recipe.losses.keys():
            return Teaching(tutor, None, record)
        if not resumed:
            maps = (_checked(tutor.lesson(batch).features) for batch in _unseen(recipe, sets))
            save_phi_s(path, estimate(maps, _trials(recipe)), tutor.features)
    phi_s = load_phi_s(path, tutor.features)
    return Teaching(tutor, phi_s, record | {"phi_s_sha256": hashlib.sha256(path.read_bytes()).hexdigest()})


def _open(recipe: Recipe, workspace: Workspace) -> _RunTutor | _OpenedTutor:
    if recipe.teacher_run:
        return _RunTutor(recipe, workspace.weights(recipe.teacher_run))
    return _OpenedTutor(recipe, open_teacher(recipe.teacher or "", threads=torch.get_num_threads()))


def _trials(recipe: Recipe) -> int:
    return -(-_LEAST_CROPS // recipe.batch)


def _unseen(recipe: Recipe, sets: list[DataSet]) -> Iterator[Batch]:
    """Batches from behind the last step on."""
    step = recipe.steps
    while True:
        yield make_batch(recipe, sets, step)
        step += 1


def _checked(features: Tensor | None, width: int | None = None) -> Tensor:
    assert features is not None
    if features.dim() != 4 or 0 in features.shape:
        raise TrainingError(f"the teacher's features are of shape {tuple(features.shape)}, (images, D, h, w) wanted")
    if width is not None and features.shape[1] != width:
        raise TrainingError(f"the teacher's features have {features.shape[1]} channels now, {width} at the first step")
    if not bool(torch.isfinite(features).all()):
        raise TrainingError("the teacher's features are not finite; choose another teacher, or its unquantized weights")
    return features


def _check_labels(recipe: Recipe, known: tuple[str, ...], cure: str) -> None:
    if unknown := [label for label in recipe.labels if label not in known]:
        raise TrainingError(f"{recipe.teacher}: the teacher does not know {', '.join(unknown)}; {cure}")


def _check_same_input(weights: Path, teacher: NetworkConfig, student: NetworkConfig) -> None:
    """A run of ours and its student look at one and the same tensor."""
    for what in ("bands", "band_mean", "band_deviation"):
        theirs, ours = getattr(teacher, what), getattr(student, what)
        if theirs != ours:
            raise TrainingError(f"{weights}: the teacher's {what} are {theirs}, the student's {ours}; make them equal")


class _RunTutor:
    """A finished run of ours: one forward pass answers for every loss."""

    def __init__(self, recipe: Recipe, weights: Path) -> None:
        network, labels = load_network(weights)
        _check_labels(recipe, labels, "train it with those labels")
        check_unfamiliar(recipe, f"teacher {recipe.teacher!r}", labels)
        _check_same_input(weights, network.config, recipe.network)
        mine, its = recipe.network.embedding_dim, network.config.embedding_dim
        if "kd_embedding" in recipe.losses and mine != its:
            raise TrainingError(
                f"{weights}: the teacher's embedding_dim is {its}, the student's {mine}; make them equal, or learn by "
                "kd_dense instead of kd_embedding"
            )
        self._network, self._class_map = network, [labels.index(label) for label in recipe.labels]
        unlearnt = set(read_card(weights).get("unlearnt", ()))
        knows = torch.tensor([*(float(label not in unlearnt) for label in recipe.labels), 1.0])
        self._knows = knows[:, None, None] if unlearnt else None
        self.features = hashlib.sha256(weights.read_bytes()).hexdigest()

    def lesson(self, batch: Batch) -> Lesson:
        """Its maps."""
        found = self._network(batch.images)
        heat = torch.cat([found.class_logits[:, self._class_map], found.objectness], dim=1).sigmoid()
        return Lesson(heat, found.box_ltrb, found.embedding, found.embedding, self._knows)


class _OpenedTutor:
    """Any teacher of `cloud.teachers`, asked only for what a loss wants."""

    def __init__(self, recipe: Recipe, teacher: Teacher) -> None:
        self._recipe, self._teacher, self.features = recipe, teacher, f"{teacher.name} {teacher.space}"
        check_unfamiliar(recipe, f"teacher {recipe.teacher!r}", teacher.labels)
        self._tells_boxes = bool(MAP_LOSSES & recipe.losses.keys())
        self._tells_features = bool(FEATURE_LOSSES & recipe.losses.keys())
        if "kd_embedding" in recipe.losses:
            raise TrainingError(
                f"{recipe.teacher}: kd_embedding wants a run of ours; use kd_dense, which takes any teacher"
            )
        if self._tells_boxes:
            _check_labels(recipe, teacher.labels, "leave kd_heat and kd_box out, or choose one that does")

    def lesson(self, batch: Batch) -> Lesson:
        """Its answers as maps, and its features."""
        frames = list(batch.pixels.numpy())
        features = torch.from_numpy(self._teacher.dense_features(frames)) if self._tells_features else None
        if not self._tells_boxes:
            return Lesson(features=features)
        side = batch.pixels.shape[1]
        maps = [answer_maps(answer, self._recipe.labels, side) for answer in self._teacher.interpret(frames)]
        heat, box_ltrb = (torch.stack(parts) for parts in zip(*maps, strict=True))
        return Lesson(heat, box_ltrb, None, features)

    def check_finds(self, unseen: Iterator[Batch]) -> None:
        """Refuse a teacher that finds nothing: it would teach that nothing is anywhere."""
        if not self._tells_boxes:
            return
        for _ in range(_trials(self._recipe)):
            if any(answer.labels for answer in self._teacher.interpret(list(next(unseen).pixels.numpy()))):
                return
        raise TrainingError(
            f"{self._recipe.teacher}: the teacher finds nothing in {_LEAST_CROPS} training crops; leave kd_heat and "
            "kd_box out, or give it a detector"
        )


def answer_maps(answer: TeacherAnswer, labels: tuple[str, ...], size_px: int) -> tuple[Tensor, Tensor]:
    """A teacher's boxes as the maps that a run of ours would answer with.

    Each box becomes the bell that the truth would have there, as high as its score; where two overlap, the higher one
    counts. What was not reported counts as not there.

    Args:
        answer: boxes in pixels of the crop.
        labels: the student's; a box of another label is an object of no class.
        size_px: side of the crop.

    Returns:
        heat (C + 1, h, w) float32 probabilities and box_ltrb (4, h, w) float32 log distances in cells.
    """
    none: np.ndarray[Any, np.dtype[np.int64]] = np.zeros(0, np.int64)
    rng = np.random.default_rng(0)  # picks cells that nobody reads here
    empty = make_targets(
        Objects(np.zeros((0, 4), np.float32), none, none, none.astype(bool)), len(labels), size_px, rng
    )
    heat, box_ltrb = empty.heat, empty.box_ltrb
    for box, label, score in zip(answer.boxes_xyxy, answer.labels, answer.scores, strict=True):
        number = np.array([labels.index(label) if label in labels else -1])
        alone = make_targets(Objects(box[None], number, number, np.array([False])), len(labels), size_px, rng)
        clearer = score * alone.heat[-1] > heat[-1]
        box_ltrb[:, clearer] = alone.box_ltrb[:, clearer]
        np.maximum(heat, score * alone.heat, out=heat)
    return torch.from_numpy(heat), torch.from_numpy(box_ltrb)


def taught_cells(heat: Tensor, care: Tensor) -> Tensor:
    """Cells where a teacher sees the middle of an object and nobody has labelled anything.

    Args:
        heat: (B, C + 1, h, w) the teacher's probabilities.
        care: (B, 1, h, w), 0 where nothing is known.

    Returns:
        (M, 4) int64 rows image, y, x, kind; the kind is the class, or -1 where the teacher is not sure of any.
    """
    belief = heat[:, -1:]
    highest = functional.max_pool2d(belief, 3, 1, 1)
    image, _, y, x = ((belief == highest) & (belief > 0.5) & (care == 0)).nonzero().unbind(dim=1)
    score, kind = heat[:, :-1][image, :, y, x].max(dim=1)
    return torch.stack([image, y, x, torch.where(score > 0.5, kind, -1)], dim=1)
