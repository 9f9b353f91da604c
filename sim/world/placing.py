"""Stands a world's things where they are: models made once, turned and lit once for each heading, then only moved."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from sim.arrays import FloatArray
from sim.world.layout import World
from sim.world.lighting import Lighting
from sim.world.mesh import Mesh


@dataclass(frozen=True)
class PlacedMesh:
    """A model standing in the world, in its light.

    Attributes:
        mesh: turned to its heading, about its own origin.
        points: (V, 3) east, north, up in metres.
        offsets: (F,) a camera at P sees the front of the faces where `mesh.spreads @ P` exceeds them.
        extremes: (E, 3) likewise.
        cast: (E, 3) where the extremes' shadows fall on level ground.
        colours: pixel values of each face, per layer.
    """

    mesh: Mesh
    points: FloatArray
    offsets: FloatArray
    extremes: FloatArray
    cast: FloatArray
    colours: list[list[list[float]]]

    def moved(self, shift: FloatArray) -> PlacedMesh:
        """The same, (3,) metres away on level ground."""
        return replace(
            self,
            points=self.points + shift,
            offsets=self.offsets + self.mesh.spreads @ shift,
            extremes=self.extremes + shift,
            cast=self.cast + shift,
        )


class Placer:
    """Places the things of one world in one light."""

    def __init__(self, world: World, lighting: Lighting) -> None:
        self._things, self._lighting = world.things, lighting
        self._made: dict[int, Mesh] = {}
        self._lit: dict[int, tuple[float, PlacedMesh]] = {}
        self._standing: dict[int, PlacedMesh] = {}

    def place(self, index: int, where: FloatArray) -> PlacedMesh:
        """Thing number `index` at (3,) east, north in metres and heading in radians."""
        standing = self._standing.get(index)
        if standing is not None:
            return standing
        east, north, heading = where.tolist()
        placed = self._turned(index, heading).moved(np.array([east, north, 0.0]))
        if self._things[index].is_static:
            self._standing[index] = placed
        return placed

    def _turned(self, index: int, heading: float) -> PlacedMesh:
        """The thing at the origin: most things that move keep their heading for long."""
        last_heading, placed = self._lit.get(index, (math.nan, None))
        if placed is None or heading != last_heading:
            mesh = self._mesh(index).turned(heading)
            layers = self._lighting.colours(mesh.bgr, mesh.heat, mesh.material, mesh.normals)
            placed = PlacedMesh(
                mesh=mesh,
                points=mesh.points,
                offsets=(mesh.spreads * mesh.points[mesh.starts]).sum(axis=1),
                extremes=mesh.extremes,
                cast=mesh.extremes @ self._lighting.cast_matrix().T,
                colours=[layer.tolist() for layer in layers],
            )
            self._lit[index] = heading, placed
        return placed

    def _mesh(self, index: int) -> Mesh:
        mesh = self._made.get(index)
        if mesh is None:
            mesh = self._made[index] = self._things[index].make()
        return mesh
