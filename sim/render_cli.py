"""`skyloop-sim render`: pictures with their truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sim.display import Display
from sim.errors import OptionError, OutputError
from sim.seed_option import parse_seed
from sim.world.layout import Look

if TYPE_CHECKING:
    from sim.scenes import Scene


OnFrame = Callable[[int], None]


class Mix(str, Enum):
    """Training sets by who learns from them."""

    STUDENT = "student"
    TEACHER = "teacher"


class Layout(str, Enum):
    """How a rendered flight is written."""

    COCO = "coco"
    TRACKING = "tracking"


@dataclass(frozen=True)
class Recording:
    """How a flight is recorded.

    Attributes:
        layout: of the files.
        look: of the sensor; None is the scenario's own.
        masks: write object ids and land cover.
    """

    layout: Layout
    look: Look | None
    masks: bool


def render(
    out: Annotated[Path, typer.Option(help="A new folder; a scenario of several craft gets one folder in it for each")],
    scenario: Annotated[
        str | None, typer.Argument(help="Name or file of a scenario; see skyloop-sim scenarios")
    ] = None,
    mix: Annotated[Mix | None, typer.Option(help="A training set of many worlds, in visible light and heat")] = None,
    frames: Annotated[int | None, typer.Option(min=1, max=200_000, help="How many; default the whole flight")] = None,
    layout: Annotated[
        Layout,
        typer.Option(
            "--as", help="Boxes in COCO, or one tracking sequence per target; of a mix, 60 frames of each world"
        ),
    ] = Layout.COCO,
    look: Annotated[
        Look | None, typer.Option(help="Another sensor than the scenario's, or the only one of a mix")
    ] = None,
    masks: Annotated[bool, typer.Option("--masks", help="Also object ids and land cover per pixel, as PNG")] = False,
    seed: Annotated[str, typer.Option(help="Same seed, same images")] = "1",
) -> None:
    """Render labelled images: the flights of a scenario, or a training set.

    The student's mix holds strange objects but neither debris nor bicycles; the teacher's holds all of them.

    One flight:    skyloop-sim render disaster --seed 3 --masks --out flight

    For trackers:  skyloop-sim render pursuit --as tracking --out chase

    Training set:  skyloop-sim render --mix student --frames 960 --seed 11 --out runs/renders/student
    """
    if (mix is None) == (scenario is None):
        raise OptionError("give one of a scenario's name (its flights) and --mix (a training set)")
    if layout is Layout.TRACKING and (masks or look is Look.MULTISPECTRAL):
        raise OptionError(
            "--as tracking writes JPEG pictures and boxes only; leave out --masks and --look multispectral"
        )
    if mix is not None and frames is None:
        raise OptionError("--mix has no end of its own; say how many images with --frames")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out}: is not empty; choose a new folder, or remove it first")
    how = Recording(layout, look, masks)
    number = parse_seed(seed)
    try:
        if mix is not None and frames is not None:
            written = _render_mix(mix, frames, number, out, how)
        elif scenario is not None:
            written = _render_scenario(scenario, frames, number, out, how)
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise OutputError(
            f"{out}: {reason}; what is there is kept, free some space or choose another --out for the rest"
        ) from exc
    typer.echo(f"{written} in {out}")


def _render_mix(mix: Mix, count: int, seed: int, out: Path, how: Recording) -> str:
    from sim.dataset import render_training_set
    from sim.tracks import SHORTEST, render_training_tracks

    if how.layout is Layout.TRACKING and count <= SHORTEST:
        raise OptionError(f"--frames {count}: a tracking sequence has more than {SHORTEST}; ask for more")
    is_teacher = mix is Mix.TEACHER
    # The student's visible light comes from renders alone, its heat also from real images.
    usual = (Look.RGB, Look.THERMAL) if is_teacher else (Look.RGB, Look.RGB, Look.THERMAL)
    looks = (how.look,) if how.look else usual
    contents = {"novel": True, "debris": is_teacher, "bicycles": is_teacher}
    with Display().stage(f"rendering {count} images", count) as advance:

        def on_frame(done: int) -> None:
            advance(done, "")

        if how.layout is Layout.TRACKING:
            targets = render_training_tracks(out, count, seed, looks, on_frame=on_frame, **contents)
            return f"{count} images with {targets} targets"
        render_training_set(out, count, seed, looks, masks=how.masks, on_frame=on_frame, **contents)
    return f"{count} images"


def _render_scenario(name: str, frames: int | None, seed: int, out: Path, how: Recording) -> str:
    from sim.scenario import find_scenario
    from sim.scene_plan import as_placed, scenes_of

    scenario = find_scenario(name)
    count = frames or scenario.frames
    if count > scenario.frames:
        raise OptionError(f"--frames {count}: {scenario.name} has {scenario.frames}; ask for at most {scenario.frames}")
    told, scenes = [], scenes_of(scenario, seed)
    as_placed(scenario, scenes[0].placed, Display().note)
    for craft, scene in zip(scenario.craft, scenes, strict=True):
        folder = out if len(scenario.craft) == 1 else out / craft.name
        with Display().stage(f"rendering {craft.name}", count) as advance:
            scene = replace(scene, look=how.look or scene.look)
            told.append(_write(scene, folder, (count, scenario.fps), how, lambda done: advance(done, "")))
    return ", ".join(told)


def _write(scene: Scene, folder: Path, span: tuple[int, float], how: Recording, on_frame: OnFrame) -> str:
    """Writes (frames, frames a second) of a scene."""
    from sim.dataset import render_sequence
    from sim.tracks import render_tracks

    count, fps = span
    seconds = count / fps
    if how.layout is Layout.TRACKING:
        targets = render_tracks(scene, folder, seconds, fps, on_frame=on_frame)
        return f"{count} images with {targets} targets"
    render_sequence(scene, folder, seconds, fps, masks=how.masks, on_frame=on_frame)
    (folder / "fps.txt").write_text(f"{fps:g}\n")
    return f"{count} images"
