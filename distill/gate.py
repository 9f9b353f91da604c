"""What an INT8 file must keep of its FP32 original before anybody may fly it."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime.quantization import CalibrationDataReader
from onnxruntime.quantization.qdq_loss_debug import (
    collect_activations,
    compute_activation_error,
    create_activation_matching,
    modify_model_output_intermediate_tensors,
)

from cloud.chips import CHIP_BANDS
from cloud.parity import MAX_AP_LOSS, MIN_MEAN_COSINE, MIN_P01_COSINE
from distill.dataset import IGNORED_LABEL, NOVEL_LABEL, DataSet
from distill.errors import DataSetError, GateError
from distill.evaluate import coco_scores, detect_all, truths_of
from distill.fewshot import Seen, Shot, draw_shots, fly, prompt_ap50, prompts_after
from edge.bundle import Bundle, Manifest
from edge.runtime.onnx import OnnxBackend
from edge.student import Student, unit_rows
from protocols.arrays import ImageArray

SHOTS, DRAWS = 5, 10
_WORST_LAYERS = 5
_FLOAT_CONVS = 2
"""The stem and the last layer of the embedding stay in float32."""

RUNS_HERE = ("u8s8",)
"""Files whose convolutions have to run as integers on a CPU; the others are for accelerators."""


@dataclass(frozen=True)
class Trial:
    """What is on trial.

    Attributes:
        fp32: the exported original.
        prepared: the same, as it was handed to the quantizer: its tensors have the quantized file's names.
        quantized: the INT8 file.
        manifest: of the bundle to be.
    """

    fp32: Path
    prepared: Path
    quantized: Path
    manifest: Manifest

    def students(self) -> tuple[Student, Student]:
        """The original and the INT8 student."""
        bundle = Bundle(self.fp32.parent, self.manifest, "fp32")
        return Student(bundle, OnnxBackend(self.fp32)), Student(bundle, OnnxBackend(self.quantized))


def judge(trial: Trial, images: Sequence[ImageArray], held_out: Sequence[DataSet]) -> dict[str, Any]:
    """Measure an INT8 file against its original.

    Args:
        trial: the files.
        images: (H, W, bands) uint8 each, sides multiples of 32, for the embedding.
        held_out: sets that were not trained on, for the scores; without any the report has none.

    Returns:
        `mean_cosine` and `p01_cosine` of the embedding over all cells; `convolutions` and how many of them run as
        integers on this CPU; `layers`, signal to noise in dB by tensor, worst first; and `before` and `after`, the
        scores of the original and of the INT8 file (see `scores_of`).
    """
    original, candidate = trial.students()
    return {
        **embedding_parity(trial.fp32, trial.quantized, images),
        **integer_convolutions(trial.quantized),
        "layers": layers_lost(trial, images[:4]),
        "before": scores_of(original, held_out),
        "after": scores_of(candidate, held_out),
    }


def check(name: str, report: dict[str, Any]) -> None:
    """Refuse a file that lost too much.

    Raises:
        GateError: it says what was lost, the limit, and in which layers.
    """
    faults = []
    mean, p01 = report["mean_cosine"], report["p01_cosine"]
    if mean < MIN_MEAN_COSINE or p01 < MIN_P01_COSINE:
        faults.append(
            f"the embedding has mean cosine {mean:.3f} (least {MIN_MEAN_COSINE}) and 1st percentile {p01:.3f} "
            f"(least {MIN_P01_COSINE})"
        )
    for what in ("map50", "fewshot_ap50"):
        before, after = (report[when].get(what, 0.0) for when in ("before", "after"))
        if after < before - MAX_AP_LOSS:
            faults.append(f"{what} fell from {before:.3f} to {after:.3f} (at most {MAX_AP_LOSS} less)")
    if name in RUNS_HERE and report["convolutions"] - report["integer_convolutions"] > _FLOAT_CONVS:
        faults.append(f"only {report['integer_convolutions']} of {report['convolutions']} convolutions run as integers")
    if faults:
        worst = list(report["layers"].items())[:_WORST_LAYERS]
        layers = ", ".join(f"{layer} {db:.0f} dB" for layer, db in worst)
        raise GateError(
            f"{name}: {'; '.join(faults)}. Most is lost in {layers}: calibrate on more images, or keep more layers in "
            "float32 (`SCHEMES` in distill/quantize.py)"
        )


def embedding_parity(fp32: Path, quantized: Path, images: Sequence[ImageArray]) -> dict[str, float]:
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


def integer_convolutions(model: Path) -> dict[str, int]:
    """How many of a file's convolutions ONNX Runtime really runs as integers on this CPU, after all its rewriting."""
    with TemporaryDirectory() as scratch:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.optimized_model_filepath = str(Path(scratch) / "optimized.onnx")
        ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        run = Counter(node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node)
    integers = run["QLinearConv"] + run["ConvInteger"]
    return {"convolutions": integers + run["Conv"] + run["FusedConv"], "integer_convolutions": integers}


class ImageReader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime publishes no types
    """Images one by one, as ONNX Runtime's tools take them."""

    def __init__(self, images: Sequence[ImageArray]) -> None:
        self._images: Iterator[ImageArray] = iter(images)

    def get_next(self) -> dict[str, Any] | None:
        """The next input, None after the last."""
        image = next(self._images, None)
        return None if image is None else {"image": image[None]}


def layers_lost(trial: Trial, images: Sequence[ImageArray]) -> dict[str, float]:
    """How far each tensor strays from the original, worst first: signal to quantization noise in dB."""
    with TemporaryDirectory() as scratch:
        found = []
        for number, model in enumerate((trial.quantized, trial.prepared)):
            whole = str(Path(scratch) / f"{number}.onnx")
            modify_model_output_intermediate_tensors(str(model), whole)
            found.append(collect_activations(whole, ImageReader(images)))
    errors = compute_activation_error(create_activation_matching(*found))
    strayed = {name: round(error["xmodel_err"], 1) for name, error in errors.items() if "xmodel_err" in error}
    return dict(sorted(strayed.items(), key=lambda item: item[1]))


def scores_of(student: Student, held_out: Sequence[DataSet]) -> dict[str, Any]:
    """What a student reaches on sets it was not trained on; empty without any.

    Returns:
        `map50` and `ap50_small` on the first set; and from the first set that shows a label the student does not know
        in enough images, that `fewshot_label` and its `fewshot_ap50`: the mean over draws after `SHOTS` shots.
    """
    if not held_out:
        return {}
    found, _ = detect_all(student, held_out[0])
    known = coco_scores(truths_of(held_out[0]), found, student.manifest.labels)
    return {name: known[name] for name in ("map50", "ap50_small")} | fewshot_scores(student, held_out)


def fewshot_scores(student: Student, held_out: Sequence[DataSet]) -> dict[str, Any]:
    """AP50 after `SHOTS` shots of a label that a student does not know, and what label that is.

    Of the unfamiliar label that most images of a set show, the first set that shows one often enough; empty without,
    and for students of other bands than prompts carry chips of.
    """
    labels = student.manifest.labels
    if student.manifest.bands not in CHIP_BANDS:
        return {}
    for data in held_out:
        shown = Counter(
            name for item in data for name in sorted(set(item.labels) - {*labels, NOVEL_LABEL, IGNORED_LABEL})
        )
        for label, _ in shown.most_common(1):
            try:
                draws = [draw_shots(data, label, SHOTS, seed) for seed in range(DRAWS)]
            except DataSetError:
                continue  # too few images show it
            flight = list(fly(student, data))
            found = [_draw_ap50(student, data, draw, flight, (label, *labels)) for draw in draws]
            return {"fewshot_label": label, "fewshot_ap50": statistics.fmean(found)}
    return {}


def _draw_ap50(
    student: Student, data: DataSet, shots: Sequence[Shot], flight: Sequence[Seen], scored: tuple[str, ...]
) -> float:
    """AP50 on the images that no shot is from."""
    prompts, _ = prompts_after(student, data, shots, (SHOTS,))
    queries = sorted(set(range(len(data))) - {shot.image for shot in shots})
    asked = DataSet(data.name, tuple(data.items[i] for i in queries))
    return prompt_ap50(prompts.get(SHOTS), asked, [flight[i] for i in queries], scored)
