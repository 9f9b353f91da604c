"""What a run leaves behind: detections, targets, the cloud's interpretations, a summary, maps, an annotated video."""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import cv2
import numpy as np
from typing_extensions import Self

from edge.answers_file import AnswersFile
from edge.capture import Frame
from edge.detection_map import DetectionMap
from edge.durable import make_folder
from edge.errors import ConfigError
from edge.followed_target import Target, TargetState
from edge.raster import Picture, RasterImage
from edge.student import as_picture
from edge.track_files import TrackFiles
from protocols.arrays import ImageArray
from protocols.values import Case, Detection, FrameHeader, Interpretation

_VIDEO_QUEUE_FRAMES = 8
_FLUSH_S = 0.5
_OVERVIEW_PX = 2048
"""Lines reach the disk this soon, so that who watches a flight sees it, and a killed program loses little."""

_KNOWN_BGR, _PROMPTED_BGR, _REGION_BGR = (80, 200, 80), (40, 120, 255), (0, 255, 255)
_TARGET_BGR: dict[TargetState, tuple[int, int, int]] = {
    "tentative": (255, 220, 120),
    "tracked": (255, 160, 0),
    "lost": (128, 128, 128),
    "re_found": (255, 80, 200),
}


class RunOutputs:
    """The output folder of one run; use as a context manager."""

    def __init__(self, folder: Path, *, fps: float, video: bool, ground_m: float = 0.0) -> None:
        """Create the folder and open the files.

        Args:
            folder: where results go.
            fps: of the annotated video.
            video: whether to make it.
            ground_m: height of the ground above the WGS 84 ellipsoid, for the map of targets.

        Raises:
            ConfigError: the folder cannot be made or written.
        """
        try:
            make_folder(folder)
            self._lines = (folder / "detections.jsonl").open("w", buffering=1 << 16)
            self._tracks = TrackFiles(folder, ground_m)
            self._map = DetectionMap(folder)
            self._cases = (folder / "cases.jsonl").open("a", buffering=1)
            self._answers = AnswersFile(folder / "interpretations.jsonl")
        except OSError as exc:
            raise ConfigError(f"{folder}: cannot write here ({exc.strerror}); choose another --out") from exc
        self.folder = folder
        self._flushed_s = time.monotonic()
        self._video = VideoWriter(folder / "video.mp4", fps) if video else None

    def __enter__(self) -> Self:
        """These outputs."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Flush and close everything."""
        self._lines.close()
        self._tracks.close()
        self._map.close()
        self._cases.close()
        self._answers.close()
        if self._video:
            self._video.close()

    def write(
        self,
        frame: Frame,
        detections: tuple[Detection, ...],
        extra: dict[str, Any],
        targets: Sequence[Target] = (),
    ) -> None:
        """Append one frame's lines (and picture).

        Args:
            frame: the frame.
            detections: full-frame pixels.
            extra: more keys of the line: `clock_s` (seconds of the craft's clock since its first frame),
                `bank_revision`, `hardness`, `case_id` with `region_xyxy` and perhaps `further_xyxy` when sent, and
                `question_id` with `question_xyxy` when a target was asked about.
            targets: what somebody asked to follow.

        Raises:
            ConfigError: the disk is full or gone.
        """
        try:
            if "case_id" in extra:
                self._cases.write(case_line(frame.header, extra["case_id"], sent_regions(extra)))
            if "question_id" in extra:
                self._cases.write(case_line(frame.header, extra["question_id"], [extra["question_xyxy"]]))
            self._lines.write(detection_line(frame, detections, extra))
            self._tracks.write(frame.header, targets)
            self._map.write(frame, detections)
            if time.monotonic() - self._flushed_s >= _FLUSH_S:
                self._lines.flush()
                self._tracks.flush()
                self._flushed_s = time.monotonic()
        except OSError as exc:
            raise ConfigError(f"{self.folder}: cannot write detections ({exc.strerror}); free some space") from exc
        if self._video:
            self._video.write(draw(frame.image, detections, sent_regions(extra), targets))

    def write_case(self, case: Case) -> None:
        """Append the line of a case about an earlier frame.

        Raises:
            ConfigError: the disk is full or gone.
        """
        try:
            self._cases.write(
                case_line(case.frame, case.case_id, [part.region_xyxy for part in case.parts], case.refines)
            )
        except OSError as exc:
            raise ConfigError(f"{self.folder}: cannot write cases ({exc.strerror}); free some space") from exc

    def write_interpretation(self, interpretation: Interpretation) -> None:
        """Append the cloud's answer to a case, durably and once, be it to a case of an earlier run.

        Called in the link's thread, before the answer is acknowledged. `cases.jsonl`, which later runs append to,
        tells which frame the case was made of.

        Raises:
            OSError: the disk refused; the cloud will send it again.
        """
        self._answers.add(interpretation)

    def summarise(self, summary: dict[str, Any]) -> None:
        """Write `summary.json`, whole or not at all.

        Raises:
            ConfigError: the disk is full or gone.
        """
        temporary = self.folder / "summary.json.tmp"
        try:
            temporary.write_text(json.dumps(summary, indent=1) + "\n")
            os.replace(temporary, self.folder / "summary.json")
        except OSError as exc:
            raise ConfigError(f"{self.folder}: cannot write summary.json ({exc.strerror}); free some space") from exc


def case_line(
    header: FrameHeader, case_id: str, regions_xyxy: Sequence[Sequence[float]], refines: str | None = None
) -> str:
    """One line of `cases.jsonl`: which frame and regions a case is about, for answers that come after a restart."""
    about: dict[str, Any] = {"case_id": case_id, "region_xyxy": regions_xyxy[0]}
    about |= {"further_xyxy": regions_xyxy[1:]} if len(regions_xyxy) > 1 else {}
    about |= {"refines": refines} if refines is not None else {}
    where = {"frame": header.index, "source": header.source_id, "time_s": header.captured_at_s}
    return json.dumps({**about, **where}, separators=(",", ":")) + "\n"


def detection_line(frame: Frame, detections: tuple[Detection, ...], extra: dict[str, Any]) -> str:
    """One line of `detections.jsonl`: frame index, source, capture time, boxes to 0.1 px, scores to 0.0001."""
    rows = [
        {
            "box_xyxy": [round(v, 1) for v in d.box_xyxy],
            "label": d.label,
            "score": round(d.score, 4),
            "provenance": d.provenance,
            "track_id": d.track_id,
        }
        for d in detections
    ]
    head = {
        "frame": frame.header.index,
        "source": frame.header.source_id,
        "time_s": frame.header.captured_at_s,
    }
    return json.dumps({**head, **extra, "detections": rows}, separators=(",", ":")) + "\n"


def sent_regions(line: Mapping[str, Any]) -> list[list[float]]:
    """What was sent as a case of a frame that a line of `detections.jsonl` is about; perhaps nothing."""
    return [line["region_xyxy"], *line.get("further_xyxy", ())] if "region_xyxy" in line else []


def draw(
    image: Picture,
    detections: tuple[Detection, ...],
    regions_xyxy: Sequence[Sequence[float]] = (),
    targets: Sequence[Target] = (),
) -> ImageArray:
    """A copy of the frame with boxes: green for known classes, orange for prompted ones, yellow for what was sent.

    Targets are blue, light while tentative, violet when just found again, gray when lost. A raster too large to hold is
    drawn on its overview.
    """
    shown = image.overview(_OVERVIEW_PX) if isinstance(image, RasterImage) else image
    scale = shown.shape[1] / image.shape[1]
    canvas = as_picture(shown).copy()
    for detection in detections:
        colour = _PROMPTED_BGR if detection.provenance.startswith("prompt:") else _KNOWN_BGR
        text = f"{detection.label} #{detection.track_id} {detection.score:.2f}"
        x1, y1, x2, y2 = (round(v * scale) for v in detection.box_xyxy)
        _draw_box(canvas, (x1, y1, x2, y2), colour, 2 if colour is _PROMPTED_BGR else 1, text)
    for target in targets:
        text = f"{target.label} ({target.target_id}) {target.state} {target.presence:.2f}"
        x1, y1, x2, y2 = (round(v * scale) for v in target.box_xyxy.tolist())
        _draw_box(canvas, (x1, y1, x2, y2), _TARGET_BGR[target.state], 2, text)
    for region in regions_xyxy:
        x1, y1, x2, y2 = (round(v * scale) for v in region)
        cv2.rectangle(canvas, (x1, y1), (x2 - 1, y2 - 1), _REGION_BGR, 2)
        _write_text(canvas, "sent as a case", (x1 + 4, y2 - 6), 0.4, _REGION_BGR)
    return canvas


_Colour: TypeAlias = tuple[int, int, int]


def _draw_box(canvas: ImageArray, box: tuple[int, int, int, int], colour: _Colour, width_px: int, text: str) -> None:
    x1, y1, x2, y2 = box
    cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, width_px)
    _write_text(canvas, text, (x1, max(y1 - 3, 9)), 0.35, colour)


def _write_text(canvas: ImageArray, text: str, at: tuple[int, int], size: float, colour: _Colour) -> None:
    cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)


class VideoWriter:
    """Encodes in its own thread behind a short queue; when encoding is slower than flying, `write` waits."""

    def __init__(self, path: Path, fps: float) -> None:
        self._path, self._fps = path, fps
        self._frames: queue.Queue[ImageArray | None] = queue.Queue(_VIDEO_QUEUE_FRAMES)
        self._thread = threading.Thread(target=self._encode, name="video", daemon=True)
        self._thread.start()

    def write(self, image: ImageArray) -> None:
        """Append one (H, W, 3) BGR picture; pictures of another size are fitted to the first one's."""
        self._frames.put(image)

    def close(self) -> None:
        """Finish the file."""
        self._frames.put(None)
        self._thread.join(timeout=30)

    def _encode(self) -> None:
        writer: cv2.VideoWriter | None = None
        size = (0, 0)
        while (image := self._frames.get()) is not None:
            if writer is None:
                size = (image.shape[1] // 2 * 2, image.shape[0] // 2 * 2)  # the codec wants even sides
                writer = cv2.VideoWriter(str(self._path), _fourcc("mp4v"), self._fps, size)
            fitted = image if (image.shape[1], image.shape[0]) == size else cv2.resize(image, size)
            writer.write(np.ascontiguousarray(fitted))
        if writer is not None:
            writer.release()


def _fourcc(code: str) -> int:
    return sum(ord(letter) << (8 * i) for i, letter in enumerate(code))
