"""The scenes of a satellite's day: large GeoTIFFs in UTM, rendered in pieces, with the truth in the same coordinates.

Each scene is a world of its own, seen twice: the worlds lie side by side on the map, the middle of all of them at the
place. A world's east and north are the map's, so that the grid's own bend and scale (under 0.1 %) are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from edge.detection_map import crs_members
from edge.geojson import FeatureFile, feature
from sim.arrays import Bytes
from sim.craft.camera import Camera, CameraPose
from sim.dataset import IGNORE_BELOW_PX, IGNORE_BELOW_VISIBLE, CocoWriter
from sim.day.plan import DayPlan
from sim.day.settings import PlaceSettings, SatelliteDay, SceneSettings
from sim.errors import ScenarioError
from sim.scenes import MAX_GROUND_PX
from sim.world.incidents import Way, appear, proposer
from sim.world.landscapes import furnish_world, open_world
from sim.world.layout import Look, World
from sim.world.render import Renderer
from sim.world.seeds import rng_for
from sim.world.truth import TruthObject

PIECE_PX = 1024
"""Scenes are rendered in squares of this side, a multiple of the TIFF's blocks."""

BLOCK_PX = 256
_JPEG_QUALITY = 92
_OVERVIEWS = [2, 4, 8, 16]

HEIGHT_M = 520_000.0
"""Of the camera: so high that walls do not lean, as in an orthorectified scene."""

_MARGIN_M = 20.0
"""Of world beyond the scene, for what casts its shadow into it."""

TRUTH = "truth.geojson"

OnPiece = Callable[[int], None]


@dataclass(frozen=True)
class MapPlace:
    """Where scenes lie on the map.

    Attributes:
        crs: of UTM, such as `EPSG:32633`.
        east_m, north_m: of the middle of all scenes.
    """

    crs: str
    east_m: float
    north_m: float

    def corner_m(self, scene: SceneSettings, number: int) -> tuple[float, float]:
        """East and north of the upper left corner of a scene, from 0 in the west."""
        west_m = self.east_m + (number - scene.count / 2) * scene.side_m
        return west_m, self.north_m + scene.side_m / 2


def map_place(place: PlaceSettings) -> MapPlace:
    """The place in the UTM zone that it lies in, to the metre.

    Raises:
        ScenarioError: rasterio is not installed.
    """
    _require_rasterio()
    from rasterio.warp import transform

    zone = math.floor((place.lon_deg + 180) / 6) + 1
    crs = f"EPSG:{(32_600 if place.lat_deg >= 0 else 32_700) + zone}"
    east, north = transform("OGC:CRS84", crs, [place.lon_deg], [place.lat_deg])[:2]
    return MapPlace(crs, float(round(east[0])), float(round(north[0])))


def _require_rasterio() -> None:
    try:
        import rasterio  # noqa: F401 - only whether it is there
    except ImportError as exc:
        raise ScenarioError("a satellite's scenes are GeoTIFFs; pip install 'skyloop[geo]'") from exc


def scene_name(number: int) -> str:
    """File name of a scene, from 0 in the west."""
    return f"scene-{number + 1}.tif"


def render_day(flight: Path, day: SatelliteDay, plan: DayPlan, seed: int, on_piece: OnPiece = lambda _: None) -> None:
    """Render both overpasses: `overpass-1` and `overpass-2`, each with its scenes, `annotations.json` and truth.

    Args:
        flight: folder that gets both.
        day: what is to be seen.
        plan: when.
        seed: same day and seed, same pictures.
        on_piece: called with the number of pieces done, of `count_pieces`.

    Raises:
        ScenarioError: rasterio is not installed.
        OSError: the disk is full.
    """
    where, folders = map_place(day.place), [flight / f"overpass-{number}" for number in (1, 2)]
    writers = []
    for folder in folders:
        folder.mkdir(parents=True)
        writers.append(OverpassWriter(folder, day.scene, where))
    done = 0
    for number in range(day.scene.count):
        world = _world(day, plan, seed, number)
        renderer = _renderer(world, day.scene)
        for overpass, writer in enumerate(writers):
            at_s = plan.imaged_s(overpass) - plan.imaged_s(0)
            with writer.scene(number, plan.utc(plan.imaged_s(overpass))) as scene:
                for piece in pieces_of(day.scene.side_px):
                    scene.add(piece, *renderer.render(pose_over(piece, day.scene), at_s))
                    done += 1
                    on_piece(done)
    for writer in writers:
        writer.close()


def count_pieces(day: SatelliteDay) -> int:
    """Pieces that are rendered in a day."""
    return 2 * day.scene.count * sum(1 for _ in pieces_of(day.scene.side_px))


def pieces_of(side_px: int) -> Iterator[tuple[int, int]]:
    """Left and top of each piece; the last of a row or column may reach beyond the scene."""
    for top in range(0, side_px, PIECE_PX):
        for left in range(0, side_px, PIECE_PX):
            yield left, top


def pose_over(piece: tuple[int, int], scene: SceneSettings) -> CameraPose:
    """A camera straight above a piece's middle, north up; the world's origin is the scene's middle."""
    left, top = piece
    east_m = (left + PIECE_PX / 2 - scene.side_px / 2) * scene.gsd_m
    north_m = (scene.side_px / 2 - top - PIECE_PX / 2) * scene.gsd_m
    return CameraPose(east_m, north_m, HEIGHT_M, 0.0, -90.0, 0.0)


def _world(day: SatelliteDay, plan: DayPlan, seed: int, number: int) -> World:
    """The world of one scene, at the place's local hour; strange things are of one kind in all of them."""
    utc = plan.utc(plan.imaged_s(0))
    hour = (utc.hour + utc.minute / 60 + day.place.lon_deg / 15) % 24
    settings = day.world.model_copy(
        update={
            "half_m": day.scene.side_m / 2 + _MARGIN_M,
            "hour": hour if day.world.hour is None else day.world.hour,
        }
    )
    town = open_world(f"{day.name}-{number}", seed, settings)
    later_s = plan.imaged_s(1) - plan.imaged_s(0)
    for when, (count, at_s) in enumerate([(day.strange.at_first, 0.0), (day.strange.later, later_s)]):
        # The kind is the first thing that is drawn: one generator's for all scenes and both times.
        places = proposer(town, "anywhere", _NOWHERE, at_s, rng_for("strange-places", seed, 2 * number + when))
        if count and not appear(town, "novel", places, count, at_s, rng_for("strange", seed)):
            raise ScenarioError(f"strange: no room for any of {count} in scene {number + 1}; choose another seed")
    furnish_world(town, settings)
    return town.world


_NOWHERE = Way(lambda _: (0.0, 0.0), 1.0, 1.0, 1.0)
"""No craft flies low over these worlds."""


def _renderer(world: World, scene: SceneSettings) -> Renderer:
    camera = Camera(HEIGHT_M / scene.gsd_m, PIECE_PX, PIECE_PX)
    sharpness = max(0.9 * scene.gsd_m, 2 * world.half_m / MAX_GROUND_PX)
    return Renderer(world, camera, Look.RGB, sharpness, is_scanner=True)


class OverpassWriter:
    """The scenes of one overpass with their truth."""

    def __init__(self, folder: Path, scene: SceneSettings, where: MapPlace) -> None:
        """Begin.

        Args:
            folder: gets the files.
            scene: sizes.
            where: the scenes lie.
        """
        self.folder, self.settings, self.where = folder, scene, where
        self.coco = CocoWriter(folder / "annotations.json")
        self.truth = FeatureFile(folder / TRUTH)

    def scene(self, number: int, at: datetime) -> closing[SceneWriter]:
        """Writes one scene; use as a context manager."""
        return closing(SceneWriter(self, number, at))

    def close(self) -> None:
        """Complete the truth."""
        self.coco.close()
        self.truth.close()


class SceneWriter:
    """One scene, written piece by piece."""

    def __init__(self, overpass: OverpassWriter, number: int, at: datetime) -> None:
        """Open the GeoTIFF.

        Args:
            overpass: that it is of.
            number: from 0 in the west.
            at: when it was taken.
        """
        import rasterio
        from rasterio.transform import Affine

        self._overpass, self._number, self._at = overpass, number, at
        self._found: dict[int, list[TruthObject]] = {}
        side, gsd_m = overpass.settings.side_px, overpass.settings.gsd_m
        west_m, north_m = overpass.where.corner_m(overpass.settings, number)
        how = {"compress": "jpeg", "photometric": "ycbcr", "jpeg_quality": _JPEG_QUALITY, "tiled": True}
        self._file = rasterio.open(
            overpass.folder / scene_name(number), "w", driver="GTiff", width=side, height=side, count=3, dtype="uint8",
            crs=overpass.where.crs, transform=Affine(gsd_m, 0, west_m, 0, -gsd_m, north_m),
            blockxsize=BLOCK_PX, blockysize=BLOCK_PX, **how,
        )  # fmt: skip
        self._file.update_tags(TIFFTAG_DATETIME=f"{at:%Y:%m:%d %H:%M:%S}")

    def add(self, piece: tuple[int, int], image: Bytes, truth: list[TruthObject]) -> None:
        """One rendered piece, (PIECE_PX, PIECE_PX, 3) BGR, and what is in it."""
        left, top = piece
        side = self._overpass.settings.side_px
        width, height = min(PIECE_PX, side - left), min(PIECE_PX, side - top)
        rows, columns = (top, top + height), (left, left + width)
        colours = np.moveaxis(image[:height, :width, ::-1], -1, 0)
        self._file.write(np.ascontiguousarray(colours), window=(rows, columns))
        for thing in truth:
            if (moved := _in_scene(thing, (left, top), side)) is not None:
                self._found.setdefault(thing.object_id, []).append(moved)

    def close(self) -> None:
        """Finish the file, and write the scene's truth."""
        from rasterio.enums import Resampling

        overpass = self._overpass
        self._file.build_overviews(_OVERVIEWS, Resampling.average)
        self._file.close()
        things = [joined(parts) for parts in self._found.values()]
        side = overpass.settings.side_px
        camera = Camera(HEIGHT_M / overpass.settings.gsd_m, side, side)
        overpass.coco.add(
            scene_name(self._number), camera, things, gsd_m=overpass.settings.gsd_m, world=self._number
        )  # fmt: skip
        overpass.truth.add([self._feature(thing) for thing in things], crs_members(overpass.where.crs, "truth"))

    def _feature(self, thing: TruthObject) -> bytes:
        gsd_m = self._overpass.settings.gsd_m
        west_m, north_m = self._overpass.where.corner_m(self._overpass.settings, self._number)
        x1, y1, x2, y2 = thing.box_xyxy
        west, east, south, north = west_m + x1 * gsd_m, west_m + x2 * gsd_m, north_m - y2 * gsd_m, north_m - y1 * gsd_m
        ring = [(west, north), (west, south), (east, south), (east, north), (west, north)]
        geometry = {"type": "Polygon", "coordinates": [[[round(value, 3) for value in point] for point in ring]]}
        properties = {
            "label": thing.label.value, "name": thing.name, "object_id": thing.object_id,
            "scene": scene_name(self._number), "visible": round(thing.visible, 3), "ignore": is_ignored(thing),
        }  # fmt: skip
        return feature(f"{self._number + 1}-{thing.object_id}", geometry, properties)


def is_ignored(thing: TruthObject) -> bool:
    """Too well hidden or too small to count for or against anybody."""
    x1, y1, x2, y2 = thing.box_xyxy
    return thing.visible < IGNORE_BELOW_VISIBLE or min(x2 - x1, y2 - y1) < IGNORE_BELOW_PX


def _in_scene(thing: TruthObject, corner: tuple[int, int], side_px: int) -> TruthObject | None:
    """What is seen in a piece, in pixels of the scene; None where it lies beyond the scene's border."""
    box = np.asarray(thing.box_xyxy) + np.tile(corner, 2)
    x1, y1, x2, y2 = np.clip(box, 0.0, side_px).tolist()
    if min(x2 - x1, y2 - y1) <= 0.0:
        return None
    whole = (thing.box_xyxy[2] - thing.box_xyxy[0]) * (thing.box_xyxy[3] - thing.box_xyxy[1])
    share = (x2 - x1) * (y2 - y1) / whole  # of what the last piece of a row shows beyond the scene's border
    return TruthObject(
        thing.object_id, thing.label, thing.kind, (x1, y1, x2, y2), thing.visible * share,
        round(thing.area_px * share), thing.occluded, thing.name,
    )  # fmt: skip


def joined(parts: list[TruthObject]) -> TruthObject:
    """One thing that the border between pieces cut."""
    boxes = np.array([part.box_xyxy for part in parts])
    x1, y1 = boxes[:, :2].min(axis=0).tolist()
    x2, y2 = boxes[:, 2:].max(axis=0).tolist()
    area_px = sum(part.area_px for part in parts)
    occluded = sum(part.occluded * part.area_px for part in parts) / max(area_px, 1)
    visible = min(sum(part.visible for part in parts), 1.0)
    first = parts[0]
    return TruthObject(
        first.object_id, first.label, first.kind, (x1, y1, x2, y2), visible, area_px, occluded, first.name
    )
