"""The legs of one craft's flight: a program that is started again flies on from a later frame."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sim.record import FlownFrame, read_frames, read_summary

LEAST_FOR_P99 = 20
_OF_A_LEG = ("detections.jsonl", "detections.geojson", "summary.json", "video.mp4")


@dataclass(frozen=True)
class Leg:
    """One start of an edge program.

    Attributes:
        first: index of its first frame in the whole flight.
        source: folder that it flies.
    """

    first: int
    source: Path


def put_leg_aside(edge: Path, number: int) -> None:
    """Rename what a leg left, before the next one overwrites it: `detections.jsonl` to `detections.1.jsonl`."""
    for name in _OF_A_LEG:
        if (edge / name).exists():
            (edge / name).replace(_aside(edge / name, number))


def leg_source(flight: Path, leg: int, first: int = 0, speed: float = 1.0) -> Path:
    """A folder with the frames of a flight from one on, as a source that begins at second 0.

    Args:
        flight: as rendered, which stays as it is; it is the source itself where nothing differs.
        leg: number of the leg, from 1.
        first: index of its first frame.
        speed: seconds of flight in one second of the source.
    """
    if first == 0 and speed == 1.0:
        return flight
    folder = flight / "legs" / str(leg)
    (folder / "images").mkdir(parents=True)
    records = [json.loads(line) for line in (flight / "frames.jsonl").read_text().splitlines()][first:]
    begin_s = records[0]["time_s"]
    for record in records:
        os.link(flight / record["file"], folder / record["file"])
        record["time_s"] = (record["time_s"] - begin_s) / speed
    (folder / "frames.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (folder / "fps.txt").write_text(f"{float((flight / 'fps.txt').read_text()) * speed:g}\n")
    return folder


def flown_frames(edge: Path, legs: Sequence[Leg], fps: float, speed: float = 1.0) -> list[FlownFrame]:
    """The frames of all legs, with their index and times in the whole flight.

    Args:
        edge: the craft's output folder.
        legs: of its flight.
        fps: frames in a second of flight.
        speed: seconds of flight in one second.

    Raises:
        RecordError: a leg left none.
    """
    frames: list[FlownFrame] = []
    for number, leg in enumerate(legs, start=1):
        path = _of_leg(edge / "detections.jsonl", number, legs)
        frames += [
            replace(
                frame,
                index=frame.index + leg.first,
                time_s=frame.time_s * speed + leg.first / fps,
                clock_s=frame.clock_s * speed + leg.first / fps,
                leg=number,
            )
            for frame in read_frames(path)
        ]
    return frames


def joined_summary(edge: Path, legs: Sequence[Leg], speed: float = 1.0) -> dict[str, Any]:
    """The last leg's summary with counts, frame rate and loops of all legs, times in seconds of flight.

    `loop_ms` has no p99 where there are fewer than `LEAST_FOR_P99` loops: it would be the slowest one by another name.

    Args:
        edge: the craft's output folder.
        legs: of its flight.
        speed: seconds of flight in one second.

    Raises:
        RecordError: a leg left none.
    """
    all_legs = [read_summary(_of_leg(edge / "summary.json", n, legs)) for n in range(1, len(legs) + 1)]
    counts = {name: _added([summary[name] or {} for summary in all_legs]) for name in ("cases", "link")}
    frames = sum(int(summary["frames"]) for summary in all_legs)
    loops = [{**loop, "ms": round(loop["ms"] * speed, 1)} for summary in all_legs for loop in summary["loops"]]
    times = {"fps": _joined_fps(all_legs, speed), "loops": loops, "loop_ms": _loop_ms([loop["ms"] for loop in loops])}
    return {**all_legs[-1], **counts, "frames": frames, **times}


def _joined_fps(all_legs: Sequence[Mapping[str, Any]], speed: float) -> float | None:
    """Frames over seconds of flight, the time between legs left out; None where no leg has two frames."""
    flown = [(int(summary["frames"]) - 1, float(summary["fps"])) for summary in all_legs if summary["fps"]]
    return round(sum(n for n, _ in flown) / sum(n / fps for n, fps in flown) / speed, 2) if flown else None


def _loop_ms(loops_ms: Sequence[float]) -> dict[str, float | None]:
    def percentile(share: float, least: int) -> float | None:
        return round(float(np.percentile(loops_ms, share)), 1) if len(loops_ms) >= least else None

    return {"count": len(loops_ms), "p50": percentile(50, 1), "p99": percentile(99, LEAST_FOR_P99)}


def _added(counts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sums of whole numbers; anything else is the last one's."""
    return {
        name: sum(int(count.get(name, 0)) for count in counts) if type(value) is int else value
        for name, value in counts[-1].items()
    }


def _of_leg(path: Path, number: int, legs: Sequence[Leg]) -> Path:
    return path if number == len(legs) else _aside(path, number)


def _aside(path: Path, number: int) -> Path:
    return path.with_suffix(f".{number}{path.suffix}")
