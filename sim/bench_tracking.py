"""How well trackers follow one target in real video: ours and those that people use, one pass over every sequence.

All of them run in processes of their own with the same number of threads, get the same decoded pictures, and take turns
frame by frame, so that a machine that slows down slows all of them. The processes see pictures and the first box only.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from protocols.arrays import FloatArray
from sim.changing_looks import changed
from sim.display import Advance, Display
from sim.errors import OptionError
from sim.peers import PEERS_FOLDER, TrackerProcess, peers_python
from sim.tracking_data import Sequence as Video
from sim.tracking_data import read_sequences
from sim.tracking_scores import Scores, bootstrap_interval, score_boxes, score_claims

OURS = {"skyloop": "correlation", "skyloop+nano": "nano:{nano}"}
"""Ours, and what each is for `edge.opencv_trackers.open_short_term`."""

PEERS = ("csrt", "kcf", "mil", "nano")
TRACKERS = (*OURS, *PEERS)


@dataclass(frozen=True)
class TrackingBench:
    """What is measured.

    Attributes:
        data: folder of sequences.
        trackers: names out of `TRACKERS`.
        nano: folder of NanoTrack's weights.
        peers: the environment that `bench setup` made.
        threads: of each tracker.
        is_changing: follow harder videos of the same targets, see `sim.changing_looks`.
    """

    data: Path
    trackers: tuple[str, ...] = TRACKERS
    nano: Path = Path("../shared/data/peers/nanotrack_v2")
    peers: Path = PEERS_FOLDER
    threads: int = 1
    is_changing: bool = False


def bench_tracking(options: TrackingBench, display: Display) -> dict[str, Any]:
    """Success, precision and speed of every tracker.

    Args:
        options: what to measure.
        display: shows how far it is.

    Returns:
        `mean`: by tracker, means over sequences of `auc`, `p20`, `norm_precision`, `false_tracked`, `reacquire_s` (None
        where nothing was ever lost), `fps`, `requests_per_100` and `bytes` (0 for all that fly alone), and
        `auc_interval`, 95 %; `sequences`: the same by sequence and tracker.

    Raises:
        OptionError: an unknown tracker, or no target that is whole in every frame, where such are asked for.
        RecordError: a sequence is not whole.
        ProcessError: a tracker's process failed, or the peers' environment is not there.
    """
    unknown = sorted(set(options.trackers) - set(TRACKERS))
    if unknown or not options.trackers:
        raise OptionError(f"--trackers {','.join(unknown)!r}: is none of {', '.join(TRACKERS)}; choose among them")
    videos = _videos(options)
    total, done = sum(len(video.pictures) for video in videos), 0
    found: dict[str, dict[str, dict[str, float]]] = {}
    with ExitStack() as stack, display.stage("tracking", total) as advance:
        trackers = {name: stack.enter_context(_open(name, options)) for name in dict.fromkeys(options.trackers)}
        for video in videos:
            found[video.name] = _follow(video, trackers, partial(_advance, advance, done, video.name))
            done += len(video.pictures)
    return {
        "mean": {name: _mean([rows[name] for rows in found.values()]) for name in trackers},
        "sequences": found,
        "threads": options.threads,
    }


def _videos(options: TrackingBench) -> list[Video]:
    videos = read_sequences(options.data)
    if not options.is_changing:
        return videos
    harder: list[Video] = [video for video in map(changed, videos) if video is not None]
    if not harder:
        raise OptionError(f"--data {options.data}: no target is whole in every frame; render some, or leave --changing")
    return harder


def _advance(advance: Advance, before: int, name: str, frame: int) -> None:
    advance(before + frame, name)


def _open(name: str, options: TrackingBench) -> TrackerProcess:
    if name in OURS:
        spec = OURS[name].format(nano=options.nano)
        return TrackerProcess(name, ["ours", spec], None, options.threads)
    files = (
        [str(options.nano / f"nanotrack_{part}_sim.onnx") for part in ("backbone", "head")] if name == "nano" else []
    )
    missing = [file for file in files if not Path(file).is_file()]
    if missing:
        raise OptionError(f"--nano {options.nano}: {Path(missing[0]).name} is missing; give the folder of the weights")
    return TrackerProcess(name, [name, *files], peers_python(options.peers), options.threads)


def _follow(
    video: Video, trackers: Mapping[str, TrackerProcess], on_frame: Callable[[int], None]
) -> dict[str, dict[str, float]]:
    """Scores and speed of each tracker on one sequence."""
    names = list(trackers)
    boxes: dict[str, FloatArray] = {name: np.zeros((len(video.pictures), 4), np.float32) for name in names}
    claimed = {name: np.ones(len(video.pictures), np.bool_) for name in names}
    spent_s = dict.fromkeys(names, 0.0)
    for index in range(len(video.pictures)):
        image = video.image(index)
        # Nobody always comes first, when the picture is not yet in the cache.
        for name in names[index % len(names) :] + names[: index % len(names)]:
            if index == 0:
                boxes[name][0] = video.truth_xywh[0]
                trackers[name].start(image, video.truth_xywh[0].tolist())
            else:
                told = trackers[name].update(image)
                boxes[name][index], claimed[name][index] = told.box_xywh, told.is_claimed
                spent_s[name] += told.seconds
        on_frame(index + 1)
    frames = len(video.pictures) - 1
    return {
        name: _row(
            score_boxes(boxes[name], video.truth_xywh)
            | score_claims(boxes[name], video.truth_xywh, claimed[name], video.fps),
            frames / spent_s[name],
        )
        for name in names
    }


def _row(scores: Scores, fps: float) -> dict[str, Any]:
    rounded = {key: None if value is None else round(value, 4) for key, value in scores.items()}
    return rounded | {"fps": round(fps, 1), "requests_per_100": 0.0, "bytes": 0}


def _mean(rows: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Means over sequences, of those in which the target was there at all."""
    kept = [row for row in rows if not np.isnan(row["auc"])] or list(rows)
    mean: dict[str, Any] = {
        key: round(statistics.fmean(row[key] for row in kept), 4)
        for key in ("auc", "p20", "norm_precision", "false_tracked", "fps", "requests_per_100", "bytes")
    }
    spans = [row["reacquire_s"] for row in kept if row["reacquire_s"] is not None]
    mean["reacquire_s"] = round(statistics.fmean(spans), 4) if spans else None
    low, high = bootstrap_interval([row["auc"] for row in kept])
    return mean | {"auc_interval": [round(low, 4), round(high, 4)]}
