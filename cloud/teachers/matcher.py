"""The matching head of a bundle: `match.onnx`, which finds a thing again that a chip shows; made by `distill`.

It reads the network's maps, so it is of use with exactly the file it was trained on, whose digest it carries.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from cloud.errors import TeacherError
from cloud.teachers.finding import MAX_PEAKS, best_places
from cloud.teachers.teacher import Exemplar, Places
from edge.bundle import Bundle, check_file
from edge.errors import ModelError
from edge.runtime import RawOutputs
from edge.student import Student, as_bgr, highest_peaks, pad_to_multiple
from protocols.arrays import AnyImage, Boxes, FloatArray, ImageArray

MATCH = "match"
"""Under this name a manifest lists the file."""

BACKBONE_KEY = "backbone_sha256"
"""In the file's own metadata: digest of the network's file."""

_FLOOR = 0.02
_INPUTS = ("image", "embedding", "objectness", "box_ltrb", "shown", "parts", "sides")
_OUTPUTS = ("shown_parts", "scores", "boxes")


@dataclass(frozen=True)
class Looked:
    """What the head says about one image.

    Attributes:
        shown_parts: (E, P, C) fingerprints of what boxes in this image show.
        scores: (K, h, w) how well each cell matches each of K exemplars.
        boxes: (K, 4, h, w) x1, y1, x2, y2 in pixels.
    """

    shown_parts: FloatArray
    scores: FloatArray
    boxes: FloatArray


class MatchSession:
    """The head's file in an ONNX Runtime session."""

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        """Open it.

        Raises:
            TeacherError: it is no matching head.
        """
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as exc:  # onnxruntime raises its own unrelated classes, one per status code
            raise TeacherError(
                f"{path}: ONNX Runtime cannot load it ({str(exc)[:200]}); fetch the bundle again"
            ) from exc
        shapes: dict[str, list[int]] = {item.name: item.shape for item in self._session.get_inputs()}
        if missing := {*_INPUTS, *_OUTPUTS} - set(shapes) - {item.name for item in self._session.get_outputs()}:
            raise TeacherError(f"{path}: lacks {', '.join(sorted(missing))}; make it with skyloop-distill match")
        self.part_shape = tuple(shapes["parts"][2:])
        self.backbone_sha256 = self._session.get_modelmeta().custom_metadata_map.get(BACKBONE_KEY, "")

    def look(self, image: ImageArray, raw: RawOutputs, shown: Boxes, parts: FloatArray, sides: FloatArray) -> Looked:
        """Compare one padded image with K exemplars, and take fingerprints of E boxes in it.

        Args:
            image: (H, W, 3) uint8, as the network saw it.
            raw: what the network said.
            shown: (E, 4) boxes in pixels.
            parts: (K, P, C).
            sides: (K, 2) width and height in pixels.
        """
        given: list[AnyImage] = [image, raw.embedding, raw.objectness[None], raw.box_ltrb, shown, parts, sides]
        feed = {name: np.ascontiguousarray(value[None]) for name, value in zip(_INPUTS, given, strict=True)}
        return Looked(*(output[0] for output in self._session.run(_OUTPUTS, feed)))


class Matcher:
    """A matching head beside its network."""

    def __init__(self, student: Student, session: MatchSession) -> None:
        """Use a network and a head that belong together; see `open_matcher`."""
        self._student, self._session = student, session

    def find(self, chips: list[Exemplar], frames: list[ImageArray]) -> list[Places]:
        """For each frame the best places of what the chips show; see `Teacher.find`."""
        parts = np.stack([self._parts(chip) for chip in chips])
        sides = np.stack([chip.box_xyxy[2:] - chip.box_xyxy[:2] for chip in chips]).astype(np.float32)
        return [self._places(frame, parts, sides) for frame in frames]

    def _parts(self, chip: Exemplar) -> FloatArray:
        nothing = np.zeros((1, *self._session.part_shape), np.float32)
        looked = self._look(chip.image, chip.box_xyxy[None].astype(np.float32), nothing, np.ones((1, 2), np.float32))
        return np.asarray(looked.shown_parts[0], dtype=np.float32)

    def _places(self, frame: ImageArray, parts: FloatArray, sides: FloatArray) -> Places:
        looked = self._look(frame, np.array([[0, 0, 1, 1]], np.float32), parts, sides)
        which = looked.scores.argmax(axis=0)
        best = np.ascontiguousarray(looked.scores.max(axis=0))
        rows, columns = highest_peaks(best, _FLOOR, MAX_PEAKS)
        boxes = looked.boxes[which[rows, columns], :, rows, columns]
        return best_places(boxes.reshape(-1, 4), best[rows, columns], frame.shape[:2])

    def _look(self, image: ImageArray, shown: Boxes, parts: FloatArray, sides: FloatArray) -> Looked:
        padded = pad_to_multiple(as_bgr(image), self._student.manifest.multiple_px)
        return self._session.look(padded, self._student.backend.run(padded), shown, parts, sides)


def open_matcher(student: Student, *, threads: int = 0) -> Matcher | None:
    """The matching head of a student's bundle; None where it has none.

    Raises:
        TeacherError: its file is missing or altered, or was trained on another network.
    """
    bundle: Bundle = student.bundle
    entry = bundle.manifest.extras.get(MATCH)
    if entry is None:
        return None
    try:
        check_file(bundle.folder, entry)
    except ModelError as exc:
        raise TeacherError(str(exc)) from exc
    session = MatchSession(bundle.folder / entry.file, threads=threads)
    network = bundle.manifest.variants[bundle.variant]
    if session.backbone_sha256 != network.sha256:
        raise TeacherError(
            f"{bundle.folder / entry.file}: made for a network of digest {session.backbone_sha256[:12]}…, "
            f"{network.file} is {network.sha256[:12]}…; make it anew with skyloop-distill match"
        )
    return Matcher(student, session)
