"""Static INT8 quantization as QDQ, calibrated on training images: two files from one run.

U8S8 is what a CPU with VNNI runs fastest, symmetric S8S8 what TensorRT takes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData, create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.shape_inference import quant_pre_process

from distill.bundle import make_manifest
from distill.dataset import DataSet
from distill.errors import DataSetError, DistillError
from distill.files import disk_errors, write_whole
from distill.gate import ImageReader, Trial, check, judge
from distill.recipe import Recipe, Workspace, open_source, open_sources
from edge.bundle import Manifest
from edge.student import as_bands, pad_to_multiple
from protocols.arrays import ImageArray

CALIBRATION_IMAGES, LEAST_IMAGES = 512, 500
"""That many training images give the ranges of activations, and fewer than the second number are refused."""


@dataclass(frozen=True)
class Scheme:
    """How one file is quantized; weights are int8 per channel in all of them.

    Attributes:
        activations: their type.
        options: of the quantizer.
        range_share: share of the calibration images that an activation's range holds whole: one strange image must not
            coarsen all others.
        float_first: so many convolutions at the start stay in float32, as the embedding's last does in all.
    """

    activations: QuantType
    options: dict[str, Any]
    range_share: float
    float_first: int = 0


# Shares were chosen with the bundled student and 64 images. U8S8: at 0.8 the embedding strays less (1st percentile of
# its cosine 0.982, at 0.95 0.972), but what is clipped is missed: AP50 after five shots 0.617, at 0.95 0.630, FP32
# 0.637. S8S8: 0.967 and 0.637 at 0.8, 0.950 and 0.631 at 0.95.
SCHEMES = {
    # The stem reads three bands, for which ONNX Runtime's integer kernel is slow: it took 13 of 58 ms, and the file was
    # 1.83 times as fast as FP32, with the stem in float 1.96 times (medians of 25 rounds, one thread, AVX-512 VNNI).
    "u8s8": Scheme(QuantType.QUInt8, {}, range_share=0.95, float_first=1),
    # TensorRT wants zero points of 0 and adds biases in float32. What a ReLU leaves then has 7 bits, too few for the
    # stem: with it in int8 the 1st percentile of parity was 0.915, without 0.964 (bundled student, 24 images).
    "s8s8": Scheme(
        QuantType.QInt8, {"ActivationSymmetric": True, "QuantizeBias": False}, range_share=0.8, float_first=2
    ),
}

OnStage = Callable[[str, int, int], None]

_QUANTIZED_OPS = ["Conv", "Resize", "Add", "Relu"]
_PARITY_IMAGES = 64
_VIEW_PX = 640
"""Of rasters too large to hold, so large a window is an image."""


def quantize_run(recipe: Recipe, workspace: Workspace, on_stage: OnStage = lambda *_: None) -> dict[str, Any]:
    """Write the INT8 files and `parity.json` beside a run's `fp32.onnx`, and return what the gate measured.

    Args:
        recipe: of the run.
        workspace: where it lies.
        on_stage: called with a stage, how much of it is done, and of how much.

    Raises:
        DistillError: the run was not exported.
        GateError: a file lost too much; no quantized file is left, but `parity.json`, for which no bundle is written.
    """
    folder = workspace.folder(recipe.name)
    fp32 = folder / "fp32.onnx"
    if not fp32.is_file():
        raise DistillError(f"{folder}: holds no fp32.onnx; run `skyloop-distill distill` with this recipe first")
    outs = {name: folder / f"{name}.onnx" for name in SCHEMES}
    sets = open_sources(recipe, workspace)
    held_out = [open_source(source, workspace, recipe.network.bands) for source in recipe.held_out]
    manifest = make_manifest(recipe, workspace, {"fp32": fp32})
    images = calibration_images(sets, CALIBRATION_IMAGES, recipe.seed, manifest)
    probes = calibration_images(sets, _PARITY_IMAGES, recipe.seed + 1, manifest)
    for old in (*outs.values(), folder / "parity.json"):
        old.unlink(missing_ok=True)
    report = {}
    with disk_errors(folder), TemporaryDirectory() as scratch:
        files = {name: Path(scratch) / out.name for name, out in outs.items()}
        prepared = quantize_files(fp32, files, images, on_stage)
        for done, (name, file) in enumerate(files.items()):
            on_stage("comparing with the original", done, len(files))
            report[name] = judge(Trial(fp32, prepared, file, manifest), probes, held_out)
            write_whole(folder / "parity.json", json.dumps(report).encode())
            check(name, report[name])
        on_stage("comparing with the original", len(files), len(files))
        contents = {name: file.read_bytes() for name, file in files.items()}
    for name, content in contents.items():
        write_whole(outs[name], content)
    return report


def calibration_images(sets: list[DataSet], count: int, seed: int, manifest: Manifest) -> list[ImageArray]:
    """Images drawn evenly from the training sets, as the network of a manifest takes them.

    Where one set is too small for its share, the others make up for it.

    Raises:
        DataSetError: the sets hold fewer images than asked for, and fewer than are enough.
    """
    rng = np.random.default_rng((seed, 11))
    orders = [[(i, j) for j in rng.permutation(len(data))] for i, data in enumerate(sets)]
    chosen = [place for places in zip_longest(*orders) for place in places if place is not None][:count]
    if len(chosen) < (least := min(count, LEAST_IMAGES)):
        raise DataSetError(
            f"{len(chosen)} training images to calibrate on, at least {least} wanted; add a source to the recipe"
        )
    images = [as_bands(sets[i].view(j, _VIEW_PX, rng), manifest.band_names) for i, j in chosen]
    return [pad_to_multiple(image, manifest.multiple_px, manifest.padding) for image in images]


def quantize_files(
    fp32: Path, outs: Mapping[str, Path], images: list[ImageArray], on_stage: OnStage = lambda *_: None
) -> Path:
    """Write one file for each scheme, each output with its own range.

    The last layer of the embedding stays in float32: prompts compare its directions, and it is 3 % of the work.

    Args:
        fp32: the exported model.
        outs: by scheme, where its file goes.
        images: calibration images, (H, W, bands) uint8 with sides that are multiples of 32.
        on_stage: called with a stage, how much of it is done, and of how much.

    Returns:
        The model that was quantized, beside the first file: the exported one with its shapes inferred.

    Raises:
        DistillError: the disk is full, read-only or broken.
    """
    folder = next(iter(outs.values())).parent
    prepared = folder / "prepared.onnx"
    with disk_errors(folder), TemporaryDirectory() as scratch:
        quant_pre_process(str(fp32), str(prepared), skip_symbolic_shape=True)
        extremes = _extremes(prepared, images, Path(scratch), on_stage)
        for scheme, out in outs.items():
            quantizer = QDQQuantizer(
                onnx.load(str(prepared)),
                per_channel=True,
                reduce_range=False,
                weight_qType=QuantType.QInt8,
                tensors_range=_ranges(extremes, SCHEMES[scheme].range_share),
                nodes_to_quantize=[],
                nodes_to_exclude=_first_convs(prepared, SCHEMES[scheme].float_first)
                + _makers_of("embedding", prepared),
                op_types_to_quantize=_QUANTIZED_OPS,
                activation_qType=SCHEMES[scheme].activations,
                extra_options=SCHEMES[scheme].options,
            )
            quantizer.quantize_model()
            quantizer.model.save_model_to_file(str(out), False)
    return prepared


def _extremes(
    model: Path, images: list[ImageArray], scratch: Path, on_stage: OnStage
) -> dict[str, tuple[list[float], list[float]]]:
    """The least and the most that each tensor reaches, image by image."""
    calibrator = create_calibrator(
        model,
        _QUANTIZED_OPS,
        augmented_model_path=str(scratch / "augmented.onnx"),
        calibrate_method=CalibrationMethod.MinMax,
    )
    found: dict[str, tuple[list[float], list[float]]] = {}
    for done, image in enumerate(images, 1):
        on_stage("calibrating", done, len(images))
        calibrator.calibrate_tensors_range = None  # else it goes on widening the last image's
        calibrator.collect_data(ImageReader([image]))
        for name, extremes in calibrator.compute_data().items():
            for values, reached in zip(found.setdefault(name, ([], [])), extremes.range_value, strict=True):
                values.append(float(np.ravel(reached)[0]))
    return found


def _ranges(extremes: Mapping[str, tuple[list[float], list[float]]], share: float) -> TensorsData:
    """The range of each tensor that so large a share of the images stays within."""
    ranges = {
        name: (np.float32(min(np.quantile(low, 1 - share), 0.0)), np.float32(max(np.quantile(high, share), 0.0)))
        for name, (low, high) in extremes.items()
    }
    return TensorsData(CalibrationMethod.MinMax, ranges)


def _first_convs(model: Path, count: int) -> list[str]:
    return [node.name for node in onnx.load(str(model)).graph.node if node.op_type == "Conv"][:count]


def _makers_of(output: str, model: Path) -> list[str]:
    """Names of the nodes that compute one output of a model.

    Raises:
        DistillError: there is none.
    """
    names = [node.name for node in onnx.load(str(model)).graph.node if output in node.output]
    if not all(names) or not names:
        raise DistillError(f"{model}: no named node makes the output {output!r}; export the model again")
    return names
