"""Draws what a camera over the world sees, with the truth about it.

The ground is one picture warped into the frame. Things stand on it as flat faces, painted far to near.
A second picture of numbers, painted in the same order, says how much of each thing can be seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from sim.arrays import Bytes
from sim.craft.camera import Camera, CameraPose
from sim.errors import ScenarioError
from sim.world.batch import PAD_PX, SHIFT, Batch, cut_to_picture, fixed_point, gather, on_picture, outline
from sim.world.ground import paint_ground
from sim.world.in_view import InView
from sim.world.layout import Look, World
from sim.world.lighting import Lighting
from sim.world.painting import draw_picture
from sim.world.placing import PlacedMesh, Placer
from sim.world.sensor import Sensor, draw_traits, roughened
from sim.world.truth import TruthObject, View
from sim.world.weather import Weather

Numbers = NDArray[np.uint16]

SMALLEST_SIDE_PX = 1.0
"""Boxes narrower than a pixel show nothing that could be told from noise: they are no truth."""

MOST_NUMBERS = 65_535
"""What 16 bits tell apart: things in one frame, and objects in masks."""

OPEN_WORK_M = 9.0
"""What is dented and higher is mostly air."""


class Area(NamedTuple):
    """Pixels of one silhouette before others hide it.

    Attributes:
        whole: of all of it, as if the frame were larger.
        inside: those in the frame.
    """

    whole: float
    inside: int


def _is_open(placed: PlacedMesh) -> bool:
    """Whether light falls through."""
    return placed.mesh.is_dented and bool(placed.extremes[:, 2].max() > OPEN_WORK_M)


def _for_warping(layer: Bytes) -> Bytes:
    """The layer with a fourth channel where it has three: OpenCV warps such pictures faster."""
    return layer if layer.ndim == 2 else np.asarray(cv2.cvtColor(layer, cv2.COLOR_BGR2BGRA), dtype=np.uint8)


@dataclass(frozen=True)
class _Drawing:
    """A frame as drawn, before weather and sensor; the batch is None where nothing stands."""

    layers: list[Bytes]
    numbers: Numbers
    batch: Batch | None
    areas: list[Area]


class Renderer:
    """Renders frames of one world with one camera in one look; frames depend on pose and time only."""

    def __init__(
        self,
        world: World,
        camera: Camera,
        look: Look | str,
        metres_per_px: float = 0.1,
        *,
        is_rough: bool = False,
        is_scanner: bool = False,
    ) -> None:
        """Paints the ground and prepares the sensor.

        Args:
            world: what there is to see.
            camera: the optics.
            look: visible light, heat, six bands or radar.
            metres_per_px: sharpness of the ground.
            is_rough: the mount may shake, the exposure hunt, an encoder damage the pictures.
            is_scanner: a satellite's line of detectors draws the picture: no corner of it is darker, and pieces of one
                scene fit together.
        """
        self.world = world
        self.camera = camera
        self.look = Look(look)
        self._lighting = Lighting(world, self.look)
        ground = paint_ground(world, self.look, metres_per_px)
        self._cover, self._to_metres = ground.cover, np.linalg.inv(ground.from_metres())
        self._ground_layers = [_for_warping(self._lighting.lit_ground(layer)) for layer in ground.layers]
        self._numbers: Numbers = np.zeros((camera.height + 2 * PAD_PX, camera.width + 2 * PAD_PX), dtype=np.uint16)
        rng = world.rng("sensor")
        traits = draw_traits(rng, self.look)
        traits = roughened(traits, rng) if is_rough else traits
        traits = replace(traits, vignette=0.0) if is_scanner else traits
        self._sensor = Sensor(traits, self.look, (camera.height, camera.width), rng)
        self._weather = Weather(world, camera, self.look)
        self._placer = Placer(world, self._lighting)
        self._textures: dict[tuple[int, int], list[list[Bytes]]] = {}
        self._in_view = InView(world, camera, self._lighting)

    def render(self, pose: CameraPose, time_s: float) -> tuple[Bytes, list[TruthObject]]:
        """One frame.

        Returns:
            (H, W, 3) uint8 BGR (multispectral: (H, W, 6), see `materials.BAND_NAMES`), and the truth about every
            labelled thing whose silhouette meets the frame.

        Raises:
            ScenarioError: more is in view than can be numbered.
        """
        drawing = self._draw(pose, time_s)
        return self._expose(drawing, pose, time_s), self._truth(drawing)

    def view(self, pose: CameraPose, time_s: float) -> View:
        """One frame with everything that is known about it: masks and land cover, too.

        Raises:
            ScenarioError: the world holds more things than masks can tell apart.
        """
        if len(self.world.things) > MOST_NUMBERS:
            raise ScenarioError(
                f"masks: the world holds {len(self.world.things)} things, 16 bits number {MOST_NUMBERS}; lower "
                "world.half_m or what it holds per hectare, or render without masks"
            )
        drawing = self._draw(pose, time_s)
        numbers = drawing.numbers[PAD_PX:-PAD_PX, PAD_PX:-PAD_PX]
        things = drawing.batch.things if drawing.batch else []
        ids = np.array([0, *(t.object_id for t in things)], dtype=np.uint16)[numbers]
        cover = self._warp(self._cover, pose, cv2.INTER_NEAREST)
        covers = np.array([0, *(t.cover for t in things)], dtype=np.uint8)[numbers]
        cover = np.where(numbers > 0, covers, cover).astype(np.uint8)
        return View(self._expose(drawing, pose, time_s), self._truth(drawing), ids, cover)

    def _draw(self, pose: CameraPose, time_s: float) -> _Drawing:
        layers = [self._warp(layer, pose, cv2.INTER_LINEAR) for layer in self._ground_layers]
        numbers = self._numbers  # one picture for all frames: nobody looks at the last one any more
        numbers[:] = 0
        places = self._in_view.places(time_s)
        seen, shading = self._in_view.choose(pose, places, time_s)
        if len(seen) > MOST_NUMBERS:
            raise ScenarioError(
                f"{len(seen)} things are in view at once, a frame numbers {MOST_NUMBERS}; raise camera.focal_px or "
                "lower what the world holds per hectare"
            )
        placed = {i: self._placer.place(i, places[i]) for i in {*seen, *shading}}
        if shading:
            self._draw_shadows(layers, pose, [placed[i] for i in shading])
        batch = gather([self.world.things[i] for i in seen], [placed[i] for i in seen], self.camera, pose)
        areas = [] if batch is None else self._draw_things(layers, numbers, batch)
        return _Drawing(layers, numbers, batch, areas)

    def _expose(self, drawing: _Drawing, pose: CameraPose, time_s: float) -> Bytes:
        return self._sensor.expose([self._weather.over(layer, pose, time_s) for layer in drawing.layers], time_s)

    def _warp(self, picture: Bytes, pose: CameraPose, how: int) -> Bytes:
        """A picture of the ground as the camera sees it."""
        to_pixels = self.camera.ground_homography(pose)
        centre_of_pixel = np.array([[1.0, 0.0, -0.5], [0.0, 1.0, -0.5], [0.0, 0.0, 1.0]])
        matrix = centre_of_pixel @ to_pixels @ self._to_metres
        size = (self.camera.width, self.camera.height)
        warped = cv2.warpPerspective(picture, matrix, size, flags=how, borderMode=cv2.BORDER_REFLECT_101)
        if warped.ndim == 3:
            warped = cv2.cvtColor(warped, cv2.COLOR_BGRA2BGR)
        return np.asarray(warped, dtype=np.uint8)

    def _draw_shadows(self, layers: list[Bytes], pose: CameraPose, placed: list[PlacedMesh]) -> None:
        mask = np.zeros((self.camera.height, self.camera.width), dtype=np.uint8)
        shadows = outline([p.cast for p in placed], self.camera, pose)
        whole, cut = on_picture(shadows, self.camera)
        for index in whole:
            if _is_open(placed[index]):
                self._draw_open_shadow(mask, pose, placed[index])
            else:
                cv2.fillConvexPoly(mask, cv2.convexHull(shadows.hulls[index]), 255.0, cv2.LINE_8, SHIFT)
        for index in cut:
            self._draw_cut_shadow(mask, pose, placed[index])
        for layer in layers:
            cv2.copyTo(self._lighting.shaded(layer), mask, layer)

    def _draw_open_shadow(self, mask: Bytes, pose: CameraPose, placed: PlacedMesh) -> None:
        """The shadow of a crane or pylon, face by face: light falls through."""
        pixels, _ = self.camera.project(pose, placed.points @ self._lighting.cast_matrix().T)
        fixed = fixed_point(pixels)
        for start, count in zip(placed.mesh.starts.tolist(), placed.mesh.counts.tolist(), strict=True):
            cv2.fillConvexPoly(mask, cv2.convexHull(fixed[start : start + count]), 255.0, cv2.LINE_8, SHIFT)

    def _draw_cut_shadow(self, mask: Bytes, pose: CameraPose, placed: PlacedMesh) -> None:
        """What the picture holds of a shadow that reaches behind the camera, or too far for pixels."""
        parts = [placed.cast]
        if _is_open(placed):
            starts = placed.mesh.starts[1:].tolist()
            parts = np.split(placed.points @ self._lighting.cast_matrix().T, starts)
        for part in parts:
            pixels = cut_to_picture(part, self.camera, pose)
            if len(pixels):
                cv2.fillConvexPoly(mask, fixed_point(pixels), 255.0, cv2.LINE_8, SHIFT)

    def _draw_things(self, layers: list[Bytes], numbers: Numbers, batch: Batch) -> list[Area]:
        """Paints everything, far to near; returns the pixels of each silhouette before others hide it."""
        padded = batch.fixed + (PAD_PX << SHIFT)
        areas = []
        for index, thing in enumerate(batch.things):
            for number, layer in enumerate(layers):
                self._draw_faces(layer, number, batch, index)
            if batch.placed[index].mesh.is_dented:
                self._number_faces(numbers, padded, batch, index)
            else:
                hull = cv2.convexHull(batch.hulls[index] + (PAD_PX << SHIFT))
                cv2.fillConvexPoly(numbers, hull, index + 1, cv2.LINE_8, SHIFT)
            areas.append(self._areas(numbers, batch, index) if thing.label else Area(0.0, 0))
        return areas

    def _draw_faces(self, image: Bytes, layer: int, batch: Batch, index: int) -> None:
        faces, fixed, textures = batch.faces, batch.fixed, batch.placed[index].mesh.textures
        colours = batch.placed[index].colours[layer]
        for face in batch.face_ranges[index]:
            if not faces.is_painted[face]:
                continue
            span, local = faces.spans[face], faces.local[face]
            if local in textures:
                draw_picture(image, self._lit_texture(batch, index, local)[layer], batch.pixels[span])
            elif faces.is_convex[face]:
                cv2.fillConvexPoly(image, fixed[span], colours[local], cv2.LINE_AA, SHIFT)
            else:
                cv2.fillPoly(image, [fixed[span]], colours[local], cv2.LINE_AA, SHIFT)

    def _number_faces(self, numbers: Numbers, padded: NDArray[np.int32], batch: Batch, index: int) -> None:
        """Numbers what a dented thing covers, face by face."""
        faces = batch.faces
        for face in batch.face_ranges[index]:
            if not faces.is_outline[face]:
                continue
            if faces.is_convex[face]:
                cv2.fillConvexPoly(numbers, padded[faces.spans[face]], index + 1, cv2.LINE_8, SHIFT)
            else:
                cv2.fillPoly(numbers, [padded[faces.spans[face]]], index + 1, cv2.LINE_8, SHIFT)

    def _lit_texture(self, batch: Batch, index: int, local: int) -> list[list[Bytes]]:
        key = (batch.things[index].object_id, local)
        lit = self._textures.get(key)
        if lit is None:
            texture = batch.placed[index].mesh.textures[local]
            lit = self._textures[key] = self._lighting.lit_texture(texture)
        return lit

    def _areas(self, numbers: Numbers, batch: Batch, index: int) -> Area:
        """Pixels of a silhouette just drawn: all of it, and those in the frame."""
        x1, y1, x2, y2 = (int(v) for v in batch.bounds[index].tolist())
        rows, columns = slice(max(y1 - 2, -PAD_PX), y2 + 3), slice(max(x1 - 2, -PAD_PX), x2 + 3)
        drawn = numbers[
            rows.start + PAD_PX : max(rows.stop + PAD_PX, 0), columns.start + PAD_PX : max(columns.stop + PAD_PX, 0)
        ]
        is_own = drawn == index + 1
        area = int(np.count_nonzero(is_own))
        if (
            rows.start >= 0
            and columns.start >= 0
            and rows.stop <= self.camera.height
            and columns.stop <= self.camera.width
        ):
            return Area(area, area)
        inside = is_own[
            max(-rows.start, 0) : self.camera.height - rows.start,
            max(-columns.start, 0) : self.camera.width - columns.start,
        ]
        is_cut = min(x1, y1) < -PAD_PX or x2 > self.camera.width + PAD_PX or y2 > self.camera.height + PAD_PX
        whole = batch.whole_per_padded(index, self.camera) if is_cut else 1.0
        return Area(whole * area, int(np.count_nonzero(inside)))

    def _truth(self, drawing: _Drawing) -> list[TruthObject]:
        if drawing.batch is None:
            return []
        batch, frame = drawing.batch, drawing.numbers[PAD_PX:-PAD_PX, PAD_PX:-PAD_PX]
        size = np.array([self.camera.width, self.camera.height, self.camera.width, self.camera.height], dtype=float)
        boxes = np.clip(batch.bounds, 0.0, size).tolist()
        found = []
        for index, (thing, (area, inside)) in enumerate(zip(batch.things, drawing.areas, strict=True)):
            x1, y1, x2, y2 = boxes[index]
            if thing.label is None or area == 0 or min(x2 - x1, y2 - y1) < SMALLEST_SIDE_PX:
                continue
            rows, columns = slice(max(int(y1) - 1, 0), int(y2) + 2), slice(max(int(x1) - 1, 0), int(x2) + 2)
            seen = int(np.count_nonzero(frame[rows, columns] == index + 1))
            if seen:
                box, visible = (x1, y1, x2, y2), min(seen / area, 1.0)
                occluded = 1.0 - seen / max(inside, seen)
                found.append(
                    TruthObject(thing.object_id, thing.label, thing.kind, box, visible, seen, occluded, thing.name)
                )
        return found
