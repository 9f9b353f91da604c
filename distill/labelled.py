"""One labelled image, and how its pixels are read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np

from distill.errors import DataSetError
from edge.bundle import BGR
from edge.capture import IMAGE_SUFFIXES
from edge.errors import CaptureError
from edge.raster import Picture, RasterImage, is_raster, open_picture, read_header, to_bytes
from protocols.arrays import AnyImage, Boxes, ImageArray
from protocols.boxes import clip_boxes

Mark: TypeAlias = Literal["", "refuted", "doubt"]
"""Of an ignored box: `refuted` says that none of its label is there, `doubt` that perhaps some object is, of a kind
that nobody judged. Without a mark the box says nothing."""


@dataclass(frozen=True)
class LabelledImage:
    """One image and its truth.

    Attributes:
        path: the image file.
        boxes_xyxy: (N, 4) float32 pixels.
        labels: N labels.
        kinds: (N,) int64; -1 where the label says all, else the number of a novel kind.
        ignore: (N,) bool, True for regions that neither teach nor count.
        image_id: id within the data set.
        bands: how many bands the file holds, where that is known without decoding it.
        gsd_m: metres on the ground per pixel, where known.
        things: N names of the very things, where the data tell them apart: the same name in another image of the set
            is another view of the same thing. Empty where they do not.
        judged: the labels of which every thing in the image is boxed; None where that is so of all. Where a label was
            not judged, what is not boxed may be one.
        marks: N of `Mark`, what else is known of the ignored boxes; empty where nothing is.
        scale: pixels of the image per pixel of the frame it was cut from.
        said_at_s: wall time of the newest word on it, where known.
    """

    path: Path
    boxes_xyxy: Boxes
    labels: tuple[str, ...]
    kinds: np.ndarray[Any, np.dtype[np.int64]]
    ignore: np.ndarray[Any, np.dtype[np.bool_]]
    image_id: int
    bands: int | None = None
    gsd_m: float | None = None
    things: tuple[str, ...] = ()
    judged: tuple[str, ...] | None = None
    marks: tuple[Mark, ...] = ()
    scale: float = 1.0
    said_at_s: float | None = None


def image_files(folder: Path) -> list[Path]:
    """The images in a folder, by name; none where it is no folder."""
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)


@dataclass(frozen=True)
class Reading:
    """How files become pixels.

    Attributes:
        bands: names of those that the network takes, in order.
        pixel_range: the values that become 0 and 255; None takes 8 bits as they are.
    """

    bands: tuple[str, ...] = BGR
    pixel_range: tuple[float, float] | None = None


PLAIN = Reading()
"""8 bits, gray or blue, green, red."""


def read_image(path: Path, reading: Reading = PLAIN) -> ImageArray:
    """Pixels of an image file: JPEG, PNG, TIFF and the like, or a `.npy` array (H, W) or (H, W, n).

    Returns:
        (H, W) or (H, W, n) uint8. Gray stays gray for a network of one or three bands; one of three takes the first
        three of more (the fourth is alpha, mostly).

    Raises:
        DataSetError: the file is missing or cut, does not decode, has other bands than the network takes, or more than
            8 bits and the reading no `pixel_range`.
    """
    picture = read_picture(path, reading)
    if isinstance(picture, RasterImage):
        with _data_set_errors():
            return picture.whole()
    return picture


def read_picture(path: Path, reading: Reading = PLAIN) -> Picture:
    """As `read_image`, but a raster that is too large to hold is left on the disk, to be sliced."""
    if is_raster(path):
        with _data_set_errors():
            return open_picture(path, reading.bands, reading.pixel_range)[0]
    return fitted(path, decoded(path), reading)


def fitted(path: Path, pixels: AnyImage, reading: Reading) -> ImageArray:
    """Decoded pixels as the network takes them; `path` is for the error.

    Raises:
        DataSetError: see `read_image`.
    """
    if pixels.ndim not in (2, 3):
        raise DataSetError(f"{path}: holds an array {pixels.shape}; an image is (H, W) or (H, W, n)")
    with _data_set_errors():
        return to_bytes(path, _chosen(path, pixels, reading.bands), reading.pixel_range)


@contextlib.contextmanager
def _data_set_errors() -> Iterator[None]:
    try:
        yield
    except CaptureError as exc:
        raise DataSetError(str(exc)) from exc


def decoded(path: Path) -> AnyImage:
    """What a file holds, of any number type and bands.

    Raises:
        DataSetError: it is missing or cut, or does not decode.
    """
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise DataSetError(f"{path}: cannot be read ({exc.strerror}); restore the file") from exc
    if path.suffix.lower() == ".npy":
        try:
            return np.asarray(np.load(BytesIO(content), allow_pickle=False))
        except (ValueError, EOFError) as exc:
            raise DataSetError(f"{path}: truncated, or no array that NumPy can read; restore the file") from exc
    # libjpeg fills what a cut file lacks with gray and only warns; a whole one ends its last scan with an end marker.
    is_cut = content.startswith(b"\xff\xd8") and content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda")
    pixels = None if is_cut or not content else cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise DataSetError(f"{path}: truncated, or no image that OpenCV can read; restore the file")
    return pixels


@dataclass(frozen=True)
class Facts:
    """What the index needs of a file: its size in pixels, its bands, and metres per pixel where known."""

    width: int
    height: int
    bands: int
    gsd_m: float | None = None


def facts_of(path: Path) -> Facts:
    """The facts about an image file.

    Raises:
        DataSetError: it is missing or cut, or does not decode.
    """
    if is_raster(path):
        with _data_set_errors():
            return _raster_facts(path)
    pixels = decoded(path)
    return Facts(pixels.shape[1], pixels.shape[0], pixels.shape[2] if pixels.ndim == 3 else 1)


def clipped(boxes_xyxy: Boxes, width: int, height: int) -> tuple[Boxes, np.ndarray[Any, np.dtype[np.bool_]]]:
    """Boxes cut to their image, and which are then less than a pixel wide or high: those neither teach nor count.

    Args:
        boxes_xyxy: (N, 4) float32 pixels.
        width: of the image.
        height: of the image.
    """
    inside = clip_boxes(boxes_xyxy, width, height)
    return inside, np.asarray((inside[:, 2:] - inside[:, :2] < 1).any(axis=1), dtype=np.bool_)


def known_of(path: Path) -> tuple[int | None, float | None]:
    """Bands and metres per pixel of an image file where its header alone tells them: that of a raster."""
    if not is_raster(path):
        return None, None
    with _data_set_errors():
        facts = _raster_facts(path)
    return facts.bands, facts.gsd_m


def _raster_facts(path: Path) -> Facts:
    header = read_header(path)
    return Facts(header.width, header.height, header.bands, header.pose.gsd_m if header.pose else None)


def _chosen(path: Path, pixels: AnyImage, bands: tuple[str, ...]) -> AnyImage:
    """The bands that the network takes."""
    held, wanted = pixels.shape[2] if pixels.ndim == 3 else 1, len(bands)
    if held == 1 and wanted in (1, 3):
        return pixels.reshape(pixels.shape[:2])
    if wanted == 1 and held == 3 and (pixels == pixels[..., :1]).all():
        return pixels[..., 0]
    if held == wanted or held > wanted == 3:
        return pixels[..., :wanted]
    raise DataSetError(
        f"{path}: holds {held} bands, the network takes {wanted} ({', '.join(bands)}); leave it out, or name its bands "
        "in the recipe (network.bands)"
    )
