"""What a person asks for on the command line, checked before it is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from cloud.errors import RequestError
from cloud.review_shelf import BoxXyxy
from cloud.store import StoredCase
from edge.config import first_problem
from edge.keys import read_public_key
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


def check_review(stored: StoredCase, label: str, boxes_xyxy: Sequence[BoxXyxy]) -> None:
    """Refuse an answer that cannot be about this case.

    Raises:
        RequestError: a box lies outside the part of the frame that was sent, or the label is not printable.
    """
    x1, y1, x2, y2 = stored.case.region_xyxy
    for box in boxes_xyxy:
        try:
            Detection(box_xyxy=box, label=label, score=1.0, provenance="person")
        except ValidationError as exc:
            raise RequestError(first_problem(exc)) from exc
        if box[0] >= x2 or box[1] >= y2 or box[2] <= x1 or box[3] <= y1:
            raise RequestError(
                f"box {box} lies outside the case's region {stored.case.region_xyxy} (x1, y1, x2, y2); "
                "give full-frame pixels, as on the rulers that `skyloop-cloud cases --images` draws"
            )


def public_key(text: str) -> str:
    """A craft's public key from the key's text or from its file.

    Raises:
        KeyFileError: it is neither.
    """
    if len(text) == _Z85_CHARS and not Path(text).exists():
        return text
    return read_public_key(Path(text)).decode()
