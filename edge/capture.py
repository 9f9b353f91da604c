"""Frames from files, folders, cameras and streams.

Files and folders give every frame; live sources give the newest and count what they dropped. One frame that does not
decode is counted and skipped; a source that cannot be opened at all is an error.
"""

from __future__ import annotations

import glob
import itertools
import json
import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import structlog
from pydantic import ValidationError

from edge.ahead import run_ahead
from edge.bundle import BGR
from edge.clock import Clock, SystemClock
from edge.errors import CaptureError, DecodeError
from edge.raster import Georeference, Picture, is_raster, open_picture, to_bytes
from protocols.arrays import ImageArray
from protocols.values import FrameHeader, Pose

log = structlog.get_logger()

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".npy"})
_DECODE_AHEAD = 3
_LIVE_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Frame:
    """One image and when it was taken.

    Attributes:
        header: index, source, wall time, size and pose.
        image: (H, W) or (H, W, n) uint8, BGR where n is 3; or a raster that is too large to hold.
        captured_s: monotonic time at which the agent could first have it.
        georeference: where its pixels lie on a map; None unless it is a raster.
    """

    header: FrameHeader
    image: Picture
    captured_s: float
    georeference: Georeference | None = None


@dataclass
class CaptureCounts:
    """What a source gave and what it could not give."""

    frames: int = 0
    undecodable: int = 0
    dropped: int = 0


@dataclass(frozen=True)
class _Picture:
    """A decoded image before it has an index."""

    image: Picture
    time_s: float | None = None
    pose: Pose | None = None
    georeference: Georeference | None = None


@dataclass
class Source:
    """An open source of frames; iterate once, then close.

    Attributes:
        source_id: name that goes into every frame header.
        fps: nominal rate, for the annotated video and for pacing.
        is_live: newest frame wins.
        counts: updated while iterating.
        stopped: set by `close`.
    """

    source_id: str
    pictures: Iterable[_Picture]
    fps: float = 30.0
    is_live: bool = False
    paced: bool = False
    counts: CaptureCounts = field(default_factory=CaptureCounts)
    clock: Clock = field(default_factory=SystemClock)
    stopped: threading.Event = field(default_factory=threading.Event)

    def __iter__(self) -> Generator[Frame, None, None]:
        """Frames in order; with `paced`, none before its recorded time."""
        start_s, start_wall_s = self.clock.monotonic_s(), self.clock.wall_s()
        for index, picture in enumerate(run_ahead(self.pictures, _DECODE_AHEAD, self.stopped, "decode")):
            offset_s = index / self.fps if picture.time_s is None else picture.time_s
            if self.paced:
                self.stopped.wait(max(0.0, start_s + offset_s - self.clock.monotonic_s()))
            if self.stopped.is_set():
                return
            self.counts.frames += 1
            wall_s = self.clock.wall_s() if self.is_live else start_wall_s + offset_s
            yield self._frame(picture, index, wall_s)

    def _frame(self, picture: _Picture, index: int, wall_s: float) -> Frame:
        height, width = picture.image.shape[:2]
        bands = 1 if picture.image.ndim == 2 else picture.image.shape[2]
        header = FrameHeader(
            index=index + self.counts.dropped,
            source_id=self.source_id,
            captured_at_s=wall_s,
            width=width,
            height=height,
            bands=bands,
            pose=picture.pose,
        )
        return Frame(header, picture.image, self.clock.monotonic_s(), picture.georeference)

    def peek(self) -> Picture:
        """The first picture, before iterating; it is still given, except by a live source.

        Raises:
            CaptureError: there is none.
        """
        pictures = iter(self.pictures)
        first = next(pictures, None)
        if first is None:
            raise CaptureError(f"source {self.source_id!r}: gives no picture; check the camera or file")
        # A camera's first picture would be old by the time it is looked at.
        self.pictures = pictures if self.is_live else itertools.chain((first,), pictures)
        return first.image

    def close(self) -> None:
        """Stop decoding; safe to call twice."""
        self.stopped.set()


@dataclass(frozen=True)
class Look:
    """How files become pixels.

    Attributes:
        bands: names of those that the student takes.
        pixel_range: the values that become 0 and 255; None stretches each image of more than 8 bits by itself, but
            refuses such rasters, whose windows would differ.
    """

    bands: tuple[str, ...] = BGR
    pixel_range: tuple[float, float] | None = None


COLOUR = Look()
"""8 bits, gray or BGR."""


def open_source(spec: str, *, paced: bool = False, clock: Clock | None = None, look: Look = COLOUR) -> Source:
    """The source that a command-line argument names.

    Args:
        spec: an image folder, an image or raster, a glob, a video file, a camera index, an rtsp:// or http(s):// URL,
            or `gst:` and a GStreamer pipeline.
        paced: give file frames at their recorded times instead of as fast as they are taken.
        clock: for time stamps and pacing.
        look: how image files become pixels.

    Raises:
        CaptureError: there is no such thing, or it cannot be opened.
    """
    clock = clock or SystemClock()
    if spec.isdigit() or spec.startswith(("rtsp://", "http://", "https://", "gst:")):
        return _open_live(spec, clock)
    path = Path(spec)
    if path.is_dir() or any(c in spec for c in "*?["):
        return _open_images(spec, look, paced=paced, clock=clock)
    if path.is_file():
        if path.suffix.lower() in IMAGE_SUFFIXES:
            return _open_images(glob.escape(spec), look, paced=paced, clock=clock)
        return _open_video(path, paced=paced, clock=clock)
    raise CaptureError(
        f"source {spec!r}: no such file or folder; give a video, an image folder, a glob, a camera's index or a URL"
    )


def _open_images(spec: str, look: Look, *, paced: bool, clock: Clock) -> Source:
    folder = Path(spec)
    if folder.is_dir():
        inner = next((folder / name for name in ("images", "img") if (folder / name).is_dir()), folder)
        paths = sorted(p for p in inner.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    else:
        paths = sorted(Path(p) for p in glob.glob(spec) if Path(p).suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise CaptureError(f"source {spec!r}: holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}); check the path")
    records = _read_sidecar(folder / "frames.jsonl") if folder.is_dir() else {}
    counts = CaptureCounts()
    return Source(
        spec[:200],
        _read_images(paths, records, look, counts),
        _recorded_fps(folder),
        paced=paced,
        counts=counts,
        clock=clock,
    )


def _recorded_fps(folder: Path) -> float:
    rate = folder / "fps.txt"
    try:
        return max(float(rate.read_text().split()[0]), 0.1) if rate.is_file() else 15.0
    except (ValueError, IndexError) as exc:
        raise CaptureError(f"{rate}: holds no number; write the frame rate or remove the file") from exc


def _read_sidecar(path: Path) -> dict[str, dict[str, Any]]:
    """Per file name, the recorded time and pose that a simulator or autopilot wrote beside the images."""
    if not path.is_file():
        return {}
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
        return {Path(line["file"]).name: line for line in lines}
    except (ValueError, KeyError, TypeError) as exc:
        raise CaptureError(f"{path}: not one JSON object with a `file` per line ({exc}); repair or remove it") from exc


def _read_images(
    paths: list[Path], records: dict[str, dict[str, Any]], look: Look, counts: CaptureCounts
) -> Iterator[_Picture]:
    decoded = 0
    for path in paths:
        try:
            picture = _read_file(path, look)
        except DecodeError as exc:
            counts.undecodable += 1
            log.warning("image skipped: it does not decode", path=str(path), reason=str(exc))
            continue
        decoded += 1
        record = records.get(path.name, {})
        try:
            pose = Pose.model_validate(record["pose"]) if record.get("pose") else picture.pose
        except ValidationError as exc:
            raise CaptureError(f"frames.jsonl: pose of {path.name} is impossible ({exc.errors()[0]['msg']})") from exc
        yield replace(picture, time_s=record.get("time_s"), pose=pose)
    if not decoded:
        raise CaptureError(f"none of the {len(paths)} images decodes, {paths[0]} the first; restore the files")


def _read_file(path: Path, look: Look) -> _Picture:
    """Pixels of an image file, and where they lie if it says so.

    Raises:
        DecodeError: it does not decode.
        CaptureError: it is a raster that does not fit the student.
    """
    if is_raster(path):
        image, raster = open_picture(path, look.bands, look.pixel_range)
        return _Picture(image, pose=raster.pose, georeference=raster.georeference)
    try:
        pixels = np.load(path) if path.suffix.lower() == ".npy" else cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    except (ValueError, EOFError, OSError) as exc:
        raise DecodeError(f"{path}: no array that NumPy can read ({exc}); restore the file") from exc
    if pixels is None or pixels.ndim not in (2, 3):
        raise DecodeError(f"{path}: no image that OpenCV can read; restore the file")
    if look.pixel_range:
        pixels = to_bytes(path, pixels, look.pixel_range)
    return _Picture(to_uint8(pixels, len(look.bands)))


def to_uint8(pixels: np.ndarray[Any, Any], bands: int = 3) -> ImageArray:
    """An image as uint8: 16-bit and float ones are stretched between their 1st and 99th percentile.

    Args:
        pixels: (H, W) or (H, W, n).
        bands: how many the student takes; for others than these, alpha and what comes after three bands is dropped.
    """
    if pixels.ndim == 3 and pixels.shape[2] not in (1, 3, bands):
        pixels = pixels[..., :3] if pixels.shape[2] > 3 else pixels[..., :1]
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    low, high = np.percentile(pixels[::4, ::4], (1, 99))
    stretched = (pixels.astype(np.float32) - low) * (255.0 / max(high - low, 1e-6))
    return np.asarray(stretched.clip(0, 255), dtype=np.uint8)


def _open_video(path: Path, *, paced: bool, clock: Clock) -> Source:
    capture = cv2.VideoCapture(str(path))
    ok, first = capture.read() if capture.isOpened() else (False, None)
    if not ok or first is None:
        capture.release()
        raise CaptureError(f"{path}: not a video that OpenCV can read, or damaged; try `ffprobe` on it")
    fps = capture.get(cv2.CAP_PROP_FPS)
    return Source(
        str(path)[:200],
        _read_video(capture, to_uint8(first)),
        fps if 0 < fps < 1000 else 30.0,
        paced=paced,
        clock=clock,
    )


def _read_video(capture: cv2.VideoCapture, first: ImageArray) -> Iterator[_Picture]:
    try:
        yield _Picture(first)
        while True:
            ok, pixels = capture.read()
            if not ok:
                return
            yield _Picture(to_uint8(pixels))
    finally:
        capture.release()


def _open_live(spec: str, clock: Clock) -> Source:
    if spec.startswith("gst:"):
        if "GStreamer:                   YES" not in cv2.getBuildInformation():
            raise CaptureError("gst: this OpenCV has no GStreamer; install your system's OpenCV or give an rtsp:// URL")
        capture = cv2.VideoCapture(spec[4:], cv2.CAP_GSTREAMER)
    else:
        capture = cv2.VideoCapture(int(spec)) if spec.isdigit() else cv2.VideoCapture(spec)
    if not capture.isOpened():
        capture.release()
        raise CaptureError(f"source {spec!r}: does not open; check that the camera or server is there and free")
    source = Source(spec[:200], (), is_live=True, clock=clock)
    source.pictures = _newest(capture, source)
    return source


def _newest(capture: cv2.VideoCapture, source: Source) -> Iterator[_Picture]:
    """Read as fast as the device gives, keep only the newest picture, count the others as dropped."""
    slot: queue.Queue[ImageArray | None] = queue.Queue(1)

    def read() -> None:
        try:
            while not source.stopped.is_set():
                ok, pixels = capture.read()
                if not ok:
                    break
                try:
                    slot.get_nowait()
                    source.counts.dropped += 1
                except queue.Empty:
                    pass
                slot.put(to_uint8(pixels))
        finally:
            capture.release()
            slot.put(None)

    threading.Thread(target=read, name="capture", daemon=True).start()
    while True:
        try:
            pixels = slot.get(timeout=_LIVE_TIMEOUT_S)
        except queue.Empty as exc:
            raise CaptureError(f"{source.source_id}: no frame for {_LIVE_TIMEOUT_S:.0f} s; check the camera") from exc
        if pixels is None:
            return
        yield _Picture(pixels)
