"""Georeferenced rasters through rasterio (extra `geo`): read by windows, with metres per pixel.

Any TIFF that says where it lies, has more than four bands or is too large to decode at once counts as a raster; other
TIFFs are ordinary images and need no rasterio.
"""

from __future__ import annotations

import contextlib
import math
import struct
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

from edge.bundle import BGR
from edge.errors import CaptureError, DecodeError
from edge.ground import radii_of_curvature
from protocols.arrays import AnyImage, ImageArray
from protocols.limits import MAX_FRAME_SIDE_PX
from protocols.values import Pose

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

MAX_WHOLE_PIXELS = 16 * 1024 * 1024
"""A raster of more is read by windows; 48 MB in colour."""

_TIFF_SUFFIXES = (".tif", ".tiff")
# TIFF 6.0, section 8, and OGC 19-008r4 (GeoTIFF 1.1), annex B: ModelPixelScale, ModelTransformation, GeoKeyDirectory.
_WIDTH, _HEIGHT, _SAMPLES, _GEO_TAGS = 256, 257, 277, {33550, 34264, 34735}
_MOST_TAGS = 4096
_MOST_PLAIN_BANDS = 4

_CACHE_BYTES = 32 * 1024 * 1024
"""GDAL would take a twentieth of the memory for decoded blocks: more than the whole agent may use on a small craft.

rasterio takes bytes, where GDAL's own option takes megabytes below 100,000: with 32 bytes every block of a compressed
raster is decoded again for each row of an overview.
"""

_PROBE_PX = 50.0
"""So far from the centre metres are measured: far enough for the numbers' precision, near enough to be local."""

_opening = threading.Lock()  # `warnings.catch_warnings` is not for several threads at a time


@dataclass(frozen=True)
class Georeference:
    """Where a raster's pixels lie on a map.

    Attributes:
        name: of the raster's file.
        crs: of the map, such as `EPSG:32633`, or as WKT where it has no such code; None where the file names none.
        transform: a, b, c, d, e, f of x = a column + b row + c and y = d column + e row + f, in the CRS's units; pixel
            (column i, row j) covers [i, i+1) x [j, j+1).
    """

    name: str
    crs: str | None
    transform: tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class RasterImage:
    """A raster on disk that is sliced like an array; each slice reads its window.

    Attributes:
        path: the file.
        shape: (H, W) for gray, else (H, W, n).
        indexes: the file's bands that are read, from 1, in order.
        pixel_range: the values that become 0 and 255; None takes 8 bits as they are.
        pose: of a camera that looks straight down on its centre, north as the raster says; None without a CRS.
        georeference: where its pixels lie on its map.
    """

    path: Path
    shape: tuple[int, ...]
    indexes: tuple[int, ...]
    pixel_range: tuple[float, float] | None
    pose: Pose | None
    georeference: Georeference

    @property
    def ndim(self) -> int:
        """2 for gray, else 3."""
        return len(self.shape)

    @property
    def gsd_m(self) -> float | None:
        """Metres on the ground per pixel, at the centre; None without a CRS."""
        return self.pose.gsd_m if self.pose else None

    @property
    def is_large(self) -> bool:
        """Too large to be decoded whole."""
        return self.shape[0] * self.shape[1] > MAX_WHOLE_PIXELS

    def __getitem__(self, window: tuple[slice, slice]) -> ImageArray:
        """Pixels of a window given by its rows and columns, as uint8.

        Raises:
            DecodeError: the file is damaged there.
        """
        rows, columns = (part.indices(side)[:2] for part, side in zip(window, self.shape, strict=False))
        return self._read(window=(rows, columns))

    def whole(self) -> ImageArray:
        """All pixels, as uint8.

        Raises:
            DecodeError: the file is damaged.
        """
        return self._read()

    def overview(self, longest_px: int) -> ImageArray:
        """The raster shrunk until its longer side has so many pixels at most."""
        shrink = min(1.0, longest_px / max(self.shape[:2]))
        height, width = (max(round(side * shrink), 1) for side in self.shape[:2])
        return self._read(out_shape=(len(self.indexes), height, width))

    def _read(self, **how: Any) -> ImageArray:  # noqa: ANN401 - rasterio's own
        with _reading(self.path) as dataset:
            planes: NDArray[Any] = dataset.read(list(self.indexes), **how)
        pixels = planes[0] if len(self.shape) == 2 else np.moveaxis(planes, 0, -1)
        return to_bytes(self.path, pixels, self.pixel_range)


Picture: TypeAlias = Union[ImageArray, RasterImage]  # noqa: UP007 - evaluated on Python 3.10, where `|` has no aliases
"""Pixels, or a raster too large to hold them all."""


def is_raster(path: Path) -> bool:
    """Whether a file is a TIFF that rasterio has to read; one that cannot be read is none."""
    if path.suffix.lower() not in _TIFF_SUFFIXES:
        return False
    try:
        with path.open("rb") as file:
            tags = dict(_tags(file.read(16), file))
    except (OSError, struct.error):
        return False
    is_large = tags.get(_WIDTH, 0) * tags.get(_HEIGHT, 0) > MAX_WHOLE_PIXELS
    return bool(_GEO_TAGS & tags.keys()) or tags.get(_SAMPLES, 1) > _MOST_PLAIN_BANDS or is_large


def _tags(head: bytes, file: Any) -> Iterator[tuple[int, int]]:  # noqa: ANN401 - a binary file
    """The tags of a TIFF's first directory, with their value where that is one number (classic TIFF and BigTIFF)."""
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None:
        return
    is_big = struct.unpack_from(order + "H", head, 2)[0] == 43
    file.seek(struct.unpack_from(order + ("Q" if is_big else "I"), head, 8 if is_big else 4)[0])
    count_format, entry_bytes = (order + "Q", 20) if is_big else (order + "H", 12)
    (count,) = struct.unpack(count_format, file.read(struct.calcsize(count_format)))
    for _ in range(min(count, _MOST_TAGS)):
        entry = file.read(entry_bytes)
        tag, kind = struct.unpack_from(order + "HH", entry)
        value = {3: "H", 4: "I", 16: "Q"}.get(kind)  # SHORT, LONG, LONG8
        yield tag, struct.unpack_from(order + value, entry, 12 if is_big else 8)[0] if value else 0


def open_raster(
    path: Path, bands: tuple[str, ...] = BGR, pixel_range: tuple[float, float] | None = None
) -> RasterImage:
    """A raster, its header read.

    Bands are taken by name where the file names all of them (band descriptions, else colour interpretations), else in
    the file's order; alpha does not count. A single band serves a network of three as gray.

    Args:
        path: a TIFF.
        bands: names of those that the network takes.
        pixel_range: the values that become 0 and 255.

    Raises:
        CaptureError: rasterio is not installed, the bands are not those, pixels have more than 8 bits and there is no
            range, or a side is too long.
        DecodeError: it is damaged.
    """
    with _reading(path) as dataset:
        height, width = dataset.shape
        if max(height, width) > MAX_FRAME_SIDE_PX:
            raise CaptureError(f"{path}: {width}x{height} pixels, sides up to {MAX_FRAME_SIDE_PX}; cut it into parts")
        indexes = _indexes(path, dataset, bands)
        for index in indexes:
            _check_pixels(path, np.dtype(dataset.dtypes[index - 1]), pixel_range)
        is_gray = len(indexes) == 1
        shape = (height, width) if is_gray else (height, width, len(indexes))
        return RasterImage(path, shape, indexes, pixel_range, _pose(dataset), _georeference(path, dataset))


@dataclass(frozen=True)
class RasterHeader:
    """Size in pixels, bands and pose of a raster, whatever a student makes of it."""

    width: int
    height: int
    bands: int
    pose: Pose | None


def read_header(path: Path) -> RasterHeader:
    """The header of a raster.

    Raises:
        CaptureError: rasterio is not installed.
        DecodeError: the file is damaged.
    """
    with _reading(path) as dataset:
        height, width = dataset.shape
        return RasterHeader(width, height, dataset.count, _pose(dataset))


def open_picture(
    path: Path, bands: tuple[str, ...] = BGR, pixel_range: tuple[float, float] | None = None
) -> tuple[Picture, RasterImage]:
    """A raster's pixels where they can be held, else the raster; and the raster. Arguments, errors: `open_raster`."""
    raster = open_raster(path, bands, pixel_range)
    return raster if raster.is_large else raster.whole(), raster


def to_bytes(path: Path, pixels: AnyImage, pixel_range: tuple[float, float] | None) -> ImageArray:
    """The pixels as uint8: as they are, or stretched from a range; what is not a number becomes 0.

    Raises:
        CaptureError: they have more than 8 bits, and there is no range.
    """
    _check_pixels(path, pixels.dtype, pixel_range)
    if pixel_range is None:
        return np.ascontiguousarray(pixels)
    low, high = pixel_range
    stretched = (pixels.astype(np.float32) - low) * (255.0 / (high - low))
    return np.asarray(np.nan_to_num(stretched).clip(0, 255).round(), dtype=np.uint8)


def _check_pixels(path: Path, dtype: np.dtype[Any], pixel_range: tuple[float, float] | None) -> None:
    if dtype.kind not in "uif":
        raise CaptureError(f"{path}: holds {dtype} pixels, which show no picture; convert them to real numbers")
    if pixel_range is None and dtype != np.uint8:
        raise CaptureError(
            f"{path}: holds {dtype} pixels, 8 bits wanted; say what becomes 0 and 255: --pixel-range LOW,HIGH, in a "
            "recipe pixel_range = [LOW, HIGH]"
        )


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[DatasetReader]:
    """An open dataset; opened anew each time, since GDAL's are not for several threads."""
    try:
        import rasterio
        from rasterio.errors import NotGeoreferencedWarning, RasterioError
    except ImportError as exc:
        raise CaptureError(f"{path}: a raster, and rasterio is not installed; pip install 'skyloop[geo]'") from exc
    try:
        with rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES):
            with _opening, warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                dataset = rasterio.open(path)
            with dataset:
                yield dataset
    except RasterioError as exc:
        raise DecodeError(f"{path}: truncated, or no raster that GDAL can read ({exc}); restore the file") from exc


def _indexes(path: Path, dataset: DatasetReader, bands: tuple[str, ...]) -> tuple[int, ...]:
    colours = [colour.name for colour in dataset.colorinterp]
    names = [
        (description or colour).strip().lower().replace(" ", "_")
        for description, colour in zip(dataset.descriptions, colours, strict=True)
    ]
    if set(bands) <= set(names):
        return tuple(names.index(band) + 1 for band in bands)
    usable = tuple(i + 1 for i, colour in enumerate(colours) if colour != "alpha")
    if len(usable) == len(bands) or (len(usable) == 1 and len(bands) == 3):
        return usable
    raise CaptureError(
        f"{path}: holds the bands {', '.join(names)}, the student takes {', '.join(bands)}; name the file's bands so "
        "(`rio edit-info --bidx N --description NAME`), or take a student of these bands"
    )


def moved_points(points: Sequence[tuple[float, float]], crs: Any, to_crs: Any) -> NDArray[np.float64]:  # noqa: ANN401 - rasterio's
    """(N, 2) points of one CRS in another, x before y in both; not finite where they lie beside the Earth."""
    from rasterio._err import CPLE_BaseError  # GDAL's own errors have no public name
    from rasterio.warp import transform

    try:
        x, y = transform(crs, to_crs, *zip(*points, strict=True))[:2]
    except CPLE_BaseError:  # outside of the projection's domain
        return np.full((len(points), 2), np.nan)
    return np.stack([x, y], axis=1)


def _georeference(path: Path, dataset: DatasetReader) -> Georeference:
    t = dataset.transform
    return Georeference(path.name, dataset.crs.to_string() if dataset.crs else None, (t.a, t.b, t.c, t.d, t.e, t.f))


def _pose(dataset: DatasetReader) -> Pose | None:
    """Where a raster lies, and metres per pixel at its centre, on the ground rather than on the map.

    Maps stretch: a pixel of a web map at 60° north covers half of what its coordinates say. So steps of the raster are
    measured on the ellipsoid, with its radii of curvature.
    """
    if dataset.crs is None:
        return None
    height, width = dataset.shape
    step = min(_PROBE_PX, width / 2, height / 2)
    pixels = [(width / 2, height / 2), (width / 2 + step, height / 2), (width / 2, height / 2 + step)]
    t = dataset.transform
    points = [(t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f) for x, y in pixels]
    lon, lat = np.radians(moved_points(points, dataset.crs, "EPSG:4326")).T
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        return None  # the centre lies beside the Earth, as in a picture of its whole disc
    meridian_m, across_m = radii_of_curvature(lat[0])
    east = (lon[1:] - lon[0]) * math.cos(lat[0]) * across_m
    north = (lat[1:] - lat[0]) * meridian_m
    area = abs(float(east[0] * north[1] - east[1] * north[0]))
    return Pose(
        lat_deg=math.degrees(lat[0]),
        lon_deg=math.degrees(lon[0]),
        yaw_deg=math.degrees(math.atan2(-east[1], -north[1])) % 360.0,
        pitch_deg=-90.0,
        gsd_m=math.sqrt(area) / step if area else None,
    )
