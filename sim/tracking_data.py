"""Tracking sequences as the common benchmarks keep them: pictures, and the true box in each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from protocols.arrays import FloatArray, ImageArray
from sim.errors import RecordError

USUAL_FPS = 30.0
_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class Sequence:
    """One target in one video.

    Attributes:
        name: its folder's.
        pictures: in order.
        truth_xywh: (N, 4) float32 pixels, one row for each picture; nan or a side of 0 where the target is absent.
        fps: frames a second.
    """

    name: str
    pictures: tuple[Path, ...]
    truth_xywh: FloatArray
    fps: float

    def image(self, index: int) -> ImageArray:
        """(H, W, 3) uint8 BGR.

        Raises:
            RecordError: the picture is damaged.
        """
        image = cv2.imread(str(self.pictures[index]), cv2.IMREAD_COLOR)
        if image is None:
            raise RecordError(f"{self.pictures[index]}: is no picture that can be read; replace it, or leave it out")
        return np.asarray(image, dtype=np.uint8)


def is_box(boxes_xywh: FloatArray) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """(N,) which of (N, 4) boxes are of numbers and not empty."""
    sides = np.nan_to_num(boxes_xywh[:, 2:], nan=0.0)
    return np.asarray(np.isfinite(boxes_xywh).all(axis=1) & (sides > 0).all(axis=1))


def read_sequences(folder: Path) -> list[Sequence]:
    """Every sequence in a folder, at any depth, by name.

    Args:
        folder: holds folders with `img/` and `groundtruth.txt` (x,y,w,h a line, with commas, blanks or tabs), and
            `fps.txt` where the rate is not 30; or is one itself.

    Raises:
        RecordError: there are none, or one of them is not whole.
    """
    found = sorted(truth.parent for truth in folder.rglob("groundtruth.txt"))
    if not found:
        raise RecordError(f"{folder}: holds no sequence, a folder with img/ and groundtruth.txt; check --data")
    return [read_sequence(path, path.relative_to(folder).as_posix()) for path in found]


def read_sequence(folder: Path, name: str) -> Sequence:
    """One sequence, checked.

    Args:
        folder: as for `read_sequences`.
        name: what to call it; a single point is the folder's own name.

    Raises:
        RecordError: pictures are missing, the truth is of another length, or of no numbers.
    """
    truth = _read_truth(folder / "groundtruth.txt")
    images = folder / "img"
    if not images.is_dir():
        raise RecordError(f"{folder}: has no folder img; its pictures belong there")
    pictures = tuple(sorted(path for path in images.iterdir() if path.suffix.lower() in _SUFFIXES))
    if len(pictures) != len(truth):
        raise RecordError(
            f"{folder}: {len(pictures)} pictures in img and {len(truth)} lines in groundtruth.txt; "
            "each picture wants one line: fetch what is missing"
        )
    _check_numbers(folder, pictures)
    if len(truth) < 2 or not is_box(truth[:1])[0]:
        raise RecordError(f"{folder}: wants two frames or more, the first with a box; choose another first frame")
    return Sequence(folder.name if name == "." else name, pictures, truth, _read_fps(folder / "fps.txt"))


def _check_numbers(folder: Path, pictures: Iterable[Path]) -> None:
    """Pictures with numbers for names leave none out."""
    stems = [path.stem for path in pictures]
    if not all(stem.isdecimal() for stem in stems):
        return
    numbers = [int(stem) for stem in stems]
    missing = sorted(set(range(numbers[0], numbers[-1] + 1)) - set(numbers)) if numbers else []
    if missing:
        others = f" and {len(missing) - 1} others" if len(missing) > 1 else ""
        raise RecordError(f"{folder}: picture {missing[0]} is missing from img{others}; fetch the sequence again")


def _read_truth(path: Path) -> FloatArray:
    try:
        lines = path.read_text().strip().splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise RecordError(f"{path}: cannot be read ({exc}); replace it") from exc
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = [float(word) for word in line.replace(",", " ").split()]
        except ValueError:
            row = []
        if len(row) != 4:
            raise RecordError(f"{path}, line {number}: {line.strip()[:40]!r} is not x,y,w,h in pixels; mend it")
        rows.append(row)
    return np.array(rows, dtype=np.float32).reshape(-1, 4)


def _read_fps(path: Path) -> float:
    if not path.exists():
        return USUAL_FPS
    try:
        fps = float(path.read_text())
    except ValueError:
        fps = float("nan")
    if not 0 < fps < 10_000:
        raise RecordError(f"{path}: is no number of frames a second; write one, or remove the file for {USUAL_FPS:g}")
    return fps
