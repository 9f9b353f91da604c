"""A student that learns from what people said: cases in, a complete bundle out, or the reasons why it may not fly.

The steps: reviewed pictures → a start whose class head has room for the new labels → training on them and on old data
→ INT8 and its parity gate → the bundle, its scores and the worth of asking fitted anew → every old class compared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field, PositiveInt, ValidationError

from cloud.parity import FINE_TUNING
from distill.bundle import check_out, copy_bundle, export_run, rewrite_manifest, write_bundle
from distill.calibrate import calibrate_bundle
from distill.dataset import DataSet
from distill.doubts import completed
from distill.errors import DataSetError, DistillError, GateError
from distill.files import write_whole
from distill.growth import grow
from distill.labelled import Reading
from distill.quantize import OnStage, quantize_run
from distill.recipe import LossName, LossWeight, PartName, Recipe, Source, Workspace, open_source, open_sources
from distill.restore import open_weights, recipe_of
from distill.retention import retention
from distill.reviewed import Reviewed, gather, write_reviewed
from distill.reward_fit import calibrate_reward
from distill.train import train
from edge.bundle import MANIFEST_NAME, Bundle, Manifest, load_bundle, read_manifest
from edge.config import Settings, first_problem
from edge.reward import HARDNESS_NAME
from edge.student import Student

CASES_FOLDER, PLAN_NAME = "cases", "fine_tuning.json"

LOSS_WEIGHTS: dict[LossName, LossWeight] = {
    "heat": 1.0, "box": 4.0, "embedding": 0.2, "kd_heat": 3.0, "kd_box": 1.0, "kd_embedding": 1.0,
}  # fmt: skip
"""What a bundle is trained with, and what holds it to the answers of the one it starts from. Of kd_heat, 60 let nothing
new in (AP50 of bicycles 0.036 after 400 steps, 0.037 before), 1 let cars fall by three points of AP50."""

_OF_TRAINING = {"steps", "batch", "crop_px", "learning_rate", "ema_decay", "seed", "bf16", "frozen", "freeze_norms"}
_OF_THE_RECIPE = _OF_TRAINING | {"keep_init", "novel_kinds", "loss_weights"}


class FineTuning(Settings):
    """How a student learns from reviews: the file of `skyloop-distill from-cases --config`.

    Attributes:
        labels: new ones to learn; without any, all that have enough boxes.
        rename: other names for labels of the reviews, by how they are spelled there.
        least_boxes: a new label with fewer is not learnt yet.
        replay: old data; by default what the bundle's recipe was trained on. It is taken to be labelled whole for the
            bundle's own labels alone, unless a source `judges` others.
        held_out: what the old classes are compared on and the scores calibrated; by default the bundle's recipe's.
        cases_share: share of the crops that show reviewed cases; the rest is replay.
        steps, batch, crop_px, learning_rate, keep_init, ema_decay, seed, bf16, frozen, freeze_norms, novel_kinds,
            loss_weights: see `Recipe`.
    """

    labels: tuple[str, ...] = ()
    rename: dict[str, str] = Field(default={})
    least_boxes: PositiveInt = 10
    replay: tuple[Source, ...] = ()
    held_out: tuple[Source, ...] = ()
    cases_share: float = Field(default=0.25, gt=0, lt=1)
    steps: PositiveInt = 3000
    batch: PositiveInt = 12
    crop_px: PositiveInt = 256
    learning_rate: float = Field(default=1e-3, gt=0)
    keep_init: float = Field(default=0.0, ge=0, lt=1)
    ema_decay: float = Field(default=0.99, ge=0, lt=1)
    seed: int = Field(default=0, ge=0)
    bf16: bool = False
    frozen: tuple[PartName, ...] = ()
    freeze_norms: bool = True
    novel_kinds: int = Field(default=4, ge=0)
    loss_weights: dict[LossName, LossWeight] = Field(default=LOSS_WEIGHTS)


@dataclass(frozen=True)
class Order:
    """What is asked for.

    Attributes:
        cases: folders with reviewed cases, later ones newer.
        bundle: folder of the student that learns.
        name: of the run and the new bundle.
        out: where the bundle goes if it passes.
        teacher: folder of the bundle that answers on the ground, for `hardness.json`.
        settings: how.
    """

    cases: tuple[Path, ...]
    bundle: Path
    name: str
    out: Path
    teacher: Path
    settings: FineTuning


def next_name(name: str) -> str:
    """What a bundle that learnt from this one is called: student → student-2 → student-3."""
    counted = re.fullmatch(r"(.*)-(\d{1,6})", name)
    return f"{counted[1]}-{int(counted[2]) + 1}" if counted else f"{name}-2"


def fine_tune(order: Order, workspace: Workspace, on_stage: OnStage = lambda *_: None) -> dict[str, Any]:
    """Fine-tune a student on reviewed cases and write its bundle.

    A run that was killed goes on with the cases that it began with, and one whose bundle passed and is not in
    `order.out` hands it over. A bundle that fails a gate is left in the run's
    folder, its manifest saying why, and `order.out` stays as it was.

    Args:
        order: what is asked for.
        workspace: where data lie and runs are kept.
        on_stage: called with a stage, how much of it is done, and of how much.

    Returns:
        `passed`; `name`, `labels`, `new_labels`, `bundle` (where it lies); `cases` (what was learnt from, and which
        labels had too few boxes), `parity` and `retention` (each with `passed` and `faults`).

    Raises:
        DataSetError: no usable review, or old data are missing.
        DistillError: the bundle holds no weights or recipe, a run of that name is there, or the disk is full.
        TrainingError: the training cannot go on.
    """
    work = _Work(order, workspace)
    work.check()
    if work.is_finished:
        return work.handed_over()
    reviewed = work.reviewed()
    recipe = work.recipe(reviewed)
    if not workspace.weights(recipe.name).is_file():
        _train(work, recipe, workspace, on_stage)
    export_run(recipe, workspace)
    faults = _parity_faults(recipe, workspace, on_stage)
    manifest = work.bundle(recipe, faults)
    return work.judged(recipe, manifest, reviewed, faults)


def _train(work: _Work, recipe: Recipe, workspace: Workspace, on_stage: OnStage) -> None:
    sets = open_sources(recipe, workspace)
    if not workspace.weights(f"{recipe.name}-start").is_file():
        grow(work.base, recipe, workspace, sets, sets[-1])
    known = [_with_word(work.student, data, recipe.labels, on_stage) for data in sets]
    train(recipe, workspace, lambda step, _: on_stage("training", step, recipe.steps), known)


def _with_word(student: Student, data: DataSet, labels: tuple[str, ...], on_stage: OnStage) -> DataSet:
    stage = f"asking the old student about {data.name}"
    return completed(student, data, labels, lambda index: on_stage(stage, index + 1, len(data)))


def _parity_faults(recipe: Recipe, workspace: Workspace, on_stage: OnStage) -> list[str]:
    try:
        quantize_run(recipe, workspace, on_stage)
    except GateError as exc:
        return [str(exc)]
    return []


def _new_labels(reviewed: Reviewed, known: Sequence[str], settings: FineTuning) -> list[str]:
    """The labels to learn that a student does not know yet; those asked for by name must have enough boxes."""
    shown = reviewed.boxes()
    new = [label for label in (settings.labels or sorted(shown)) if label not in known]
    scarce = [label for label in new if shown[label] < settings.least_boxes]
    if settings.labels and scarce:
        raise DataSetError(
            f"{scarce[0]}: {shown[scarce[0]]} reviewed boxes, at least {settings.least_boxes} wanted (least_boxes); "
            "review more of it"
        )
    return [label for label in new if label not in scarce]


def _too_few(reviewed: Reviewed, labels: Sequence[str]) -> dict[str, int]:
    """Boxes of the labels that are not learnt yet."""
    return {label: count for label, count in sorted(reviewed.boxes().items()) if label not in labels}


def _read_plan(path: Path) -> Any:  # noqa: ANN401 - decoded JSON
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as exc:
        raise DistillError(f"{path}: no readable plan ({exc}); delete {path.parent}, or give another --name") from exc


def _replayed(sources: Sequence[Source], share: float, known: tuple[str, ...]) -> list[Source]:
    """Old data with this share of the crops together, labelled whole for what the student knew."""
    total = sum(source.weight for source in sources)
    return [
        source.model_copy(update={"weight": share * source.weight / total, "judges": source.judges or known})
        for source in sources
    ]


class _Work:
    """The steps of one order, and what they share."""

    def __init__(self, order: Order, workspace: Workspace) -> None:
        self._order, self._settings, self._workspace = order, order.settings, workspace
        self._folder = workspace.folder(order.name)
        self.base: Bundle = open_weights(order.bundle)
        self._old_recipe = recipe_of(self.base)

    @cached_property
    def student(self) -> Student:
        """The student as it flies."""
        return Student.open(load_bundle(self._order.bundle))

    def check(self) -> None:
        """Refuse what cannot end well before hours of work, and keep the plan for a run that is killed."""
        check_out(self._order.out)
        if "match" in self.base.manifest.extras:
            raise DistillError(
                f"{self._order.bundle}: has a head that finds things again, which knows this very network alone; "
                "fine-tune a student"
            )
        for source in self.held_out:
            open_source(source, self._workspace, self._old_recipe.network.bands)
        if not self.held_out:
            raise DataSetError(
                f"{self._order.bundle}: its recipe holds no data out, so nobody could tell what is forgotten; name a "
                "set in held_out"
            )
        both = {(s.root, s.path, s.split) for s in self.held_out} & {(s.root, s.path, s.split) for s in self.replay}
        if both:
            raise DataSetError(f"{min(both)[1]}: is both replayed and held out; what is trained on tells no loss")
        self._keep_plan()

    def _keep_plan(self) -> None:
        plan = {"settings": self._settings.model_dump(mode="json"), "bundle": self.base.manifest.space_id}
        path = self._folder / PLAN_NAME
        if path.is_file():
            if _read_plan(path) != plan:
                raise DistillError(f"{self._folder}: holds an unfinished run with other settings; give another --name")
            if self.is_finished and (self._order.out.exists() or not self._made.metrics[FINE_TUNING]["passed"]):
                raise DistillError(f"{self._folder}: a finished run of that name is there; give another --name")
        elif self._workspace.weights(self._order.name).is_file():
            raise DistillError(f"{self._folder}: a finished run of that name is there; give another --name")
        write_whole(path, json.dumps(plan, indent=1).encode())

    @property
    def is_finished(self) -> bool:
        """Whether the run's bundle has its verdict."""
        return (self._folder / "bundle" / MANIFEST_NAME).is_file() and FINE_TUNING in self._made.metrics

    @property
    def _made(self) -> Manifest:
        return read_manifest(self._folder / "bundle")

    @property
    def replay(self) -> tuple[Source, ...]:
        """Old data."""
        return self._settings.replay or self._old_recipe.sources

    @property
    def held_out(self) -> tuple[Source, ...]:
        """What nothing is trained on."""
        return self._settings.held_out or self._old_recipe.held_out

    def reviewed(self) -> Reviewed:
        """The reviewed pictures; those that a killed run began with, where there are some."""
        kept, reading = self._folder / CASES_FOLDER, Reading(self._old_recipe.network.bands)
        if (kept / "annotations.json").is_file():
            return gather([kept], reading, self.base.manifest.labels, {})
        found = gather(self._order.cases, reading, self.base.manifest.labels, self._settings.rename)
        write_reviewed(found, kept)
        return found

    def recipe(self, reviewed: Reviewed) -> Recipe:
        """The recipe of the run: old sources, and the cases last."""
        old, settings, name = self._old_recipe, self._settings, self._order.name
        known = self.base.manifest.labels
        cases = Source(root="runs", path=f"{name}/{CASES_FOLDER}", split="all", weight=settings.cases_share)
        replay = _replayed(self.replay, 1 - settings.cases_share, known)
        try:
            return Recipe(
                name=name,
                labels=(*known, *_new_labels(reviewed, known, settings)),
                network=old.network,
                init=f"{name}-start",
                teacher=f"{name}-start" if any(loss.startswith("kd_") for loss in settings.loss_weights) else None,
                sources=(*replay, cases),
                held_out=self.held_out,
                score_floor=self.base.manifest.score_floor,
                object_floor=self.base.manifest.object_floor,
                **settings.model_dump(include=_OF_THE_RECIPE),
            )
        except ValidationError as exc:
            raise DistillError(f"{name}: {first_problem(exc)}") from exc

    def bundle(self, recipe: Recipe, faults: list[str]) -> Manifest:
        """Write the run's bundle: with all that the old one had, and without INT8 files where the gate refused them."""
        folder = self._folder / "bundle"
        parity = json.loads((self._folder / "parity.json").read_text())
        variants = ("fp32",) if faults else ()
        write_bundle(recipe, self._workspace, folder, {"parity": parity}, variants)
        held_out = self._opened_held_out(recipe)
        manifest = calibrate_bundle(folder, held_out)
        if (self._order.bundle / HARDNESS_NAME).is_file():
            teacher, student = Student.open(load_bundle(self._order.teacher)), Student.open(load_bundle(folder))
            calibrate_reward(student, teacher, held_out[0], lambda _: None)
        return manifest

    def _opened_held_out(self, recipe: Recipe) -> list[DataSet]:
        return [open_source(source, self._workspace, recipe.network.bands) for source in recipe.held_out]

    def judged(self, recipe: Recipe, manifest: Manifest, reviewed: Reviewed, faults: list[str]) -> dict[str, Any]:
        """Compare the old classes, say everything in the manifest, and hand the bundle over."""
        folder = self._folder / "bundle"
        kept = retention(self.student, Student.open(load_bundle(folder)), self._opened_held_out(recipe))
        parity = {"passed": not faults, "faults": faults}
        result = {
            "passed": not faults and kept["passed"],
            "cases": reviewed.record() | {"too_few": _too_few(reviewed, recipe.labels)},
            "from_space": self.base.manifest.space_id,
            "parity": parity,
            "retention": kept,
        }
        metrics = manifest.metrics | {FINE_TUNING: result}
        rewrite_manifest(folder, manifest.model_copy(update={"metrics": metrics}))
        return self.handed_over()

    def handed_over(self) -> dict[str, Any]:
        """Copy the bundle to where it was asked for, if it passed, and say what became of it."""
        folder, labels = self._folder / "bundle", list(self._made.labels)
        result: dict[str, Any] = self._made.metrics[FINE_TUNING]
        out = copy_bundle(folder, self._order.out) if result["passed"] else folder
        new = [label for label in labels if label not in self.base.manifest.labels]
        return result | {"name": self._order.name, "labels": labels, "new_labels": new, "bundle": str(out)}
