"""Stands a world's things where they are: models made once, turned and lit once for each heading, then only moved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.world.layout import World
from sim.world.lighting import Lighting
from sim.world.mesh import Mesh

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class PlacedMesh:
    """A model standing in the world, in its light.

    Attributes:
        mesh: turned to its heading, about its own origin.
        points: (V, 3) east, north, up in metres.
        extremes: (E, 3) likewise.
        cast: (E, 3) where the extremes' shadows fall on level ground.
        colours: pixel values of each face, per layer.
    """

    mesh: Mesh
    points: FloatArray
    extremes: FloatArray
    cast: FloatArray
    colours: list[list[list[float]]]


class Placer:
    """Places the things of one world in one light."""

    def __init__(self, world: World, lighting: Lighting) -> None:
        self._things, self._lighting = world.things, lighting
        self._made: dict[int, Mesh] = {}
        self._lit: dict[tuple[int, float], PlacedMesh] = {}
        self._standing: dict[int, PlacedMesh] = {}

    def place(self, index: int, where: FloatArray) -> PlacedMesh:
        """Thing number `index` at (3,) east, north in metres and heading in radians."""
        standing = self._standing.get(index)
        if standing is not None:
            return standing
        east, north, heading = where.tolist()
        model, shift = self._turned(index, heading), np.array([east, north, 0.0])
        placed = PlacedMesh(model.mesh, model.points + shift, model.extremes + shift, model.cast + shift, model.colours)
        if self._things[index].is_static:
            self._standing[index] = placed
        return placed

    def _turned(self, index: int, heading: float) -> PlacedMesh:
        """The thing at the origin: most things that move keep to a few headings."""
        found = self._lit.get((index, heading))
        if found is None:
            mesh = self._mesh(index).turned(heading)
            layers = self._lighting.colours(mesh.bgr, mesh.heat, mesh.material, mesh.normals)
            cast = mesh.extremes @ self._lighting.cast_matrix().T
            found = PlacedMesh(mesh, mesh.points, mesh.extremes, cast, [layer.tolist() for layer in layers])
            self._lit[index, heading] = found
        return found

    def _mesh(self, index: int) -> Mesh:
        mesh = self._made.get(index)
        if mesh is None:
            mesh = self._made[index] = self._things[index].make()
        return mesh
