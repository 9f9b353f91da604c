"""Pictures: what a craft sent, and where its student sees what is like a thing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response

from cloud.accounts import Principal
from cloud.asking import parse_box
from cloud.case_images import open_case_images
from cloud.errors import RequestError
from cloud.http_access import backend_of, requires
from cloud.review.desk import desk_of
from cloud.review_shelf import BoxXyxy
from cloud.store import StoredCase
from protocols.imagery import encode_image

router = APIRouter()

_SHOWN_AS_SENT = ("image/jpeg", "image/png", "image/webp")
_FOR_EVER = {"Cache-Control": "private, max-age=86400, immutable"}
_MOST_BOXES = 32
_GONE = 410


@router.get("/cases/{craft}/{case_id}/pictures/{part}")
def picture(
    request: Request, craft: str, case_id: str, part: int, who: Annotated[Principal, Depends(requires("viewer"))]
) -> Response:
    """One picture of a case, in its own bytes where a browser can show them and eight bits a band are enough."""
    del who
    store = backend_of(request).store
    stored = store.load_case(case_id, craft)
    _check_kept(stored)
    case, payload = stored.case, store.read_imagery(stored)
    if not 0 <= part < len(case.parts):
        raise RequestError(f"case {case_id[:12]} has {len(case.parts)} pictures; choose one of them")
    if case.media_type in _SHOWN_AS_SENT:
        return Response(case.cut(payload)[part][1], media_type=case.media_type, headers=_FOR_EVER)
    image = open_case_images(case, payload)[part].image
    return Response(encode_image(image, "image/png"), media_type="image/png", headers=_FOR_EVER)


@dataclass(frozen=True)
class Like:
    """What a map compares with.

    Attributes:
        boxes_xyxy: drawn things, full-frame pixels.
        prompt: the id of one of the craft's; empty goes by the boxes.
    """

    boxes_xyxy: tuple[BoxXyxy, ...]
    prompt: str


def like_of(
    box: Annotated[list[str] | None, Query(max_length=_MOST_BOXES)] = None,
    prompt: Annotated[str, Query(max_length=64)] = "",
) -> Like:
    """What an address asks for; boxes are x,y,w,h."""
    return Like(tuple(map(parse_box, box or ())), prompt)


@router.get("/cases/{craft}/{case_id}/similarity/{part}")
async def similarity(
    request: Request,
    craft: str,
    case_id: str,
    part: int,
    like: Annotated[Like, Depends(like_of)],
    who: Annotated[Principal, Depends(requires("viewer"))],
) -> Response:
    """Where the craft's student sees what is like drawn boxes or a prompt; cosines in the headers."""
    store = backend_of(request).store
    stored = await asyncio.to_thread(store.load_case, case_id, craft)
    _check_kept(stored)
    job = desk_of(request).draft(
        f"{who.name} map {part}", lambda previewer: previewer.similarity(stored, part, like.boxes_xyxy, like.prompt)
    )
    found = await asyncio.wrap_future(job)
    told = {"X-Low": f"{found.low:.3f}", "X-High": f"{found.high:.3f}"}
    return Response(found.png, media_type="image/png", headers=told)


def _check_kept(stored: StoredCase) -> None:
    """Refuse what needs a picture that retention dropped.

    Raises:
        HTTPException: 410.
    """
    if not stored.has_imagery:
        raise HTTPException(_GONE, f"the picture of case {stored.case.case_id} was dropped for its age or to make room")
