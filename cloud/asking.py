"""What a person asks for on the command line, checked before it is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from cloud.case_images import LEAST_SHOWN
from cloud.craft_shelf import Craft
from cloud.errors import LabelsChanged, RequestError
from cloud.review_shelf import BoxXyxy
from cloud.store import StoredCase
from edge.config import first_problem
from edge.keys import read_public_key
from edge.short_term import SMALLEST_PX
from protocols.boxes import box_inside
from protocols.values import Detection

_Z85_CHARS = 40


def parse_box(text: str) -> BoxXyxy:
    """Corners x1, y1, x2, y2 of a box given as `x,y,w,h`.

    Raises:
        RequestError: not four numbers, or without area.
    """
    try:
        x, y, width, height = (float(part) for part in text.split(","))
    except ValueError as exc:
        raise RequestError(f"--box {text!r} is not x,y,w,h; write it as 120,80,32,24 in full-frame pixels") from exc
    if not (width > 0 and height > 0):
        raise RequestError(f"--box {text!r} has no area; width and height come third and fourth")
    return x, y, x + width, y + height


def review_label(stored: StoredCase, label: str | None, boxes_xyxy: Sequence[BoxXyxy]) -> str:
    """What an answer is about, where that can be meant.

    Raises:
        RequestError: label or box are missing, or a target is said to be in several places.
    """
    question = stored.case.target
    if question is not None:
        if len(boxes_xyxy) > 1:
            raise RequestError(f"{len(boxes_xyxy)} boxes: target {question.target_id} is one thing; give one --box")
        return label or question.label
    if label is None:
        raise RequestError("--label is missing; say what the boxes hold")
    if not boxes_xyxy:
        raise RequestError("--box is missing; give one for each such thing in the picture")
    return label


def check_labels(digest: str, craft: Craft) -> None:
    """Refuse an answer of somebody who was shown other classes than the craft knows by now.

    Args:
        digest: `labels_digest` of the craft as it was shown.
        craft: as it is.

    Raises:
        LabelsChanged: it flies another bundle.
    """
    if digest != craft.labels_digest:
        known = ", ".join(craft.labels) or "no classes"
        raise LabelsChanged(
            f"{craft.name} flies another bundle meanwhile and knows {known[:200]}: look at your labels once more, then "
            "send again; nothing is lost"
        )


def check_review(stored: StoredCase, label: str, boxes_xyxy: Sequence[BoxXyxy]) -> None:
    """Refuse an answer that cannot be about this case.

    Raises:
        RequestError: a box reaches far outside the part of the frame that was sent, or the label is not printable.
    """
    for box in boxes_xyxy:
        try:
            Detection(box_xyxy=box, label=label, score=1.0, provenance="person")
        except ValidationError as exc:
            raise RequestError(first_problem(exc)) from exc
        check_shown(box, stored)
        if stored.case.target is not None and min(box[2] - box[0], box[3] - box[1]) < SMALLEST_PX:
            raise RequestError(
                f"--box {box_text(box)}: a side is under {SMALLEST_PX:g} px, and nothing that small can be followed; "
                "draw it larger, or leave it out where the target is not in the picture"
            )


def check_shown(box: BoxXyxy, stored: StoredCase) -> None:
    """Refuse a box that is not in a case's picture.

    Raises:
        RequestError: it reaches far outside the part of the frame that was sent.
    """
    regions = [part.region_xyxy for part in stored.case.parts]
    if box_inside(np.asarray([box], np.float32), np.asarray(regions, np.float32)).max() < LEAST_SHOWN:
        shown = " and ".join(map(box_text, regions))
        raise RequestError(
            f"box {box_text(box)} reaches outside the picture, which shows {shown} "
            "(x,y,w,h in full-frame pixels); draw it within"
        )


def box_text(box_xyxy: BoxXyxy) -> str:
    """A box as a person types it: x,y,w,h."""
    x1, y1, x2, y2 = box_xyxy
    return f"{x1:.0f},{y1:.0f},{x2 - x1:.0f},{y2 - y1:.0f}"


def public_key(text: str) -> str:
    """A craft's public key from the key's text or from its file.

    Raises:
        KeyFileError: it is neither.
    """
    if len(text) == _Z85_CHARS and not Path(text).exists():
        return text
    return read_public_key(Path(text)).decode()
