"""Writes rendered flights as tracking sequences: one picture folder, and one sequence folder for each target.

A sequence has the layout of common tracking benchmarks (`img/`, `groundtruth.txt` with x,y,w,h per line, `fps.txt`) and
beside it what only a renderer knows: how much of the target is visible, and how much of it others hide.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sim.dataset import write_image
from sim.scenes import Scene
from sim.world.truth import TruthObject

SHORTEST = 20
"""Frames in view from which a thing is a target."""

SMALLEST_PX = 8.0
IN_VIEW = 0.1
"""Visible share below which a target is absent: its line says 0,0,0,0."""


@dataclass
class _Target:
    """One thing over the flight: what is known about it in each frame in which it meets the picture."""

    first: TruthObject
    frames: dict[int, TruthObject] = field(default_factory=dict)

    def in_view(self) -> list[int]:
        return [index for index, seen in self.frames.items() if seen.visible >= IN_VIEW]


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
    for index in range(round(seconds * fps)):
        image, truth = renderer.render(scene.flight.pose_at(index / fps), index / fps)
        write_image(pictures / f"{index:06d}.jpg", image)
        for seen in truth:
            targets.setdefault(seen.object_id, _Target(seen)).frames[index] = seen
        if on_frame is not None:
            on_frame(index + 1)
    chosen = [sequence for target in targets.values() if (sequence := _span(target)) is not None]
    for target, span in chosen:
        _write_sequence(out_dir, target, span, fps)
    return len(chosen)


def _span(target: _Target) -> tuple[_Target, range] | None:
    """The frames of a target's sequence; None when it is never whole, too small, or gone too soon."""
    whole = [i for i, seen in target.frames.items() if seen.visible > 0.9 and _side_px(seen) >= SMALLEST_PX]
    in_view = target.in_view()
    if not whole or len(in_view) < SHORTEST or in_view[-1] - whole[0] < SHORTEST:
        return None
    return target, range(whole[0], in_view[-1] + 1)


def _side_px(seen: TruthObject) -> float:
    x1, y1, x2, y2 = seen.box_xyxy
    return min(x2 - x1, y2 - y1)


def _write_sequence(out_dir: Path, target: _Target, span: range, fps: float) -> None:
    folder = out_dir / f"{target.first.label.value}-{target.first.object_id:05d}"
    (folder / "img").mkdir(parents=True, exist_ok=True)
    boxes, visibility = [], []
    for number, index in enumerate(span):
        picture = folder / "img" / f"{number:06d}.jpg"
        picture.unlink(missing_ok=True)
        os.link(out_dir / "frames" / f"{index:06d}.jpg", picture)  # the same bytes, once on the disk
        seen = target.frames.get(index)
        is_there = seen is not None and seen.visible >= IN_VIEW
        boxes.append(_xywh(seen) if seen is not None and is_there else "0,0,0,0")
        visibility.append(f"{seen.visible:.3f},{seen.occluded:.3f}" if seen is not None else "0,0")
    (folder / "groundtruth.txt").write_text("\n".join(boxes) + "\n")
    (folder / "visibility.txt").write_text("\n".join(visibility) + "\n")
    (folder / "fps.txt").write_text(f"{fps:g}\n")
    about = {"label": target.first.label.value, "name": target.first.name, "first_frame": span.start}
    (folder / "target.json").write_text(json.dumps(about) + "\n")


def _xywh(seen: TruthObject) -> str:
    x1, y1, x2, y2 = seen.box_xyxy
    return ",".join(f"{v:.2f}" for v in (x1, y1, x2 - x1, y2 - y1))
