"""Writes rendered flights as tracking sequences: one picture folder, and one sequence folder for each target.

A sequence has the layout of common tracking benchmarks (`img/`, `groundtruth.txt` with x,y,w,h per line, `fps.txt`) and
beside it what only a renderer knows: how much of the target is visible, and how much of it others hide.
"""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from sim.dataset import write_image
from sim.scenes import Scene, training_world
from sim.world.layout import Look
from sim.world.truth import TruthObject

SHORTEST = 20
"""Frames in view from which a thing is a target."""

FRAMES_PER_WORLD, WORLD_FPS = 60, 15.0
"""Of a training set: each world is flown over for four seconds, not looked at eight times as in `dataset`."""

SMALLEST_PX = 8.0
IN_VIEW = 0.1
"""Visible share below which a target is absent: its line says 0,0,0,0."""


class _Seen(NamedTuple):
    """What is known about a target in one frame in which it meets the picture; the box in pixels."""

    frame: float
    visible: float
    occluded: float
    x1: float
    y1: float
    x2: float
    y2: float

    @property
    def is_in_view(self) -> bool:
        return self.visible >= IN_VIEW

    @property
    def is_whole(self) -> bool:
        return self.visible > 0.9 and min(self.x2 - self.x1, self.y2 - self.y1) >= SMALLEST_PX


@dataclass
class _Target:
    """One thing over the flight.

    Attributes:
        first: what it is.
        numbers: those of `_Seen`, frame after frame: a long flight sees hundreds of things in 100,000 frames.
    """

    first: TruthObject
    numbers: array[float] = field(default_factory=lambda: array("f"))

    def add(self, frame: int, seen: TruthObject) -> None:
        self.numbers.extend((frame, seen.visible, seen.occluded, *seen.box_xyxy))

    def seen(self) -> Iterator[_Seen]:
        width = len(_Seen._fields)
        return (_Seen(*self.numbers[at : at + width]) for at in range(0, len(self.numbers), width))


def render_tracks(
    scene: Scene, out_dir: Path, seconds: float, fps: float, *, on_frame: Callable[[int], None] | None = None
) -> int:
    """Renders a flight as one tracking sequence for every target that is in view for long enough.

    A sequence begins with the first frame in which its target is wholly in view and ends with the last frame in which
    it is in view; in between it may be hidden or outside.

    Args:
        scene: what to fly.
        out_dir: gets `frames/`, and `<label>-<object id>/` for each target.
        seconds: how long.
        fps: frames per second.
        on_frame: called with the number of frames done.

    Returns:
        How many targets there are.
    """
    pictures = out_dir / "frames"
    pictures.mkdir(parents=True, exist_ok=True)
    renderer = scene.renderer()
    targets: dict[int, _Target] = {}
    try:
        for index in range(round(seconds * fps)):
            image, truth = renderer.render(scene.flight.pose_at(index / fps), index / fps)
            write_image(pictures / f"{index:06d}.jpg", image)
            for seen in truth:
                targets.setdefault(seen.object_id, _Target(seen)).add(index, seen)
            if on_frame is not None:
                on_frame(index + 1)
    finally:  # a flight that is cut short keeps its sequences
        chosen = [(target, span) for target in targets.values() if (span := _span(target)) is not None]
        for target, span in chosen:
            _write_sequence(out_dir, target, span, fps)
    return len(chosen)


def render_training_tracks(
    out_dir: Path,
    frames: int,
    seed: int,
    looks: Sequence[Look | str],
    *,
    on_frame: Callable[[int], None] | None = None,
    **contents: bool,
) -> int:
    """Renders a short flight over each of many worlds as tracking sequences.

    Args:
        out_dir: gets a folder for each world, as `render_tracks` writes it.
        frames: how many images, over all worlds.
        seed: same arguments, same bytes.
        looks: worlds take them in turn; one given twice gets twice as many.
        on_frame: called with the number of frames done.
        contents: `novel`, `debris` and `bicycles` as for `training_scene`.

    Returns:
        How many targets there are.
    """
    targets = 0
    for first in range(0, frames, FRAMES_PER_WORLD):
        scene = training_world(seed, first // FRAMES_PER_WORLD, looks, **contents)
        folder = out_dir / f"{first // FRAMES_PER_WORLD:05d}-{scene.look.value}"
        seconds = min(FRAMES_PER_WORLD, frames - first) / WORLD_FPS
        told = None if on_frame is None else partial(_add_first, on_frame, first)
        targets += render_tracks(scene, folder, seconds, WORLD_FPS, on_frame=told)
    return targets


def _add_first(on_frame: Callable[[int], None], first: int, done: int) -> None:
    on_frame(first + done)


def _span(target: _Target) -> range | None:
    """The frames of a target's sequence; None when it is never whole, too small, or gone too soon."""
    whole = next((int(seen.frame) for seen in target.seen() if seen.is_whole), None)
    in_view = [int(seen.frame) for seen in target.seen() if seen.is_in_view]
    if whole is None or len(in_view) < SHORTEST or in_view[-1] - whole < SHORTEST:
        return None
    return range(whole, in_view[-1] + 1)


def _write_sequence(out_dir: Path, target: _Target, span: range, fps: float) -> None:
    folder = out_dir / f"{target.first.label.value}-{target.first.object_id:05d}"
    (folder / "img").mkdir(parents=True, exist_ok=True)
    frames = {int(seen.frame): seen for seen in target.seen()}
    boxes, visibility = [], []
    for number, index in enumerate(span):
        picture = folder / "img" / f"{number:06d}.jpg"
        picture.unlink(missing_ok=True)
        os.link(out_dir / "frames" / f"{index:06d}.jpg", picture)  # the same bytes, once on the disk
        seen = frames.get(index)
        boxes.append(_xywh(seen) if seen is not None and seen.is_in_view else "0,0,0,0")
        visibility.append(f"{seen.visible:.3f},{seen.occluded:.3f}" if seen is not None else "0,0")
    (folder / "groundtruth.txt").write_text("\n".join(boxes) + "\n")
    (folder / "visibility.txt").write_text("\n".join(visibility) + "\n")
    (folder / "fps.txt").write_text(f"{fps:g}\n")
    about = {"label": target.first.label.value, "name": target.first.name, "first_frame": span.start}
    (folder / "target.json").write_text(json.dumps(about) + "\n")


def _xywh(seen: _Seen) -> str:
    return ",".join(f"{v:.2f}" for v in (seen.x1, seen.y1, seen.x2 - seen.x1, seen.y2 - seen.y1))
