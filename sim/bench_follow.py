"""How fast targets are followed: made-up video of 1280x720, camera motion included, without the student."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from edge.camera_motion import CameraMotion
from edge.opencv_trackers import open_short_term
from edge.targets import TargetTracker
from protocols.arrays import FloatArray, ImageArray
from protocols.boxes import box_iou
from sim.display import Display
from sim.errors import OptionError

_SIZE_PX = (1280, 720)
_MARGIN_PX = 200
"""Of ground around the first picture, for a camera that drifts a pixel or so a frame."""
_SIDES_PX = (36.0, 64.0)
_STEP_PX = 3.0
"""Most that a target moves over the ground from frame to frame, each way."""
_WARM_UP = 5
_FOLLOWED_IOU = 0.3


@dataclass(frozen=True)
class FollowBench:
    """What is measured.

    Attributes:
        counts: of targets at once, one run for each.
        frames: of each run.
        tracker: the short-term one, as for `edge.opencv_trackers.open_short_term`.
        threads: of OpenCV.
        seed: of the video.
    """

    counts: tuple[int, ...] = (1, 5)
    frames: int = 120
    tracker: str = "correlation"
    threads: int = 2
    seed: int = 0


def bench_follow(options: FollowBench, display: Display) -> dict[str, Any]:
    """Frames a second by number of targets.

    Args:
        options: what to measure.
        display: shows how far it is.

    Returns:
        `targets`: by number, `fps` of the median frame, `ms_p90` of a frame, and `followed`, the share of boxes that
        still overlap the truth by 0.3; `size` and `threads`.

    Raises:
        OptionError: a number of targets that cannot be followed, or too few frames.
        ConfigError, ModelError: the short-term tracker cannot be had.
    """
    most = _SIZE_PX[0] // 100
    if not options.counts or not all(1 <= count <= most for count in options.counts):
        raise OptionError(f"--targets {','.join(map(str, options.counts))}: wants numbers from 1 to {most}")
    if options.frames <= _WARM_UP:
        raise OptionError(f"--frames {options.frames}: the first {_WARM_UP} are not counted; take more")
    before = cv2.getNumThreads()
    cv2.setNumThreads(options.threads)
    rows = {}
    try:
        with display.stage("following", len(options.counts)) as advance:
            for number, count in enumerate(options.counts, start=1):
                rows[str(count)] = _run(count, options)
                advance(number, f"{count} targets")
    finally:
        cv2.setNumThreads(before)
    return {"targets": rows, "size": list(_SIZE_PX), "threads": options.threads}


def _run(count: int, options: FollowBench) -> dict[str, float]:
    tracker, motion = TargetTracker(open_short_term(options.tracker)), CameraMotion()
    spent_s, followed = [], []
    for number, (image, truth) in enumerate(_video(count, options)):
        begin_s = time.perf_counter()
        matrix = motion.update(image).matrix
        if number == 0:
            for box in truth:
                tracker.start(image, box)
            continue
        targets = tracker.update(image, matrix)
        spent_s.append(time.perf_counter() - begin_s)
        overlaps = [box_iou(t.box_xyxy[None], box[None])[0, 0] for t, box in zip(targets, truth, strict=True)]
        followed += [float(overlap >= _FOLLOWED_IOU) for overlap in overlaps]
    counted = spent_s[_WARM_UP - 1 :]
    return {
        "fps": round(1 / statistics.median(counted), 1),
        "ms_p90": round(1000 * float(np.percentile(counted, 90)), 1),
        "followed": round(statistics.fmean(followed), 3),
    }


def _video(count: int, options: FollowBench) -> Iterator[tuple[ImageArray, FloatArray]]:
    """Pictures, and (count, 4) boxes in each: patches that drift over ground, below a camera that drifts, too."""
    rng = np.random.default_rng(options.seed)
    width, height = _SIZE_PX
    ground = _texture(rng, (height + 2 * _MARGIN_PX, width + 2 * _MARGIN_PX), 3.0)
    sides = rng.uniform(*_SIDES_PX, (count, 2)).round()
    # Each in a column of its own, so that none hides another.
    places = np.c_[(np.arange(count) + 0.5) * width / count, rng.uniform(0.35, 0.65, count) * height] + _MARGIN_PX
    patches = [_texture(rng, (int(h), int(w)), 1.5) for w, h in sides]
    steps = rng.uniform(-_STEP_PX, _STEP_PX, (count, 2)) * (min(1.0, width / count / 400), 1.0)
    for number in range(options.frames):
        swing = np.sin(2 * np.pi * number / 90)
        corner = np.round(_MARGIN_PX + np.array([60.0, 40.0]) * swing).astype(int)
        middle = places + steps * 20 * np.sin(number / 20)
        boxes = np.round(np.c_[middle - sides / 2, middle + sides / 2]).astype(int)
        picture = ground.copy()
        for (x1, y1, x2, y2), patch in zip(boxes, patches, strict=True):
            picture[y1:y2, x1:x2] = cv2.resize(patch, (int(x2 - x1), int(y2 - y1)))
        x, y = (int(v) for v in corner)
        view = np.ascontiguousarray(picture[y : y + height, x : x + width])
        yield view, (boxes - np.tile(corner, 2)).astype(np.float32)


def _texture(rng: np.random.Generator, shape: tuple[int, int], grain_px: float) -> ImageArray:
    """Coloured noise with grains of some pixels, as contrasty as an aerial picture."""
    noise = rng.normal(0, 1, (*shape, 3)).astype(np.float32)
    smooth = np.asarray(cv2.GaussianBlur(noise, (0, 0), grain_px), dtype=np.float32)
    return np.asarray((120 + 40 * smooth / smooth.std()).clip(0, 255), dtype=np.uint8)
