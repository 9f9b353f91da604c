"""Static INT8 quantization as QDQ, calibrated on training images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData, create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.shape_inference import quant_pre_process

from distill.dataset import DataSet
from distill.errors import DataSetError, DistillError, GateError
from distill.files import disk_errors, write_whole
from distill.recipe import INPUT_MULTIPLE_PX, Recipe, Workspace, open_sources
from edge.runtime.onnx import OnnxBackend
from edge.student import as_bgr, pad_to_multiple, unit_rows
from protocols.arrays import ImageArray

CALIBRATION_IMAGES = 512
MIN_MEAN_COSINE = 0.99
MIN_P01_COSINE = 0.95
RANGE_SHARE = 0.95
"""Share of the calibration images that an activation's range holds whole. With the whole of 256 images the embedding's
1st percentile of parity was 0.953, with this share 0.973 (bundled student, 32 images)."""

_QUANTIZED_OPS = ["Conv", "Resize", "Add", "Relu"]
_PARITY_IMAGES = 64


def quantize_run(recipe: Recipe, workspace: Workspace) -> dict[str, float]:
    """Write `u8s8.onnx` and `parity.json` beside a run's `fp32.onnx`, and return the parity.

    Raises:
        DistillError: the run was not exported.
        GateError: the embedding moved too far; no quantized file is left.
    """
    folder = workspace.folder(recipe.name)
    fp32, out = folder / "fp32.onnx", folder / "u8s8.onnx"
    if not fp32.is_file():
        raise DistillError(f"{folder}: holds no fp32.onnx; run `skyloop-distill distill` with this recipe first")
    for old in (out, folder / "parity.json"):
        old.unlink(missing_ok=True)
    sets = open_sources(recipe, workspace)
    with disk_errors(out), TemporaryDirectory() as scratch:
        candidate = Path(scratch) / out.name
        quantize_u8s8(fp32, candidate, calibration_images(sets, CALIBRATION_IMAGES, recipe.seed))
        parity = embedding_parity(fp32, candidate, calibration_images(sets, _PARITY_IMAGES, recipe.seed + 1))
        check_parity(parity)
        content = candidate.read_bytes()
    write_whole(folder / "parity.json", json.dumps(parity).encode())
    write_whole(out, content)
    return parity


def calibration_images(sets: list[DataSet], count: int, seed: int) -> list[ImageArray]:
    """Images drawn evenly from the training sets, as the network takes them.

    Raises:
        DataSetError: the sets hold fewer images than asked for.
    """
    rng = np.random.default_rng((seed, 11))
    chosen = [(i, j) for i, data in enumerate(sets) for j in rng.permutation(len(data))[: -(-count // len(sets))]]
    if len(chosen) < min(count, 64):
        raise DataSetError(f"{len(chosen)} images to calibrate on, at least 64 wanted; add a source to the recipe")
    return [pad_to_multiple(as_bgr(sets[i].image(j)), INPUT_MULTIPLE_PX) for i, j in chosen]


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime publishes no types
    def __init__(self, images: list[ImageArray]) -> None:
        self._images: Iterator[ImageArray] = iter(images)

    def get_next(self) -> dict[str, Any] | None:
        image = next(self._images, None)
        return None if image is None else {"image": image[None]}


def quantize_u8s8(fp32: Path, out: Path, images: list[ImageArray]) -> None:
    """Write the U8S8 file: uint8 activations, int8 weights per channel, each output with its own range.

    The last layer of the embedding stays in float32: prompts compare its directions, and it is 3 % of the work.

    Args:
        fp32: the exported model.
        out: where the file goes, whole or not at all.
        images: calibration images, (H, W, 3) uint8 with sides that are multiples of 32.

    Raises:
        DistillError: the disk is full, read-only or broken.
    """
    with disk_errors(out), TemporaryDirectory() as scratch:
        prepared, quantized = Path(scratch) / "prepared.onnx", Path(scratch) / "quantized.onnx"
        quant_pre_process(str(fp32), str(prepared), skip_symbolic_shape=True)
        quantizer = QDQQuantizer(
            onnx.load(str(prepared)),
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=_activation_ranges(prepared, images, Path(scratch)),
            nodes_to_quantize=[],
            nodes_to_exclude=_makers_of("embedding", prepared),
            op_types_to_quantize=_QUANTIZED_OPS,
            extra_options={},
        )
        quantizer.quantize_model()
        quantizer.model.save_model_to_file(str(quantized), False)
        content = quantized.read_bytes()
    write_whole(out, content)


def _activation_ranges(model: Path, images: list[ImageArray], scratch: Path) -> TensorsData:
    """The range of each tensor that all but a few images stay within: one strange image must not coarsen all others."""
    calibrator = create_calibrator(
        model,
        _QUANTIZED_OPS,
        augmented_model_path=str(scratch / "augmented.onnx"),
        calibrate_method=CalibrationMethod.MinMax,
    )
    lows: dict[str, list[float]] = {}
    highs: dict[str, list[float]] = {}
    for image in images:
        calibrator.calibrate_tensors_range = None  # else it goes on widening the last image's
        calibrator.collect_data(_Reader([image]))
        for name, found in calibrator.compute_data().items():
            low, high = found.range_value
            lows.setdefault(name, []).append(float(np.ravel(low)[0]))
            highs.setdefault(name, []).append(float(np.ravel(high)[0]))
    ranges = {
        name: (
            np.float32(min(np.quantile(lows[name], 1 - RANGE_SHARE), 0.0)),
            np.float32(max(np.quantile(highs[name], RANGE_SHARE), 0.0)),
        )
        for name in lows
    }
    return TensorsData(CalibrationMethod.MinMax, ranges)


def _makers_of(output: str, model: Path) -> list[str]:
    """Names of the nodes that compute one output of a model.

    Raises:
        DistillError: there is none.
    """
    names = [node.name for node in onnx.load(str(model)).graph.node if output in node.output]
    if not all(names) or not names:
        raise DistillError(f"{model}: no named node makes the output {output!r}; export the model again")
    return names


def embedding_parity(fp32: Path, quantized: Path, images: list[ImageArray]) -> dict[str, float]:
    """Cosine between the embeddings of two files, cell by cell: its mean and first percentile."""
    a, b = OnnxBackend(fp32), OnnxBackend(quantized)
    cosines = []
    for image in images:
        left, right = (unit_rows(_cells(backend, image)) for backend in (a, b))
        cosines.append((left * right).sum(axis=1))
    values = np.concatenate(cosines)
    return {"mean_cosine": float(values.mean()), "p01_cosine": float(np.percentile(values, 1))}


def _cells(backend: OnnxBackend, image: ImageArray) -> Any:  # noqa: ANN401 - a (cells, D) float32 view
    embedding = backend.run(image).embedding
    return embedding.reshape(embedding.shape[0], -1).T


def check_parity(parity: dict[str, float]) -> None:
    """Refuse a file that moved the embedding too far.

    Raises:
        GateError: below the mean or first-percentile limit.
    """
    if parity["mean_cosine"] < MIN_MEAN_COSINE or parity["p01_cosine"] < MIN_P01_COSINE:
        raise GateError(
            f"INT8 embedding has mean cosine {parity['mean_cosine']:.3f} (least {MIN_MEAN_COSINE}) and 1st percentile "
            f"{parity['p01_cosine']:.3f} (least {MIN_P01_COSINE}); calibrate on more images"
        )
