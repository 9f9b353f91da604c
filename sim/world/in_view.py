"""Which of a world's things a camera may see, and whose shadows may fall into its picture.

A rough look that must not miss anything: what is chosen is then projected, and left out where it misses the frame.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.arrays import FloatArray
from sim.craft.camera import Camera, CameraPose
from sim.world.batch import NEAREST_M
from sim.world.layout import World
from sim.world.lighting import Lighting
from sim.world.motion import MotionTable

FAINTEST_SHADOW = 0.97
"""Share of the light that is left: a shadow that takes less than 3 % is hardly seen and not worth its time."""

OVERHANG, OVERHANG_M = 1.15, 0.3
"""Models reach beyond the extents they are given: over two worlds of each landscape trucks by 12 % and 0.3 m, rubble by
9 % and 0.3 m; all others by less. Wakes, which reach farther, are drawn with their hulls only."""


class Circles(NamedTuple):
    """N balls that hold what may be seen.

    Attributes:
        middles: (N, 3) east, north, up in metres.
        reach_m: (N,) radii.
        lean_m: (N,) what stands before the view's edge may lean so far into it.
    """

    middles: FloatArray
    reach_m: FloatArray
    lean_m: FloatArray

    def of(self, rows: NDArray[np.intp]) -> Circles:
        """Some of them."""
        return Circles(self.middles[rows], self.reach_m[rows], self.lean_m[rows])


class Chosen(NamedTuple):
    """Numbers of things.

    Attributes:
        seen: those that may be in view, far to near.
        shading: those whose shadows may be in view, whether they are themselves or not.
    """

    seen: list[int]
    shading: list[int]


class InView:
    """Chooses among the things of one world in one light, for one camera."""

    def __init__(self, world: World, camera: Camera, lighting: Lighting) -> None:
        self._camera = camera
        self._motions = MotionTable([t.motion for t in world.things])
        self._appears_s = np.array([t.appears_s for t in world.things])
        self._half_m = np.array([t.half_m for t in world.things]).reshape(-1, 2)
        self._height_m = np.array([t.height_m for t in world.things])
        half_diagonal = np.hypot(self._half_m[:, 0], self._half_m[:, 1])
        self._reach_m = OVERHANG * np.hypot(half_diagonal, self._height_m / 2) + OVERHANG_M
        # A shadow lies between a thing's foot and that of its top, half of it on either side of its middle.
        self._cast = lighting.cast_matrix()[:2, 2]
        self._shadow_reach_m = OVERHANG * (half_diagonal + self._height_m * lighting.shadow_per_m / 2) + OVERHANG_M
        self._has_shadows = lighting.shadow_gain <= FAINTEST_SHADOW

    def places(self, time_s: float) -> FloatArray:
        """(N, 3) east, north in metres and heading in radians of all things."""
        return self._motions.at(time_s)

    def choose(self, pose: CameraPose, places: FloatArray, time_s: float) -> Chosen:
        """Whatever may be seen from a pose, of what is there at a time."""
        if not len(places):
            return Chosen([], [])
        corners = self._ground_in_view(pose)
        is_there = self._appears_s <= time_s
        bodies = Circles(np.column_stack([places[:, :2], self._height_m / 2]), self._reach_m, self._height_m)
        seen = self._meeting(pose, corners, bodies, is_there)
        shading = np.array([], dtype=np.intp)
        if self._has_shadows:
            middles = places[:, :2] + self._height_m[:, None] / 2 * self._cast
            flat = np.zeros(len(places))
            shadows = Circles(np.column_stack([middles, flat]), self._shadow_reach_m, flat)
            shading = self._meeting(pose, corners, shadows, is_there)
        return Chosen([int(i) for i in seen[self._far_to_near(pose, places[seen], seen)]], shading.tolist())

    def _far_to_near(self, pose: CameraPose, places: FloatArray, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """The painting order: along one line of sight, what begins nearer to the camera's foot hides the rest."""
        away = places[:, :2] - np.array([pose.east_m, pose.north_m])
        cos, sin = np.cos(places[:, 2]), np.sin(places[:, 2])
        along, across = away[:, 0] * cos + away[:, 1] * sin, away[:, 1] * cos - away[:, 0] * sin
        gaps = np.maximum(np.abs(np.stack([along, across], axis=1)) - self._half_m[rows], 0.0)
        return np.argsort(-np.hypot(gaps[:, 0], gaps[:, 1]), kind="stable")

    def _ground_in_view(self, pose: CameraPose) -> FloatArray | None:
        """(2, 4) east and north of the ground below the picture's corners; None where the horizon is in view."""
        width, height = self._camera.width, self._camera.height
        corners = np.array([[0, width, width, 0], [0, 0, height, height], [1, 1, 1, 1]], dtype=float)
        ground = np.linalg.inv(self._camera.ground_homography(pose)) @ corners
        return None if (ground[2] <= 0).any() else np.asarray(ground[:2] / ground[2], dtype=np.float64)

    def _meeting(
        self, pose: CameraPose, corners: FloatArray | None, circles: Circles, is_there: NDArray[np.bool_]
    ) -> NDArray[np.intp]:
        """Rows of the circles that may be in the picture."""
        near = is_there
        if corners is not None:  # much cheaper than to project all of them
            far = circles.reach_m + circles.lean_m
            for axis in (0, 1):
                place = circles.middles[:, axis]
                near = near & (place > corners[axis].min() - far) & (place < corners[axis].max() + far)
        rows = np.flatnonzero(near)
        return rows[self._is_inside(pose, circles.of(rows))]

    def _is_inside(self, pose: CameraPose, circles: Circles) -> NDArray[np.bool_]:
        """(N,) by distances from the planes that bound the view: unlike pixels, they hold behind the camera, too."""
        right, down, depth = pose.rotation @ (circles.middles - pose.position()).T
        inside = depth + circles.reach_m > NEAREST_M
        focal = self._camera.focal_px
        for away, half in ((right, self._camera.width / 2), (down, self._camera.height / 2)):
            inside &= np.abs(away) * focal < half * depth + math.hypot(focal, half) * circles.reach_m
        return np.asarray(inside, dtype=np.bool_)
