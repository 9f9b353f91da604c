"""Everything one frame shows, gathered into flat arrays in painting order."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from sim.arrays import FloatArray, IntArray
from sim.craft.camera import Camera, CameraPose
from sim.world.layout import Thing
from sim.world.placing import PlacedMesh

SHIFT = 4  # fractional bits of drawn coordinates
PAD_PX = 160  # the picture of numbers reaches this far beyond the frame, to measure what the frame cuts off
NEAREST_M = 1.0
TINY_SHARE = 1 / 400  # faces smaller than this share of all that a thing shows are not worth painting,
TINY_PX2 = (0.2, 2.5)  # within these limits in square pixels,
OUTLINE_TINIES = 2.5  # nor counting for the silhouette below so many times that limit,
DETAIL_PX2 = 4.0  # nor is painted-on detail below this


FARTHEST_PX = (-3000.0, 6000.0)
"""What lies farther from the frame than the largest picture is wide is moved to here: OpenCV's polygons overflow."""


def fixed_point(pixels: FloatArray) -> NDArray[np.int32]:
    """Pixels as OpenCV's fixed-point coordinates, in which whole numbers are pixel centres."""
    return np.round((np.clip(pixels, *FARTHEST_PX) - 0.5) * (1 << SHIFT)).astype(np.int32)


@dataclass(frozen=True)
class Faces:
    """The faces worth painting, far to near; equally long lists.

    Attributes:
        spans: slices into the batch's points.
        is_painted: in the frame; others only count for the silhouette.
        is_outline: counts for the silhouette: no painted-on detail, no splinter.
        is_convex: outline without dents.
        local: the face's number in its mesh.
    """

    spans: list[slice]
    is_painted: list[bool]
    is_outline: list[bool]
    is_convex: list[bool]
    local: list[int]


@dataclass(frozen=True)
class Batch:
    """One frame's things, far to near.

    Attributes:
        things: what is drawn.
        placed: their meshes in the world.
        faces: all faces worth painting.
        face_ranges: each thing's faces.
        pixels: (V, 2) projected points of all faces.
        fixed: the same in fixed point.
        hulls: fixed-point projections of each thing's extremes.
        bounds: (T, 4) boxes of the things' extremes, pixels, xyxy, not clipped.
    """

    things: list[Thing]
    placed: list[PlacedMesh]
    faces: Faces
    face_ranges: list[range]
    pixels: FloatArray
    fixed: NDArray[np.int32]
    hulls: list[NDArray[np.int32]]
    bounds: FloatArray

    def whole_per_padded(self, index: int, camera: Camera) -> float:
        """How much larger a thing's hull is than the part of it that the padded frame holds."""
        low, high = -float(PAD_PX), np.array([camera.width, camera.height]) + float(PAD_PX)
        hull = cv2.convexHull(self.hulls[index].astype(np.float32) / (1 << SHIFT) + 0.5)
        frame = np.array([[low, low], [high[0], low], high, [low, high[1]]], dtype=np.float32)
        held, _ = cv2.intersectConvexConvex(hull, frame)
        return max(cv2.contourArea(hull) / max(held, 1.0), 1.0)


@dataclass(frozen=True)
class Outlines:
    """Where some things lie in the frame, before any face is looked at.

    Attributes:
        hulls: fixed-point projections of each thing's extremes.
        bounds: (T, 4) boxes of the extremes, pixels, xyxy, not clipped.
        nearest_m: (T,) least depth along the optical axis; negative for what reaches behind the camera.
    """

    hulls: list[NDArray[np.int32]]
    bounds: FloatArray
    nearest_m: FloatArray


def _starts(lengths: list[int]) -> IntArray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def outline(extremes: list[FloatArray], camera: Camera, pose: CameraPose) -> Outlines:
    """Projects the extremes of some things, at least one."""
    edges = _starts([len(e) for e in extremes])
    pixels, depth = camera.project(pose, np.concatenate(extremes))
    fixed = fixed_point(pixels)
    low, high = np.minimum.reduceat(pixels, edges[:-1]), np.maximum.reduceat(pixels, edges[:-1])
    return Outlines(
        hulls=[fixed[a:b] for a, b in pairwise(edges.tolist())],
        bounds=np.concatenate([low, high], axis=1),
        nearest_m=np.minimum.reduceat(depth, edges[:-1]),
    )


def in_frame(outlines: Outlines, camera: Camera) -> list[int]:
    """Numbers of the outlines that meet the frame."""
    low, high = outlines.bounds[:, :2], outlines.bounds[:, 2:]
    meets = (high > 0).all(axis=1) & (low < np.array([camera.width, camera.height])).all(axis=1)
    return [int(i) for i in np.flatnonzero(meets & (outlines.nearest_m > NEAREST_M))]


def on_picture(outlines: Outlines, camera: Camera) -> tuple[list[int], list[int]]:
    """Numbers of the outlines that meet the frame, and of those whose pixels cannot tell: see `cut_to_picture`."""
    is_far = (outlines.bounds < FARTHEST_PX[0]).any(axis=1) | (outlines.bounds > FARTHEST_PX[1]).any(axis=1)
    is_cut = is_far | (outlines.nearest_m <= NEAREST_M)
    whole = [index for index in in_frame(outlines, camera) if not is_cut[index]]
    return whole, [int(i) for i in np.flatnonzero(is_cut)]


def cut_to_picture(points_m: FloatArray, camera: Camera, pose: CameraPose) -> FloatArray:
    """What the frame, and as much again around it, holds of the convex hull of points on the ground.

    Sutherland and Hodgman, "Reentrant polygon clipping", Communications of the ACM 17(1), 1974.

    Args:
        points_m: (N, 3) east, north, 0; they may lie behind the camera.
        camera: the optics.
        pose: of the camera.

    Returns:
        (M, 2) pixels of a convex polygon; M is 0 where nothing is left.
    """
    hull = cv2.convexHull(points_m[:, :2].astype(np.float32))[:, 0].astype(np.float64)
    corners = (np.column_stack([hull, np.zeros(len(hull))]) - pose.position()) @ pose.rotation.T
    for axis, side in enumerate((camera.width, camera.height)):
        for sign in (-1.0, 1.0):
            corners = _cut(corners, side * corners[:, 2] + sign * camera.focal_px * corners[:, axis])
    depth = np.maximum(corners[:, 2:], NEAREST_M)
    pixels: FloatArray = camera.focal_px * corners[:, :2] / depth + np.array([camera.width / 2, camera.height / 2])
    return pixels


def _cut(corners: FloatArray, inside: FloatArray) -> FloatArray:
    """(M, 3) the part of a polygon of (K, 3) corners where (K,) distances from a plane are not negative."""
    kept = []
    for here, there, a, b in zip(np.roll(corners, 1, axis=0), corners, np.roll(inside, 1), inside, strict=True):
        if (a >= 0) != (b >= 0):
            kept.append(here + (there - here) * (a / (a - b)))
        if b >= 0:
            kept.append(there)
    return np.array(kept).reshape(-1, 3)


@dataclass(frozen=True)
class _Shown:
    """Numbers of the faces worth painting, where each thing's begin among them, and which make its silhouette."""

    faces: IntArray
    firsts: IntArray
    is_outline: NDArray[np.bool_]


def _shown(placed: list[PlacedMesh], scale: FloatArray, position: FloatArray) -> _Shown:
    """Chooses faces.

    Args:
        placed: T things.
        scale: (T,) what turns square metres, seen from as many metres as they lie away, into square pixels.
        position: (3,) of the camera.
    """
    meshes = [p.mesh for p in placed]
    edges = _starts([len(m.counts) for m in meshes])
    # How much of a face's area vector points along the line of sight says how large it looks.
    towards = np.concatenate([m.spreads for m in meshes]) @ position - np.concatenate([p.offsets for p in placed])
    two_sided, solid = np.concatenate([m.two_sided for m in meshes]), np.concatenate([m.solid for m in meshes])
    areas = np.where(two_sided, np.abs(towards), towards) * np.repeat(scale, np.diff(edges))
    # What is seen large need not be complete to the last splinter.
    tiny = np.clip(np.add.reduceat(np.maximum(areas, 0.0), edges[:-1]) * TINY_SHARE, *TINY_PX2)
    tiny = np.repeat(tiny, np.diff(edges))
    faces = np.flatnonzero(areas > np.where(solid, tiny, DETAIL_PX2))
    is_outline = solid[faces] & (areas[faces] > OUTLINE_TINIES * tiny[faces])
    return _Shown(faces, np.searchsorted(faces, edges), is_outline)


def _faces(placed: list[PlacedMesh], shown: _Shown, camera: Camera, pose: CameraPose) -> tuple[Faces, FloatArray]:
    """The chosen faces, and the (V, 2) pixels of just their corners."""
    meshes = [p.mesh for p in placed]
    counts = np.concatenate([m.counts for m in meshes])
    sources, counts = (np.cumsum(counts) - counts)[shown.faces], counts[shown.faces]
    ends = np.cumsum(counts)
    starts = ends - counts
    corners = np.arange(counts.sum()) + np.repeat(sources - starts, counts)
    pixels, _ = camera.project(pose, np.concatenate([p.points for p in placed])[corners])
    edges = _starts([len(m.counts) for m in meshes])
    faces = Faces(
        spans=[slice(a, b) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)],
        is_painted=_in_picture(pixels, starts, camera).tolist(),
        is_outline=shown.is_outline.tolist(),
        is_convex=np.concatenate([m.convex for m in meshes])[shown.faces].tolist(),
        local=(shown.faces - np.repeat(edges[:-1], np.diff(shown.firsts))).tolist(),
    )
    return faces, pixels


def _in_picture(pixels: FloatArray, starts: IntArray, camera: Camera) -> NDArray[np.bool_]:
    """(F,) whether a face's box meets the frame; F may be 0."""
    inside = np.ones(len(starts), dtype=np.bool_)
    if len(starts):
        for axis, side in zip(np.ascontiguousarray(pixels.T), (camera.width, camera.height), strict=True):
            inside &= (np.maximum.reduceat(axis, starts) > 0) & (np.minimum.reduceat(axis, starts) < side)
    return inside


def gather(things: list[Thing], placed: list[PlacedMesh], camera: Camera, pose: CameraPose) -> Batch | None:
    """Projects and culls the faces of the things that meet the frame; they come far to near.

    Returns:
        None when nothing meets the frame.
    """
    if not things:
        return None
    outlines = outline([p.extremes for p in placed], camera, pose)
    kept = in_frame(outlines, camera)
    if not kept:
        return None
    things, placed = [things[i] for i in kept], [placed[i] for i in kept]
    scale = camera.focal_px**2 / outlines.nearest_m[kept] ** 3
    shown = _shown(placed, scale, pose.position())
    faces, pixels = _faces(placed, shown, camera, pose)
    ranges = [range(a, b) for a, b in pairwise(shown.firsts.tolist())]
    hulls = [outlines.hulls[i] for i in kept]
    return Batch(things, placed, faces, ranges, pixels, fixed_point(pixels), hulls, outlines.bounds[kept])
