"""Bundles for TensorRT: an engine built on the very machine that will run it, added to the bundle as one more variant.

TensorRT takes its types from the network here ("strongly typed"): version 11 knows nothing else, and 10 can. So for
FP16 the ONNX file is rewritten to half precision first. What was quantized (S8S8) runs in INT8 and the rest of it in
float32: with its scales in half precision, too, the bundled student's embedding strayed fifteen times as far (mean
cosine 0.991 instead of 0.9994, on ONNX Runtime's CPU provider). The rewriting is checked on the CPU by tests; the
building has never run on hardware (`docs/runtimes.md`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import onnx
import structlog
from onnx import TensorProto, helper, numpy_helper

from distill.bundle import copy_bundle, rewrite_manifest
from distill.errors import DistillError
from distill.files import disk_errors, write_whole
from edge.bundle import Bundle, VariantFile, load_bundle
from edge.errors import RuntimeUnavailable
from edge.runtime.agreement import check_agreement
from edge.runtime.tensorrt import INPUT_NAME, EngineBackend, import_tensorrt, machine_tag

log = structlog.get_logger()

Precision = Literal["fp16", "int8"]
_SOURCES: dict[Precision, str] = {"fp16": "fp32", "int8": "s8s8"}


@dataclass(frozen=True)
class EngineOptions:
    """What is built.

    Attributes:
        precision: `fp16` from the FP32 file, or `int8` from the S8S8 file.
        best_px: (height, width) that the engine is tuned for.
        largest_px: (height, width) of the largest image it takes; the smallest is one multiple of the bundle's.
        cache: folder of timing caches, one for each GPU architecture and version.
    """

    precision: Precision = "fp16"
    best_px: tuple[int, int] = (512, 640)
    largest_px: tuple[int, int] = (1088, 1920)
    cache: Path = Path.home() / ".cache" / "skyloop"


@dataclass(frozen=True)
class BuiltEngine:
    """An engine that was added to a bundle: its variant's name, its file, and the cosine of its embedding to FP32's."""

    variant: str
    path: Path
    cosine: float


def add_engine(folder: Path, options: EngineOptions, out: Path | None = None) -> BuiltEngine:
    """Build an engine on this machine, compare it with the CPU, and add it to a bundle.

    Args:
        folder: the bundle.
        options: what to build.
        out: a copy of the bundle that gets the engine; None adds it to the bundle itself.

    Raises:
        DistillError: sizes that do not fit, TensorRT refuses the network, or the disk is full. Nothing is written then.
        ModelError: no TensorRT, no GPU, a damaged bundle, or an engine that does not compute what the CPU computes.
    """
    bundle = load_bundle(folder, _SOURCES[options.precision])
    _check_sizes(bundle, options)
    tag = machine_tag()
    plan = _timed_build(network_for(bundle, options.precision), options, bundle, tag)
    cosine = _compared(bundle, plan)
    target = folder if out is None else copy_bundle(folder, out)
    name = f"engine-{options.precision}-{tag}"
    return BuiltEngine(name, place_engine(target, name, plan, tag), cosine)


def place_engine(folder: Path, name: str, plan: bytes, runs_on: str) -> Path:
    """Put an engine file into a bundle and its entry into the manifest, the file first.

    Args:
        folder: the bundle.
        name: of the variant, and of the file.
        plan: the file's content.
        runs_on: what it is bound to, see `VariantFile.runs_on`.

    Raises:
        DistillError: the disk is full; the manifest is as it was.
    """
    manifest = load_bundle(folder).manifest
    path = folder / f"{name}.engine"
    digest = hashlib.sha256(plan).hexdigest()
    entry = VariantFile(file=path.name, sha256=digest, size_bytes=len(plan), suits=("engine",), runs_on=runs_on)
    write_whole(path, plan)
    rewrite_manifest(folder, manifest.model_copy(update={"variants": {**manifest.variants, name: entry}}))
    return path


def _check_sizes(bundle: Bundle, options: EngineOptions) -> None:
    multiple = bundle.manifest.multiple_px
    sides = (*options.best_px, *options.largest_px)
    if any(side < multiple or side % multiple for side in sides):
        raise DistillError(
            f"sizes {options.best_px} and {options.largest_px} (height, width): give multiples of {multiple} px"
        )
    if any(best > largest for best, largest in zip(options.best_px, options.largest_px, strict=True)):
        raise DistillError(f"size {options.best_px} is larger than the largest, {options.largest_px}; raise --largest")


def _compared(bundle: Bundle, plan: bytes) -> float:
    with disk_errors(bundle.folder), TemporaryDirectory() as scratch:
        path = Path(scratch) / "built.engine"
        path.write_bytes(plan)
        return check_agreement(bundle, EngineBackend(path))


def _timed_build(model: onnx.ModelProto, options: EngineOptions, bundle: Bundle, tag: str) -> bytes:
    """The engine; what TensorRT measured meanwhile is kept for the next build."""
    cache = timing_cache_path(options.cache, tag)
    side, bands = bundle.manifest.multiple_px, bundle.manifest.bands
    shapes: list[tuple[int, ...]] = [(1, *size, bands) for size in ((side, side), options.best_px, options.largest_px)]
    plan, timings = _build(import_tensorrt(), model.SerializeToString(), shapes, read_timing_cache(cache))
    write_whole(cache, timings)
    return plan


def timing_cache_path(folder: Path, tag: str) -> Path:
    """Where timings of one GPU architecture and TensorRT version are kept: those of others are worth nothing."""
    return folder / f"timing-{tag}.cache"


def read_timing_cache(path: Path) -> bytes:
    """What an earlier build measured; empty where there was none.

    Raises:
        DistillError: the file is there but cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as exc:
        raise DistillError(f"{path}: cannot be read ({exc.strerror}); remove it") from exc


def _build(trt: Any, content: bytes, shapes: list[tuple[int, ...]], timings: bytes) -> tuple[bytes, bytes]:  # noqa: ANN401
    """(engine, timing cache); `shapes` are the smallest, the best and the largest input."""
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(content):
        reasons = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
        raise DistillError(f"TensorRT {trt.__version__} cannot read the network ({reasons[:300]}); report this")
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    profile.set_shape(INPUT_NAME, *shapes)
    config.add_optimization_profile(profile)
    known = config.create_timing_cache(timings)
    if known is None or not config.set_timing_cache(known, False):
        log.warning("timing cache refused, a new one is begun", tensorrt=trt.__version__)
        config.set_timing_cache(config.create_timing_cache(b""), False)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise RuntimeUnavailable(
            f"TensorRT {trt.__version__} built no engine; see its lines above", "free GPU memory or give less --largest"
        )
    return bytes(plan), bytes(config.get_timing_cache().serialize())


def network_for(bundle: Bundle, precision: Precision) -> onnx.ModelProto:
    """A bundle's ONNX file as TensorRT wants it: bytes cast before anything else, and floats of the right precision.

    Args:
        bundle: with the variant that is the source for this precision.
        precision: `fp16` halves every float but the outputs; `int8` leaves them.

    Raises:
        DistillError: a weight is too large for half precision, or the file holds constants as nodes.
    """
    path = bundle.model_path
    model = onnx.load(str(path))
    # The quantizer lists domains that no node uses, and TensorRT's parser warns of each.
    used = {node.domain for node in model.graph.node}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    del model.graph.value_info[:]  # of the types before
    _cast_first(model.graph)
    if precision == "fp16":
        _halve(model.graph, path)
    onnx.checker.check_model(model, full_check=True)
    return model


def _cast_first(graph: onnx.GraphProto) -> None:
    """Transpose(bytes), Cast becomes Cast, Transpose: TensorRT takes bytes as an input but calculates with none."""
    first = next(node for node in graph.node if INPUT_NAME in node.input)
    followers = [node for node in graph.node if first.output[0] in node.input]
    if first.op_type != "Transpose" or [node.op_type for node in followers] != ["Cast"]:
        return
    cast = followers[0]
    to, perm = helper.get_node_attr_value(cast, "to"), helper.get_node_attr_value(first, "perm")
    swapped = (
        helper.make_node("Cast", [INPUT_NAME], first.output, first.name, to=to),
        helper.make_node("Transpose", cast.input, cast.output, cast.name, perm=perm),
    )
    first.CopyFrom(swapped[0])
    cast.CopyFrom(swapped[1])


def _halve(graph: onnx.GraphProto, path: Path) -> None:
    """Weights, scales and casts to half precision; every output cast back to float32 under its own name."""
    # Resize wants its scales, its third input, in float32.
    scales = {node.input[2] for node in graph.node if node.op_type == "Resize" and len(node.input) > 2}
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in scales:
            with np.errstate(over="ignore"):  # told below
                halved = numpy_helper.to_array(tensor).astype(np.float16)
            if not np.isfinite(halved).all():
                raise DistillError(f"{path}: {tensor.name} does not fit half precision; build --int8, or train again")
            tensor.CopyFrom(numpy_helper.from_array(halved, tensor.name))
    for node in graph.node:
        if node.op_type == "Constant":
            raise DistillError(f"{path}: holds constants as nodes ({node.name}); export it again with skyloop-distill")
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
    _cast_outputs(graph)


def _cast_outputs(graph: onnx.GraphProto) -> None:
    for output in graph.output:
        name, half = output.name, f"{output.name}_half"
        for node in graph.node:
            for names in (node.input, node.output):
                for index, found in enumerate(names):
                    if found == name:
                        names[index] = half
        graph.node.append(helper.make_node("Cast", [half], [name], f"{name}_float", to=TensorProto.FLOAT))
