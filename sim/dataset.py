"""Writes renders as data sets on disk: JPEG images with COCO annotations."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sim.arrays import Bytes
from sim.craft.camera import Camera, CameraPose
from sim.flat_map import to_degrees
from sim.scenes import Scene, training_world
from sim.world.layout import Label, LandCover, Look
from sim.world.render import Renderer
from sim.world.seeds import rng_for
from sim.world.truth import TruthObject

CATEGORIES = {label: number for number, label in enumerate(Label, start=1)}
JPEG_QUALITY = 92
IMAGES_PER_WORLD = 8
"""Of a training set: more would show the same things again, fewer would spend most of the time on painting worlds."""

IGNORE_BELOW_VISIBLE = 0.35
IGNORE_BELOW_PX = 4.0
COVER_INFO = {"land_cover": {str(cover.value): cover.name.lower() for cover in LandCover}}
"""Goes into `info` where there are masks: what the values in `cover/` mean."""


class CocoWriter:
    """Writes one COCO file; close it however the rendering ends.

    What comes goes to the disk at once: a set may be larger than memory. Annotations go straight to the file, under
    another name until it is complete; images wait in a line file beside it, to be put behind them at the end. So that
    end wants little room, and a full disk still gets a COCO file once the picture that filled it is gone.
    """

    def __init__(self, path: Path, **info: Any) -> None:  # noqa: ANN401 - JSON
        """Begin.

        Args:
            path: of the COCO file, in a folder that exists.
            info: of the data set as a whole.
        """
        self._path, self._counts = path, Counter[str]()
        self._file = path.with_name(f"{path.name}.part").open("w", encoding="utf-8")
        self._images = path.with_suffix(".images.jsonl").open("w+", encoding="utf-8")
        categories = [{"id": number, "name": label.value} for label, number in CATEGORIES.items()]
        head = json.dumps({"info": info, "categories": categories})
        self._file.write(f'{head[:-1]}, "annotations": [')

    def add(self, file: str, camera: Camera, truth: Sequence[TruthObject], **fields: Any) -> None:  # noqa: ANN401 - JSON
        """Adds one image with its boxes; `fields` go into the image's entry."""
        image_id = self._counts["images"] + 1
        size = {"width": camera.width, "height": camera.height}
        self._images.write(json.dumps({"id": image_id, "file_name": file, **size, **fields}) + "\n")
        self._counts["images"] = image_id
        for thing in truth:
            self._file.write(", " if self._counts["annotations"] else "")
            self._file.write(json.dumps(self._annotation(image_id, thing)))
            self._counts["annotations"] += 1

    def _annotation(self, image_id: int, thing: TruthObject) -> dict[str, Any]:
        x1, y1, x2, y2 = thing.box_xyxy
        width, height = x2 - x1, y2 - y1
        ignore = thing.visible < IGNORE_BELOW_VISIBLE or min(width, height) < IGNORE_BELOW_PX
        return {
            "id": self._counts["annotations"] + 1,
            "image_id": image_id,
            "category_id": CATEGORIES[thing.label],
            "bbox": [round(v, 2) for v in (x1, y1, width, height)],
            "area": round(width * height, 2),
            "iscrowd": 0,
            "ignore": int(ignore),
            "kind": thing.kind,
            "visible": round(thing.visible, 3),
            "occluded": round(thing.occluded, 3),
            "object_id": thing.object_id,
            "name": thing.name,
        }

    def close(self) -> None:
        """Completes the COCO file.

        Raises:
            OSError: the disk is full even for that; the parts are left as they are.
        """
        self._file.write('], "images": [')
        self._images.seek(0)
        for number, line in enumerate(self._images):
            self._file.write((", " if number else "") + line.rstrip("\n"))
        self._file.write("]}")
        self._file.close()
        self._images.close()
        Path(self._file.name).replace(self._path)
        Path(self._images.name).unlink()


def render_training_set(  # noqa: PLR0913 - every keyword is a content of the set
    out_dir: Path,
    frames: int,
    seed: int,
    looks: Sequence[Look | str],
    *,
    novel: bool,
    debris: bool,
    bicycles: bool,
    masks: bool = False,
    on_frame: Callable[[int], None] | None = None,
) -> None:
    """Renders images of many worlds of seven landscapes, eight of each, taking the looks in turn.

    Args:
        out_dir: gets `images/*.jpg` (multispectral: `.npy`) and `annotations.json`.
        frames: how many images, over all looks.
        seed: same arguments, same bytes.
        looks: worlds take them in turn; one given twice gets twice as many.
        novel: strange objects lie about.
        debris: rubble lies about.
        bicycles: bicycles stand and ride.
        masks: also write `ids/` and `cover/`, as for `render_sequence`, named like the images.
        on_frame: called with the number of frames done.
    """
    (Path(out_dir) / "images").mkdir(parents=True, exist_ok=True)
    with closing(CocoWriter(Path(out_dir) / "annotations.json", **(COVER_INFO if masks else {}))) as writer:
        for first in range(0, frames, IMAGES_PER_WORLD):
            number = first // IMAGES_PER_WORLD
            scene = training_world(seed, number, looks, novel=novel, debris=debris, bicycles=bicycles)
            renderer = scene.renderer()
            times = rng_for("training-times", scene.seed).uniform(0, scene.duration_s, IMAGES_PER_WORLD)
            for index in range(first, min(first + IMAGES_PER_WORLD, frames)):
                time_s = float(times[index - first])
                pose = scene.flight.pose_at(time_s)
                name = f"{index:06d}_{scene.look.value}.{_suffix(scene.look)}"
                truth = _write_frame(Path(out_dir), name, renderer, (pose, time_s), masks=masks)
                gsd_m = round(scene.camera.gsd_m(pose), 5)
                writer.add(name, scene.camera, truth, look=scene.look.value, world=scene.seed, gsd_m=gsd_m)
                if on_frame is not None:
                    on_frame(index + 1)


def render_sequence(
    scene: Scene,
    out_dir: Path,
    seconds: float,
    fps: float,
    *,
    masks: bool = False,
    on_frame: Callable[[int], None] | None = None,
) -> None:
    """Renders a scene's flight as numbered images, with poses and truth.

    Multispectral frames are written as `.npy` arrays, (H, W, 6) uint8 in the order of `materials.BAND_NAMES`.

    Args:
        scene: what to fly.
        out_dir: gets `images/`, `frames.jsonl` and `annotations.json`.
        seconds: how long.
        fps: frames per second.
        masks: also write `ids/` (16-bit PNG, object id per pixel) and `cover/` (PNG, `LandCover` per pixel).
        on_frame: called with the number of frames done.
    """
    (Path(out_dir) / "images").mkdir(parents=True, exist_ok=True)
    renderer = scene.renderer()
    coco = closing(CocoWriter(Path(out_dir) / "annotations.json", **(COVER_INFO if masks else {})))
    with coco as writer, (Path(out_dir) / "frames.jsonl").open("w", encoding="utf-8") as lines:
        for index in range(round(seconds * fps)):
            time_s = index / fps
            pose = scene.flight.pose_at(time_s)
            name = f"{index:06d}.{_suffix(scene.look)}"
            truth = _write_frame(Path(out_dir), name, renderer, (pose, time_s), masks=masks)
            writer.add(name, scene.camera, truth, time_s=time_s)
            record = {"file": f"images/{name}", "index": index, "time_s": time_s, "pose": pose_record(scene, pose)}
            lines.write(json.dumps(record) + "\n")
            if on_frame is not None:
                on_frame(index + 1)


def pose_record(scene: Scene, pose: CameraPose) -> dict[str, float]:
    """A pose in the words of `frames.jsonl`, on a small flat map about the world's origin."""
    lat_deg, lon_deg = to_degrees(pose.east_m, pose.north_m)
    return {
        "lat_deg": lat_deg,
        "lon_deg": lon_deg,
        "altitude_m": pose.up_m,
        "yaw_deg": pose.yaw_deg % 360.0,
        "pitch_deg": pose.pitch_deg,
        "roll_deg": pose.roll_deg,
        "gsd_m": scene.camera.gsd_m(pose),
    }


def _suffix(look: Look) -> str:
    return "npy" if look is Look.MULTISPECTRAL else "jpg"


def _write_frame(
    out_dir: Path, name: str, renderer: Renderer, when: tuple[CameraPose, float], *, masks: bool
) -> list[TruthObject]:
    """Writes the picture seen at (pose, seconds), with masks where asked for; returns its truth."""
    if not masks:
        image, truth = renderer.render(*when)
    else:
        view = renderer.view(*when)
        image, truth = view.image, view.objects
        for kind, picture in (("ids", view.ids), ("cover", view.cover)):
            (out_dir / kind).mkdir(exist_ok=True)
            write_image((out_dir / kind / name).with_suffix(".png"), picture)
    write_image(out_dir / "images" / name, image)
    return truth


def write_image(path: Path, image: Bytes | NDArray[np.uint16]) -> None:
    """Writes a picture: JPEG, PNG or, with the suffix `.npy`, an array.

    Raises:
        OSError: the disk is full or the folder is read-only.
    """
    try:
        if path.suffix == ".npy":
            np.save(path, image)
            return
        options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if path.suffix == ".jpg" else []
        if not cv2.imwrite(str(path), image, options):
            raise OSError(f"could not write {path}, the disk may be full or the folder read-only")
    except OSError:
        path.unlink(missing_ok=True)  # half a picture: its room is wanted for what is known about the whole ones
        raise
