"""Small 3D models made of flat faces, each with a colour and a heat.

Local axes: x is forward, y is left, z is up; metres. Faces are listed in painting order, bottom up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from sim.arrays import Bytes, FloatArray
from sim.world.materials import Material

MAX_CORNERS = 40


@dataclass(frozen=True)
class Paint:
    """What a face looks like.

    Attributes:
        bgr: blue, green, red in [0, 255] under full light.
        heat: apparent temperature by day in [0, 1], 0 the coldest thing a thermal scene shows.
        material: what lies under the paint.
    """

    bgr: tuple[float, float, float]
    heat: float
    material: Material = Material.PAINT

    def scaled(self, gain: float, heat_shift: float = 0.0) -> Paint:
        """The same paint, lighter or darker, warmer or colder."""
        blue, green, red = (min(255.0, c * gain) for c in self.bgr)
        return Paint((blue, green, red), min(1.0, max(0.0, self.heat + heat_shift)), self.material)


@dataclass(frozen=True)
class PrismStyle:
    """How a prism's top and walls differ from its foot.

    Attributes:
        walls: paint of the walls; a darker shade of the top's when None.
        shrink: size of the top relative to the foot.
        shift_m: how far the top is moved along x and y.
        is_convex: False for outlines with dents.
    """

    walls: Paint | None = None
    shrink: float = 1.0
    shift_m: tuple[float, float] = (0.0, 0.0)
    is_convex: bool = True


@dataclass(frozen=True)
class Texture:
    """A square picture for one face.

    Attributes:
        bgr: (S, S, 3) uint8.
        heat: (S, S) uint8.
        alpha: (S, S) uint8; 0 where the face shows through.
        material: what it is painted on.
    """

    bgr: Bytes
    heat: Bytes
    alpha: Bytes
    material: Material = Material.PAINT


@dataclass(frozen=True)
class Mesh:
    """The faces of a model as arrays.

    Attributes:
        points: (V, 3) metres; the corners of face 0, then those of face 1, and so on.
        counts: (F,) corners of each face.
        starts: (F,) index of each face's first corner.
        bgr: (F, 3) colour.
        heat: (F,) heat.
        material: (F,) rows of `materials.TABLE`.
        solid: (F,) bool; True where the face belongs to the silhouette, False for painted-on detail.
        convex: (F,) bool.
        two_sided: (F,) bool; seen from behind, too.
        normals: (F, 3) outward unit normals; zero for faces seen from both sides.
        spreads: (F, 3) outward vectors as long as the faces' areas in square metres.
        textures: pictures of faces, by face index.
        extremes: (E, 3) the points that can lie on the outline, seen from anywhere.
        is_dented: the outline is that of its solid faces; False where it is (nearly) the convex hull of `extremes`.
    """

    points: FloatArray
    counts: NDArray[np.int32]
    starts: NDArray[np.int32]
    bgr: FloatArray
    heat: FloatArray
    material: NDArray[np.int64]
    solid: NDArray[np.bool_]
    convex: NDArray[np.bool_]
    two_sided: NDArray[np.bool_]
    normals: FloatArray
    spreads: FloatArray
    textures: dict[int, Texture]
    extremes: FloatArray
    is_dented: bool

    def turned(self, heading_rad: float) -> Mesh:
        """The same model about its upright axis, counter-clockwise from east."""
        cos, sin = math.cos(heading_rad), math.sin(heading_rad)
        turn = np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
        names = ("points", "normals", "spreads", "extremes")
        return replace(self, **{name: getattr(self, name) @ turn for name in names})


def _directions() -> FloatArray:
    """(240, 3) directions spread evenly over the sphere (Fibonacci lattice)."""
    k = np.arange(240) + 0.5
    z = 1.0 - 2.0 * k / 240
    turn = k * 2.399963  # golden angle
    across = np.sqrt(1.0 - z**2)
    return np.stack([across * np.cos(turn), across * np.sin(turn), z], axis=1)


DIRECTIONS = _directions()


def _extremes(points: FloatArray) -> FloatArray:
    chosen = np.unique((points @ DIRECTIONS.T).argmax(axis=0))
    extremes: FloatArray = points[chosen]
    return extremes


def _spreads(points: FloatArray, counts: NDArray[np.int32]) -> FloatArray:
    """(F, 3) area vectors by Newell's method: robust for any planar polygon."""
    ends = np.cumsum(counts)
    starts = ends - counts
    following = np.arange(1, len(points) + 1)
    following[ends - 1] = starts
    x, y, z = points.T
    next_x, next_y, next_z = points[following].T
    crossed = np.stack([y * next_z - z * next_y, z * next_x - x * next_z, x * next_y - y * next_x], axis=1)
    spreads: FloatArray = 0.5 * np.add.reduceat(crossed, starts)
    return spreads


class MeshBuilder:
    """Collects faces, bottom up, and makes a Mesh."""

    def __init__(self) -> None:
        self._points: list[FloatArray] = []
        self._paints: list[Paint] = []
        self._flags: list[tuple[bool, bool, bool]] = []
        self._textures: dict[int, Texture] = {}

    def face(self, points: FloatArray, paint: Paint, *, solid: bool = True, two_sided: bool = False) -> None:
        """Adds one flat convex face; corners run counter-clockwise seen from outside."""
        self._add(points, paint, (solid, True, two_sided))

    def area(self, points: FloatArray, paint: Paint, *, solid: bool = True) -> None:
        """Adds one flat face of any outline."""
        self._add(points, paint, (solid, False, False))

    def picture(self, corners: FloatArray, paint: Paint, texture: Texture) -> None:
        """Adds a textured quad, corners matching the picture's (0,0), (S,0), (S,S), (0,S); not in the silhouette."""
        self._textures[len(self._points)] = texture
        self._add(corners, paint, (False, True, True))

    def _add(self, points: FloatArray, paint: Paint, flags: tuple[bool, bool, bool]) -> None:
        if not 3 <= len(points) <= MAX_CORNERS:
            raise ValueError(f"a face has 3 to {MAX_CORNERS} corners, got {len(points)}")
        self._points.append(np.asarray(points, dtype=np.float64))
        self._paints.append(paint)
        self._flags.append(flags)

    def prism(
        self, outline: FloatArray, z_m: tuple[float, float], paint: Paint, style: PrismStyle | None = None
    ) -> None:
        """Adds walls and top of an upright prism.

        Args:
            outline: (N, 2) counter-clockwise.
            z_m: bottom and top.
            paint: of the top.
            style: walls and taper; upright walls a little darker than the top when absent.
        """
        style = style or PrismStyle()
        walls = style.walls or paint.scaled(0.9)
        centre = outline.mean(axis=0)
        low = at_height(outline, z_m[0])
        high = at_height((outline - centre) * style.shrink + centre + np.asarray(style.shift_m), z_m[1])
        self._walls(low, high, walls)
        self._add(high, paint, (True, style.is_convex, False))

    def solid(self, low: FloatArray, high: FloatArray, paint: Paint) -> None:
        """Adds a slab between two (N, 3) outlines of the same corner count; nobody sees its underside from above."""
        self._walls(low, high, paint.scaled(0.85))
        self.face(high, paint)

    def _walls(self, low: FloatArray, high: FloatArray, paint: Paint) -> None:
        """Adds the quads between two (N, 3) outlines."""
        following = [*range(1, len(low)), 0]
        for wall in np.stack([low, low[following], high[following], high], axis=1):
            self.face(wall, paint)

    def build(self, *, is_dented: bool = False) -> Mesh:
        """The collected faces as a Mesh; `is_dented` where the convex hull is not a good outline."""
        counts = np.array([len(points) for points in self._points], dtype=np.int32)
        flags = np.array(self._flags, dtype=bool)
        points = np.concatenate(self._points)
        spreads = _spreads(points, counts)
        normals = spreads / np.maximum(np.linalg.norm(spreads, axis=1), 1e-9)[:, None]
        normals[flags[:, 2]] = 0.0
        # A picture's corners lie outside what it shows, and a wake is not the ship.
        outlines = [p for p, is_solid in zip(self._points, flags[:, 0], strict=True) if is_solid]
        return Mesh(
            points=points,
            counts=counts,
            starts=(np.cumsum(counts) - counts).astype(np.int32),
            bgr=np.array([p.bgr for p in self._paints], dtype=np.float64),
            heat=np.array([p.heat for p in self._paints], dtype=np.float64),
            material=np.array([p.material for p in self._paints], dtype=np.int64),
            solid=flags[:, 0].copy(),
            convex=flags[:, 1].copy(),
            two_sided=flags[:, 2].copy(),
            normals=normals,
            spreads=spreads,
            textures=dict(self._textures),
            extremes=_extremes(np.concatenate(outlines)),
            is_dented=is_dented,
        )


def rectangle(x_m: tuple[float, float], y_m: tuple[float, float]) -> FloatArray:
    """(4, 2) counter-clockwise corners."""
    return np.array([[x_m[0], y_m[0]], [x_m[1], y_m[0]], [x_m[1], y_m[1]], [x_m[0], y_m[1]]], dtype=np.float64)


def ellipse(radii_m: Sequence[float], corners: int = 8, turn: float = 0.0) -> FloatArray:
    """(corners, 2) counter-clockwise points on an ellipse about the origin."""
    angles = turn + np.linspace(0.0, 2 * np.pi, corners, endpoint=False)
    return np.stack([radii_m[0] * np.cos(angles), radii_m[1] * np.sin(angles)], axis=1)


def at_height(outline: FloatArray, z_m: float) -> FloatArray:
    """(N, 3) the outline laid at one height."""
    points = np.empty((len(outline), 3))
    points[:, :2], points[:, 2] = outline, z_m
    return points


def hull_outline(points: FloatArray) -> FloatArray:
    """(M, 2) counter-clockwise convex hull of (N, 2) points."""
    hull = cv2.convexHull(points.astype(np.float32), clockwise=False)
    ordered = hull if cv2.contourArea(hull, oriented=True) > 0 else hull[::-1]
    return ordered[:, 0].astype(np.float64)
