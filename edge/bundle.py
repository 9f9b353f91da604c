"""One student (or teacher) as it is shipped: a folder with `bundle.json` and ONNX files, digests checked on loading."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import Self

from edge.config import first_problem
from edge.errors import ModelError
from protocols.limits import MAX_RAW_BANDS

MANIFEST_NAME = "bundle.json"

BGR = ("blue", "green", "red")
"""Names of a colour picture's bands, in OpenCV's order: what a student takes unless its manifest says otherwise."""

PIXEL_MEAN = 114.0
"""What the network takes off every band's pixels, unless the manifest has means of its own."""


class FileDigest(BaseModel):
    """What a file holds.

    Attributes:
        sha256: digest of the file's bytes.
        size_bytes: its length.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size_bytes: int = Field(gt=0)

    @classmethod
    def of(cls, content: bytes) -> FileDigest:
        """Of these bytes."""
        return cls(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))


class VariantFile(FileDigest):
    """One file of a bundle that can be run: ONNX, or a TensorRT engine.

    Attributes:
        file: name within the folder.
        suits: which runtimes it is made for, best first.
        runs_on: GPU architecture and TensorRT version that alone can run it, for example `sm87-trt10.3.0`; empty for
            files that are bound to no machine.
    """

    file: str = Field(pattern=r"^[A-Za-z0-9._-]+$")
    suits: tuple[str, ...] = ("cpu",)
    runs_on: str = ""


class Manifest(BaseModel):
    """`bundle.json`.

    Attributes:
        format: version of this layout.
        name: for people.
        labels: known classes, in the order of `class_logits`.
        space_id: digest of the FP32 embedding weights, preprocessing and stride.
        embedding_dim: D.
        stride_px: cell size of the output grid in input pixels.
        multiple_px: input height and width must be multiples of this.
        bands: how many bands the input has.
        band_order: `bgr`, for which one-band images are replicated, or the bands' names with commas between.
        band_mean, band_deviation: what the network takes off each band's pixels and divides them by, inside the graph;
            empty is 114 and 64 for every band.
        score_floor: known-class score from which a detection is reported.
        object_floor: objectness from which a candidate may be claimed by a prompt; below lie texture and parts.
        score_scale, score_bias: per label, what turns class logits into calibrated ones; empty leaves them.
        variants: the files that can be run, by variant name.
        extras: files that are no variant of the network, by use: `match` finds a thing again that a chip shows.
        files: what else the folder holds, by file name; not this file, nor the STAC Item that lists it.
        outputs: shape of every output by name, (1, channels, rows, columns); -1 for sides that follow the image's.
        license: SPDX identifier of the weights' licence; empty in older bundles.
        training, metrics: provenance and measurements, for people.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal[1] = 1
    name: str
    labels: tuple[str, ...]
    space_id: str = Field(min_length=8, max_length=64)
    embedding_dim: int = Field(ge=8, le=96)
    stride_px: int = Field(gt=0)
    multiple_px: int = Field(gt=0)
    bands: int = Field(3, ge=1, le=MAX_RAW_BANDS)
    band_order: str = Field("bgr", pattern=r"^[a-z0-9_]+(,[a-z0-9_]+)*$")
    band_mean: tuple[float, ...] = ()
    band_deviation: tuple[float, ...] = ()
    score_floor: float = Field(0.3, ge=0, le=1)
    object_floor: float = Field(0.2, ge=0, le=1)
    score_scale: tuple[float, ...] = ()
    score_bias: tuple[float, ...] = ()
    variants: dict[str, VariantFile] = Field(min_length=1)
    extras: dict[str, VariantFile] = {}
    files: dict[str, FileDigest] = {}
    outputs: dict[str, tuple[int, ...]] = {}
    license: str = ""
    training: dict[str, Any] = {}
    metrics: dict[str, Any] = {}

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("score_scale", "score_bias"):
            if len(getattr(self, name)) not in (0, len(self.labels)):
                raise ValueError(f"{name} has {len(getattr(self, name))} numbers for {len(self.labels)} labels")
        for name in ("band_mean", "band_deviation"):
            if len(getattr(self, name)) not in (0, self.bands):
                raise ValueError(f"{name} has {len(getattr(self, name))} numbers for {self.bands} bands")
        if len(self.band_names) != self.bands:
            raise ValueError(f"band_order names {len(self.band_names)} bands of {self.bands}")
        return self

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the input's bands, in order."""
        return BGR if self.band_order == "bgr" else tuple(self.band_order.split(","))

    @property
    def padding(self) -> tuple[int, ...]:
        """The pixel that says nothing to the network: the mean of each band."""
        return tuple(round(mean) for mean in self.band_mean or (PIXEL_MEAN,) * self.bands)


@dataclass(frozen=True)
class Bundle:
    """A checked bundle and the variant chosen to run."""

    folder: Path
    manifest: Manifest
    variant: str

    @property
    def model_path(self) -> Path:
        """The file of the chosen variant."""
        return self.folder / self.manifest.variants[self.variant].file

    def with_manifest(self, manifest: Manifest) -> Bundle:
        """The same files under another manifest."""
        return Bundle(self.folder, manifest, self.variant)


def bundled_student() -> Path:
    """Folder of the student that comes with the package."""
    return Path(str(files("edge"))) / "bundles" / "student"


def load_bundle(folder: Path, variant: str | None = None) -> Bundle:
    """The bundle in a folder, its chosen file's digest checked.

    Args:
        folder: holds `bundle.json`.
        variant: which file to run; by default `u8s8`, else the first one listed (what a CPU runs best).

    Raises:
        ModelError: the manifest or the file is missing, malformed or altered.
    """
    manifest = read_manifest(folder)
    chosen = variant or ("u8s8" if "u8s8" in manifest.variants else next(iter(manifest.variants)))
    if chosen not in manifest.variants:
        raise ModelError(f"{folder}: has no variant {chosen!r}; choose one of {', '.join(manifest.variants)}")
    check_file(folder, manifest.variants[chosen])
    return Bundle(folder, manifest, chosen)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a bundle folder.

    Raises:
        ModelError: it is missing or malformed.
    """
    path = folder / MANIFEST_NAME
    try:
        return Manifest.model_validate(json.loads(path.read_text()))
    except OSError as exc:
        raise ModelError(f"{path}: cannot be read ({exc.strerror}); give the folder of a bundle") from exc
    except ValidationError as exc:
        raise ModelError(f"{path}: {first_problem(exc)}") from exc
    except ValueError as exc:
        raise ModelError(f"{path}: not JSON ({exc}); fetch the bundle again") from exc


def check_file(folder: Path, entry: VariantFile) -> None:
    """Refuse a file of a bundle that is not the one its manifest lists.

    Raises:
        ModelError: it is missing or altered.
    """
    path = folder / entry.file
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as exc:
        raise ModelError(f"{path}: cannot be read ({exc.strerror}); fetch the bundle again") from exc
    if found != entry.sha256:
        raise ModelError(
            f"{path}: digest {found[:12]}… does not match the manifest's {entry.sha256[:12]}…; fetch the bundle again"
        )
