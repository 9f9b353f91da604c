"""Training curves as a picture: one axis per loss."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from distill.files import write_whole
from protocols.arrays import FloatArray

_SMOOTHED_SHARE = 0.03
"""Window of the moving average as a share of the run: wide enough to hide single batches."""


def smoothed(values: FloatArray, window: int) -> FloatArray:
    """Centred moving average over `window` values (made odd); at the ends over those that exist."""
    window = min(window, len(values)) | 1
    sums = np.convolve(np.pad(values, window // 2), np.ones(window), "valid")
    counts = np.convolve(np.pad(np.ones(len(values)), window // 2), np.ones(window), "valid")
    return np.asarray(sums / counts, dtype=np.float32)


def save_curves(history: Sequence[dict[str, float]], path: Path) -> None:
    """Draw every loss of a run over its steps.

    Args:
        history: one row per step: `step` and the losses, as in `history.json`; at least one row.
        path: the PNG file.

    Raises:
        DistillError: the disk is full, read-only or broken.
    """
    # A run that was begun by an older version may have computed losses that are switched off.
    names = [name for name in history[-1] if name != "step"]
    steps = np.array([row["step"] for row in history])
    # A figure of its own, not pyplot's: no global state and no display.
    figure = Figure(figsize=(8.0, 2.2 * len(names)), layout="constrained")
    axes = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    for axis, name in zip(axes, names, strict=True):
        values = np.array([row.get(name, np.nan) for row in history], np.float32)
        axis.plot(steps, values, color="0.8", linewidth=0.5)
        axis.plot(steps, smoothed(values, int(_SMOOTHED_SHARE * len(values))), color="tab:blue")
        axis.set_ylabel(name)
    axes[-1].set_xlabel("step")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100)
    write_whole(path, picture.getvalue())
