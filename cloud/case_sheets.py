"""A case's picture for a person: enlarged, with rulers in full-frame pixels and the boxes drawn so far."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from cloud.case_images import CaseImage
from edge.student import as_bgr
from protocols.arrays import ImageArray
from protocols.values import Detection

_RULER_PX = 36
_LEAST_SIDE_PX = 800
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_INK, _BOX_INK = (230, 230, 230), (0, 200, 255)
_STEPS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


def case_sheet(image: CaseImage, detections: Iterable[Detection]) -> ImageArray:
    """(H, W, 3) BGR picture of a case with rulers along its upper and left edges.

    Args:
        image: what the craft sent.
        detections: boxes to draw, full-frame pixels.
    """
    zoom = max(1.0, _LEAST_SIDE_PX / max(image.image.shape[:2]))
    picture = cv2.resize(as_bgr(image.image), None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    sheet = cv2.copyMakeBorder(picture, _RULER_PX, 0, _RULER_PX, 0, cv2.BORDER_CONSTANT, value=(40, 40, 40))
    for detection in detections:
        box = image.from_frame(np.asarray([detection.box_xyxy], np.float32))[0] * zoom + _RULER_PX
        x1, y1, x2, y2 = (int(v) for v in box)
        cv2.rectangle(sheet, (x1, y1), (x2, y2), _BOX_INK, 1)
        cv2.putText(sheet, f"{detection.label} {detection.score:.2f}", (x1, y1 - 3), _FONT, 0.4, _BOX_INK, 1)
    for axis in (0, 1):
        _draw_ruler(sheet, image, zoom, axis)
    return np.asarray(sheet, dtype=np.uint8)


def _draw_ruler(sheet: cv2.typing.MatLike, image: CaseImage, zoom: float, axis: int) -> None:
    """Ticks along x (axis 0) or y (axis 1)."""
    pixels = image.image.shape[1 - axis]
    scale, origin = image.scale_xy[axis], image.origin_xy[axis]
    length = pixels / scale
    step = next((s for s in _STEPS if s >= length / 12), _STEPS[-1])
    for tick in range(-(-int(origin) // step) * step, int(origin + length) + 1, step):
        at = int((tick - origin) * scale * zoom) + _RULER_PX
        start, end = ((at, _RULER_PX - 6), (at, _RULER_PX)) if axis == 0 else ((_RULER_PX - 6, at), (_RULER_PX, at))
        cv2.line(sheet, start, end, _INK, 1)
        where = (at - 8, _RULER_PX - 12) if axis == 0 else (1, at + 4)
        cv2.putText(sheet, str(tick), where, _FONT, 0.36, _INK, 1)
