"""A training recipe: everything that decides what comes out of a run, read from one TOML file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator
from typing_extensions import Self

from distill.dataset import DataSet, read_data_set
from distill.errors import DataSetError
from distill.labelled import Reading
from edge.bundle import BGR
from edge.config import Settings
from protocols.fields import Label
from protocols.limits import MAX_RAW_BANDS

INPUT_MULTIPLE_PX = 32
"""Input height and width must be multiples of this: the deepest level halves five times."""

BandName = Annotated[str, Field(pattern="^[a-z0-9_]+$")]
LossName = Literal["heat", "box", "embedding", "prompt", "kd_heat", "kd_box", "kd_embedding", "kd_dense", "kd_angle"]
PartName = Literal[
    "stem", "stages", "laterals", "detect", "describe", "objectness", "box_ltrb", "class_logits", "embedding"
]
LossWeight = Annotated[float, Field(ge=0)]

SCORES_NAME = "scores.json"
"""What an ablation measured of a run, in its folder."""

_RUN_NAME = r"^[a-z0-9-]+$"
_BUNDLED_TEACHER = "bundled"


class NetworkConfig(Settings):
    """Widths and depths of one network.

    Attributes:
        widths: channels at strides 2, 4, 8, 16 and 32; a last width of 0 leaves stride 32 out.
        blocks: residual blocks at strides 4, 8, 16 and 32.
        neck: channels of the FPN.
        embedding_dim: length D of one embedding vector, at most 96.
        bands: names of the input's bands, in order.
        band_mean, band_deviation: of each band's pixels, which the network takes off and divides by. Left out, they are
            114 and 64 for blue, green, red; for other bands a run takes those of its teacher or of the run it starts
            from, where these have the same bands, or measures them on its training sets.
    """

    widths: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt, NonNegativeInt] = (16, 32, 56, 80, 0)
    blocks: tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt, NonNegativeInt] = (1, 2, 2, 0)
    neck: PositiveInt = 48
    embedding_dim: int = Field(default=64, ge=8, le=96)
    bands: tuple[BandName, ...] = Field(default=BGR, min_length=1, max_length=MAX_RAW_BANDS)
    band_mean: tuple[float, ...] = ()
    band_deviation: tuple[Annotated[float, Field(gt=0)], ...] = ()

    @model_validator(mode="after")
    def _check_bands(self) -> Self:
        if len(set(self.bands)) < len(self.bands):
            raise ValueError(f"bands {', '.join(self.bands)} name one twice; give each its own name")
        counts = {len(self.band_mean), len(self.band_deviation)}
        if counts not in ({0}, {len(self.bands)}):
            raise ValueError(f"band_mean and band_deviation want {len(self.bands)} numbers each, or leave both out")
        return self


class Source(Settings):
    """One data set of a run, and how often it is drawn.

    Attributes:
        root: `data` (real data, `--data`), `renders` (made by `skyloop-sim render`, under `--runs`) or `runs` (what a
            run keeps in its own folder, under `--runs`).
        path: folder below that root.
        split: see `distill.dataset.read_data_set`.
        only: shell patterns of the file names that are used; without any, all are.
        weight: relative share of the crops.
        leave_out: every image of this set that holds one of these labels is dropped.
        pixel_range: the values that become 0 and 255; needed where pixels have more than 8 bits.
        gsd_m: least and most metres per pixel of the images that are used.
        judges: the labels that its truth is whole for; empty is all of the recipe's. Of other labels what is not boxed
            is not taught to be background. Images that say so themselves (reviewed cases) stay as they are.
    """

    root: Literal["data", "renders", "runs"] = "data"
    path: str
    split: str = "train"
    only: tuple[str, ...] = ()
    weight: float = Field(1.0, gt=0)
    leave_out: tuple[str, ...] = ()
    pixel_range: tuple[float, float] | None = None
    gsd_m: tuple[float, float] | None = None
    judges: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check_ranges(self) -> Self:
        for name in ("pixel_range", "gsd_m"):
            found = getattr(self, name)
            if found and not found[0] < found[1]:
                raise ValueError(f"{name} {found} wants the lower value first")
        return self


class Recipe(Settings):
    """One training run.

    Attributes:
        name: of the run's folder and of the bundle to be.
        labels: known classes, spelled as the data sets spell them.
        network: widths and depths.
        init: name of the run whose weights to start from; tensors of another shape are skipped.
        keep_init: share of those weights in the finished ones, which lie on the line between both (Wortsman et al.,
            arXiv:2109.01903, sec. 3): much of what was learnt, little of what was forgotten. Needs an `init` of the
            same network and labels.
        teacher: what to distil from: the name of a run; or `bundled`, or anything else that
            `cloud.teachers.open_teacher` takes, told from a run by a `/`, `.` or `:` in it. Without one the run is
            supervised only.
        sources: data sets.
        held_out: data sets that were not trained on, which the bundle's scores are calibrated on.
        steps, batch, crop_px, learning_rate, weight_decay, ema_decay, seed: the optimiser's constants.
        bf16: compute the network's convolutions in bfloat16 (torch's autocast; weights, losses and optimiser stay in
            float32): about twice as fast where the CPU has AVX512-BF16 or AMX, slower where it has neither.
        frozen: parts of the network that stay as `init` has them, of stem, stages, laterals, detect, describe,
            objectness, box_ltrb, class_logits and embedding.
        freeze_norms: leave the statistics of the batch norms as `init` has them: what a few new pictures are like on
            average must not change what the old ones are.
        novel_kinds: how many kinds of random objects a batch may paste; 0 switches pasting off.
        loss_weights: of the losses of `distill/objectives.py`; what is 0 or absent is not computed.
        score_floor: known-class score from which the bundle reports a detection, chosen on dev.
        object_floor: objectness from which the bundle lets prompts claim a candidate.
    """

    name: str = Field(pattern=_RUN_NAME)
    labels: tuple[Label, ...] = Field(min_length=1)
    network: NetworkConfig = NetworkConfig()
    init: str | None = None
    keep_init: float = Field(0.0, ge=0, lt=1)
    teacher: str | None = None
    sources: tuple[Source, ...] = Field(min_length=1)
    held_out: tuple[Source, ...] = ()
    steps: int = Field(2000, gt=0)
    batch: int = Field(12, gt=0)
    crop_px: int = Field(256, ge=64, multiple_of=INPUT_MULTIPLE_PX)
    learning_rate: float = Field(2e-3, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    ema_decay: float = Field(0.995, ge=0, lt=1)
    seed: int = Field(0, ge=0)
    bf16: bool = False
    frozen: tuple[PartName, ...] = ()
    freeze_norms: bool = False
    novel_kinds: int = Field(4, ge=0)
    loss_weights: dict[LossName, LossWeight] = Field({"heat": 1.0, "box": 2.0, "embedding": 0.5})
    score_floor: float = Field(0.3, ge=0, le=1)
    object_floor: float = Field(0.2, ge=0, le=1)

    @property
    def unfamiliar(self) -> frozenset[str]:
        """Labels that must stay unfamiliar to the network: left out of its data and none of its own."""
        return frozenset(label for source in self.sources for label in source.leave_out) - frozenset(self.labels)

    @model_validator(mode="after")
    def _names_each_label_once(self) -> Self:
        if len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels {', '.join(self.labels)} name one twice; leave the second out")
        return self

    @model_validator(mode="after")
    def _needs_other_runs(self) -> Self:
        if self.name in (self.init, self.teacher):
            raise ValueError(f"run {self.name!r} cannot start or learn from itself; name another run")
        if self.keep_init and self.init is None:
            raise ValueError("keep_init: there is no init to keep anything of; name one, or leave keep_init out")
        for name in ("frozen", "freeze_norms"):
            if getattr(self, name) and self.init is None:
                raise ValueError(
                    f"{name}: a fresh network has nothing worth keeping; name an init, or leave {name} out"
                )
        return self

    @model_validator(mode="after")
    def _has_what_its_losses_need(self) -> Self:
        if not self.losses:
            raise ValueError("loss_weights: every loss is switched off; give one of them a weight above 0")
        taught = [name for name in self.losses if name.startswith("kd_")]
        if taught and self.teacher is None:
            raise ValueError(f"loss_weights: {', '.join(taught)} needs a teacher; name one, or switch it off")
        return self

    @property
    def losses(self) -> dict[str, float]:
        """The losses that are computed, and their weights."""
        return {name: weight for name, weight in self.loss_weights.items() if weight > 0}

    @property
    def teacher_run(self) -> str | None:
        """The teacher, where it is a run of ours."""
        is_run = self.teacher and self.teacher != _BUNDLED_TEACHER and re.match(_RUN_NAME, self.teacher)
        return self.teacher if is_run else None

    @property
    def needed_runs(self) -> tuple[str, ...]:
        """The runs that must be finished before this one begins."""
        return tuple(name for name in (self.init, self.teacher_run) if name)


@dataclass(frozen=True)
class Workspace:
    """Where data lies and where runs are kept."""

    data: Path
    runs: Path

    def folder(self, run: str) -> Path:
        """Folder of one run."""
        return self.runs / run

    def weights(self, run: str) -> Path:
        """The averaged weights that a finished run leaves."""
        return self.folder(run) / "model.safetensors"


def open_sources(recipe: Recipe, workspace: Workspace) -> list[DataSet]:
    """The recipe's training sets, less the left-out images, with pixels preloaded.

    Raises:
        DataSetError: a set is missing or nothing is left of it.
    """
    sets = [open_source(source, workspace, recipe.network.bands) for source in recipe.sources]
    for data in sets:
        data.preload()
    return sets


def labels_without_boxes(recipe: Recipe, sets: Iterable[DataSet]) -> list[str]:
    """The labels of a recipe that no box of its data sets has.

    Raises:
        DataSetError: none has a box, and there is no teacher to learn them from.
    """
    held = {
        name for data in sets for item in data for name, out in zip(item.labels, item.ignore, strict=True) if not out
    }
    missing = [label for label in recipe.labels if label not in held]
    if len(missing) == len(recipe.labels) and recipe.teacher is None:
        raise DataSetError(
            f"{recipe.name}: no box in its data is called {', '.join(recipe.labels)}; they are called "
            f"{', '.join(sorted(held)) or 'nothing: they have no boxes'}; spell `labels` so, or name a teacher"
        )
    return missing


def open_source(source: Source, workspace: Workspace, bands: tuple[str, ...]) -> DataSet:
    """One data set, its chosen images less the left-out ones.

    Args:
        source: which.
        workspace: where it lies.
        bands: names of those that the network takes.

    Raises:
        DataSetError: it is missing or nothing is left of it.
    """
    roots = {"data": workspace.data, "renders": workspace.runs / "renders", "runs": workspace.runs}
    folder = roots[source.root] / source.path
    reading = Reading(bands, source.pixel_range)
    data = read_data_set(folder, source.split, reading).named(source.only).without_labels(source.leave_out)
    data = data if source.gsd_m is None else data.of_scale(*source.gsd_m)
    data = data.judging(source.judges) if source.judges else data
    if not len(data):
        raise DataSetError(f"{folder}: leave_out {', '.join(source.leave_out)} leaves no image; leave out less")
    return data


def data_digest(data: DataSet) -> str:
    """SHA-256 over file names, sizes and boxes of a data set, in order."""
    digest = hashlib.sha256()
    for item in data:
        digest.update(f"{item.path.name}:{item.path.stat().st_size}:{item.labels}".encode())
        digest.update(item.boxes_xyxy.tobytes())
    return digest.hexdigest()
