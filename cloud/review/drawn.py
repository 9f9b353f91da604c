"""What a person drew, as the browser sends it: checked before it is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast, get_args

import numpy as np
from pydantic import TypeAdapter, ValidationError

from cloud.case_images import LEAST_SHOWN
from cloud.errors import RequestError
from cloud.review.forms import Sent
from cloud.review_shelf import BoxXyxy, Scope
from cloud.store import Review, StoredCase
from edge.config import first_problem
from edge.short_term import SMALLEST_PX
from protocols.boxes import box_inside
from protocols.fields import Box, Label, Value
from protocols.limits import MAX_CASE_DETECTIONS

_MOST_CHARS = 120_000
_WIDE: tuple[Scope, ...] = ("mission", "fleet")


class Drawn(Value):
    """One box.

    Attributes:
        box: full-frame pixels.
        label: what it holds.
        kind: `thing`, or a hard `negative`, whose label says what it is not.
    """

    box: Box
    label: Label
    kind: Literal["thing", "negative"] = "thing"


_DRAWN = TypeAdapter(tuple[Drawn, ...])


def review_of(sent: Sent, stored: StoredCase, now_s: float) -> Review:
    """The answer that a form holds.

    Args:
        sent: the form.
        stored: the case that it is about.
        now_s: wall time.

    Raises:
        RequestError: it cannot be about this case, or takes another role; in words.
    """
    drawn = parse_drawn(sent.text("boxes", _MOST_CHARS))
    things = [item for item in drawn if item.kind == "thing"]
    _check_nothing(sent, things, drawn)
    if stored.case.target is not None:
        return _place(sent, stored, things, now_s)
    for number, item in enumerate(drawn, 1):
        _check_box(item, number, stored)
    makes_prompt = sent.text("makes_prompt", 8, "") == "on"
    label = sent.text("prompt_label", 64, "") if makes_prompt else ""
    if makes_prompt and not any(item.label.casefold() == label.casefold() for item in things):
        raise RequestError(f"no box is called {label!r}: draw one, or make no prompt of it")
    return Review(
        craft=stored.craft,
        case_id=stored.case.case_id,
        label=label or (things[0].label if things else ""),
        boxes_xyxy=tuple(item.box for item in things),
        scope=_scope(sent) if makes_prompt else "craft",
        reviewer=sent.who.name,
        made_at_s=now_s,
        labels=tuple(item.label for item in things),
        negatives_xyxy=tuple(item.box for item in drawn if item.kind == "negative"),
        makes_prompt=makes_prompt,
    )


def parse_drawn(text: str) -> tuple[Drawn, ...]:
    """Boxes from a form.

    Raises:
        RequestError: one cannot be read, or there are too many.
    """
    try:
        drawn = _DRAWN.validate_json(text)
    except ValidationError as exc:
        raise RequestError(f"a box cannot be read ({first_problem(exc)}): draw it again") from exc
    if len(drawn) > MAX_CASE_DETECTIONS:
        raise RequestError(f"{len(drawn)} boxes, at most {MAX_CASE_DETECTIONS}: leave some out")
    return drawn


def _check_nothing(sent: Sent, things: Sequence[Drawn], drawn: Sequence[Drawn]) -> None:
    """Take nothing for an answer only where somebody says so: suggestions that nobody confirmed are none."""
    is_nothing = sent.text("not_there", 8, "") == "yes"
    if things and is_nothing:
        raise RequestError("a box is drawn, and you say that nothing is there: delete it, or send it")
    if not drawn and not is_nothing:
        raise RequestError("no box is drawn or confirmed: draw one, confirm one, or say that nothing is there")


def _check_box(item: Drawn, number: int, stored: StoredCase) -> None:
    x1, y1, x2, y2 = item.box
    if min(x2 - x1, y2 - y1) <= 0:
        raise RequestError(f"box {number} ({item.label}) has no area: draw it larger")
    if _shown(item.box, stored) < LEAST_SHOWN:
        raise RequestError(
            f"box {number} ({item.label}) reaches outside the picture: at least {LEAST_SHOWN:.0%} of it must lie in one"
        )


def _shown(box: BoxXyxy, stored: StoredCase) -> float:
    regions = np.asarray([part.region_xyxy for part in stored.case.parts], np.float32)
    return float(box_inside(np.asarray([box], np.float32), regions).max())


def _place(sent: Sent, stored: StoredCase, things: Sequence[Drawn], now_s: float) -> Review:
    """Where a target is: one box, or none."""
    question = stored.case.target
    assert question is not None
    if len(things) > 1:
        raise RequestError(f"{len(things)} boxes: target {question.target_id} is one thing; leave one box")
    for item in things:
        _check_box(item, 1, stored)
        x1, y1, x2, y2 = item.box
        if min(x2 - x1, y2 - y1) < SMALLEST_PX:
            raise RequestError(
                f"a side of the box is under {SMALLEST_PX:g} px, which cannot be followed: draw it larger"
            )
    return Review(
        craft=stored.craft,
        case_id=stored.case.case_id,
        label=question.label,
        boxes_xyxy=tuple(item.box for item in things),
        scope="craft",
        reviewer=sent.who.name,
        made_at_s=now_s,
        makes_prompt=False,
    )


def _scope(sent: Sent) -> Scope:
    text = sent.text("scope", 16, "craft")
    if text not in get_args(Scope):
        raise RequestError(f"scope {text!r} is not one of {', '.join(get_args(Scope))}")
    scope = cast(Scope, text)
    if scope in _WIDE and not sent.who.may("operator"):
        raise RequestError(f"{sent.who.name} is {sent.who.role}: a prompt for the whole {scope} takes operator")
    return scope
