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
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

from protocols.arrays import FloatArray, ImageArray
from sim.changing_looks import changed
from sim.display import Advance, Display
from sim.errors import OptionError
from sim.peers import PEERS_FOLDER, Followed, TrackerProcess, peers_python
from sim.tracking_cloud import CloudTracker, ToldTracker, Traffic
from sim.tracking_data import Sequence as Video
from sim.tracking_data import read_sequences
from sim.tracking_scores import Scores, bootstrap_interval, score_boxes, score_claims

OURS = {"skyloop": "correlation", "skyloop+nano": "nano:{nano}"}
"""Ours, and what each is for `edge.opencv_trackers.open_short_term`."""

PEERS = ("csrt", "kcf", "mil", "nano")
TRACKERS = (*OURS, *PEERS)

Cloud: TypeAlias = Literal["off", "teacher", "operator"]
"""Who answers: nobody, the teacher that comes with the package, or a person who sees where the target is."""

CONTROL, LEADER = "nano-reinit@operator", "skyloop+nano@operator"
"""The control hears what its leader is answered, in the frames in which that hears it."""
WITH_CLOUD: dict[Cloud, tuple[str, ...]] = {
    "off": (),
    "teacher": ("skyloop@teacher",),
    "operator": ("skyloop@operator", LEADER, CONTROL),
}


_COST = ("requests_per_100", "bytes", "bytes_up", "bytes_down")


class AnyTracker(Protocol):
    """A tracker's process, or several that work together."""

    def start(self, image: ImageArray, box_xywh: list[float]) -> float:
        """Begin a sequence; seconds that it took."""

    def update(self, image: ImageArray) -> Followed:
        """What is said of the next frame."""


def trackers_of(cloud: Cloud) -> tuple[str, ...]:
    """Every tracker that can be measured with that cloud, those that fly alone first."""
    return TRACKERS + WITH_CLOUD[cloud]


@dataclass(frozen=True)
class TrackingBench:
    """What is measured.

    Attributes:
        data: folder of sequences.
        trackers: names out of `trackers_of(cloud)`.
        cloud: who answers questions.
        delay_s: how long an answer takes, in the video's own time.
        nano: folder of NanoTrack's weights.
        peers: the environment that `bench setup` made.
        threads: of each tracker.
        is_changing: follow harder videos of the same targets, see `sim.changing_looks`.
    """

    data: Path
    trackers: tuple[str, ...] = TRACKERS
    cloud: Cloud = "off"
    delay_s: float = 1.0
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
        where nothing was ever lost), `fps`, `requests_per_100` and `bytes` (0 for all that fly alone; from edge to
        cloud and back together, beside them `bytes_up` and `bytes_down`), and `auc_interval`, 95 %; `sequences`: the
        same by sequence and tracker.

    Raises:
        OptionError: an unknown tracker, a control without its leader, or no target that is whole in every frame, where
            such are asked for.
        RecordError: a sequence is not whole.
        ProcessError: a tracker's process failed, or the peers' environment is not there.
    """
    _check(options)
    videos = _videos(options)
    total, done = sum(len(video.pictures) for video in videos), 0
    found: dict[str, dict[str, dict[str, float]]] = {}
    with ExitStack() as stack, display.stage("tracking", total) as advance:
        trackers = _open_all(options, stack)
        for video in videos:
            found[video.name] = _follow(video, trackers, partial(_advance, advance, done, video.name))
            done += len(video.pictures)
    return {
        "mean": {name: _mean([rows[name] for rows in found.values()]) for name in trackers},
        "sequences": found,
        "threads": options.threads,
        "cloud": options.cloud,
        "delay_s": options.delay_s,
    }


def _check(options: TrackingBench) -> None:
    if not options.delay_s >= 0:
        raise OptionError(f"--delay {options.delay_s:g}: is no time; give seconds from 0 on")
    if options.is_changing and options.cloud != "off":
        raise OptionError(
            f"--changing with --cloud {options.cloud}: who answers knows the videos as they are; drop one"
        )
    known = trackers_of(options.cloud)
    unknown = sorted(set(options.trackers) - set(known))
    if unknown or not options.trackers:
        asks = " (those with @ want --cloud)" if any("@" in name for name in unknown) else ""
        raise OptionError(f"--trackers {','.join(unknown)!r}: is none of {', '.join(known)}{asks}; choose among them")
    if CONTROL in options.trackers and LEADER not in options.trackers:
        raise OptionError(f"--trackers {CONTROL}: hears what {LEADER} is answered; name both")


def _open_all(options: TrackingBench, stack: ExitStack) -> dict[str, AnyTracker]:
    """The trackers by name; the control last, for it hears its leader."""
    opened: dict[str, AnyTracker] = {}
    for name in dict.fromkeys(options.trackers):
        if name != CONTROL:
            opened[name] = _open(name, options, stack)
    leader = opened.get(LEADER)
    if CONTROL in options.trackers and isinstance(leader, CloudTracker):
        process = TrackerProcess(CONTROL, ["nano-reinit", *_nano_files(options)], peers_python(options.peers), 1)
        opened[CONTROL] = stack.enter_context(ToldTracker(process, leader))
    return opened


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


def _open(name: str, options: TrackingBench, stack: ExitStack) -> AnyTracker:
    ours, _, cloud = name.partition("@")
    if ours in OURS:
        spec = OURS[ours].format(nano=options.nano)
        if not cloud:
            return stack.enter_context(TrackerProcess(name, ["ours", spec], None, options.threads))
        craft = TrackerProcess(name, ["tracker", spec], None, options.threads, module="tracking_asking")
        answerer = TrackerProcess(cloud, [cloud], None, options.threads, module="tracking_asking")
        return stack.enter_context(CloudTracker(craft, answerer, options.delay_s))
    files = _nano_files(options) if name == "nano" else []
    return stack.enter_context(TrackerProcess(name, [name, *files], peers_python(options.peers), options.threads))


def _nano_files(options: TrackingBench) -> list[str]:
    files = [options.nano / f"nanotrack_{part}_sim.onnx" for part in ("backbone", "head")]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise OptionError(f"--nano {options.nano}: {missing[0].name} is missing; give the folder of the weights")
    return [str(file) for file in files]


def _turns(names: Sequence[str], index: int) -> list[str]:
    """Who comes when: nobody always first, when the picture is not yet in the cache; the control after its leader."""
    turning = [name for name in names if name != CONTROL]
    order = turning[index % len(turning) :] + turning[: index % len(turning)]
    if CONTROL in names:
        order.insert(order.index(LEADER) + 1, CONTROL)
    return order


def _follow(
    video: Video, trackers: Mapping[str, AnyTracker], on_frame: Callable[[int], None]
) -> dict[str, dict[str, float]]:
    """Scores, speed and cost of each tracker on one sequence."""
    names = list(trackers)
    boxes: dict[str, FloatArray] = {name: np.zeros((len(video.pictures), 4), np.float32) for name in names}
    claimed = {name: np.ones(len(video.pictures), np.bool_) for name in names}
    spent_s = dict.fromkeys(names, 0.0)
    for tracker in trackers.values():
        if isinstance(tracker, CloudTracker):
            tracker.watch(video)
    for index in range(len(video.pictures)):
        image = video.image(index)
        for name in _turns(names, index):
            if index == 0:
                boxes[name][0] = video.truth_xywh[0]
                trackers[name].start(image, video.truth_xywh[0].tolist())
            else:
                told = trackers[name].update(image)
                boxes[name][index], claimed[name][index] = told.box_xywh, told.is_claimed
                spent_s[name] += told.seconds
        on_frame(index + 1)
    frames = len(video.pictures)
    return {
        name: _row(
            score_boxes(boxes[name], video.truth_xywh)
            | score_claims(boxes[name], video.truth_xywh, claimed[name], video.fps),
            (frames - 1) / spent_s[name],
        )
        | _cost(getattr(trackers[name], "traffic", Traffic()), frames)
        for name in names
    }


def _row(scores: Scores, fps: float) -> dict[str, Any]:
    rounded = {key: None if value is None else round(value, 4) for key, value in scores.items()}
    return rounded | {"fps": round(fps, 1)}


def _cost(traffic: Traffic, frames: int) -> dict[str, float]:
    return {
        "requests_per_100": round(100 * traffic.requests / frames, 3),
        "bytes": traffic.bytes_up + traffic.bytes_down,
        "bytes_up": traffic.bytes_up,
        "bytes_down": traffic.bytes_down,
    }


def _mean(rows: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Means over sequences, of those in which the target was there at all."""
    kept = [row for row in rows if not np.isnan(row["auc"])] or list(rows)
    mean: dict[str, Any] = {
        key: round(statistics.fmean(row[key] for row in kept), 4)
        for key in ("auc", "p20", "norm_precision", "false_tracked", "fps", *_COST)
    }
    spans = [row["reacquire_s"] for row in kept if row["reacquire_s"] is not None]
    mean["reacquire_s"] = round(statistics.fmean(spans), 4) if spans else None
    low, high = bootstrap_interval([row["auc"] for row in kept])
    return mean | {"auc_interval": [round(low, 4), round(high, 4)]}
