"""Does a runtime compute what the CPU computes? One picture tells before anything flies on it."""

from __future__ import annotations

import cv2
import numpy as np

from edge.bundle import Bundle, load_bundle
from edge.errors import RuntimeUnavailable
from edge.runtime.onnx import open_backend
from edge.runtime.outputs import Backend, RawOutputs
from protocols.arrays import ImageArray

MIN_COSINE = 0.97
"""Below this, vectors of one backend do not serve on another: prompts would have to be made anew."""
CHECK_HEIGHT_PX, CHECK_WIDTH_PX = 512, 640
"""The size of most frames: a runtime that compiles for a size compiles for this one."""


def check_agreement(bundle: Bundle, backend: Backend, threads: int = 0) -> float:
    """The mean cosine between a backend's embedding and the CPU's on the check picture.

    Args:
        bundle: what the backend runs.
        backend: a runtime that is not to be trusted yet.
        threads: for the CPU.

    Raises:
        RuntimeUnavailable: it fails, a number is not finite, or the cosine is below `MIN_COSINE`.
    """
    variants = bundle.manifest.variants
    reference = "fp32" if "fp32" in variants else next((n for n, v in variants.items() if "cpu" in v.suits), None)
    if reference is None:
        raise RuntimeUnavailable(f"{bundle.folder} holds no file for a CPU to check {backend.name} by", _CURE)
    image = check_picture(bundle.manifest.bands)
    expected = open_backend(load_bundle(bundle.folder, reference), threads=threads).run(image)
    try:
        found = backend.run(image)
    except Exception as exc:  # every runtime raises its own classes
        raise RuntimeUnavailable(f"{backend.name} fails on the first picture ({str(exc)[:200]})", _CURE) from exc
    cosine = mean_cosine(expected, found)
    if not cosine >= MIN_COSINE:  # not a number, too
        raise RuntimeUnavailable(
            f"{backend.name} does not compute what the CPU does: cosine {cosine:.3f}, {MIN_COSINE} is the least", _CURE
        )
    return cosine


_CURE = "update its driver and libraries, build the engine again, or fly on the CPU"


def check_picture(bands: int) -> ImageArray:
    """(512, 640, bands) uint8: smooth random ground with rectangles of many sizes, always the same."""
    rng = np.random.default_rng(4)
    ground = rng.integers(0, 256, (CHECK_HEIGHT_PX // 16, CHECK_WIDTH_PX // 16, bands), dtype=np.uint8)
    size = (CHECK_WIDTH_PX, CHECK_HEIGHT_PX)
    planes = [cv2.resize(ground[:, :, i], size, interpolation=cv2.INTER_CUBIC) for i in range(bands)]
    image = np.stack(planes, axis=2)
    for _ in range(40):
        height, width = rng.integers(4, 48, 2)
        top, left = rng.integers(0, CHECK_HEIGHT_PX - height), rng.integers(0, CHECK_WIDTH_PX - width)
        image[top : top + height, left : left + width] = rng.integers(0, 256, bands)
    return np.ascontiguousarray(image, dtype=np.uint8)


def mean_cosine(a: RawOutputs, b: RawOutputs) -> float:
    """Mean over the cells of the cosine between two embeddings; NaN where any output is not finite."""
    maps = (b.embedding, b.objectness, b.box_ltrb, b.class_logits)
    if not all(np.isfinite(part).all() for part in maps):
        return float("nan")
    dot = (a.embedding * b.embedding).sum(axis=0, dtype=np.float64)
    norms = np.linalg.norm(a.embedding, axis=0) * np.linalg.norm(b.embedding, axis=0)
    return float((dot / np.maximum(norms, 1e-9)).mean())
