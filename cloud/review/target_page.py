"""Targets: start following by a box on the newest frame, see how it goes, stop."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse

from cloud.accounts import Principal
from cloud.backend import Backend
from cloud.errors import RequestError
from cloud.http_access import backend_of, requires
from cloud.review.drawn import parse_drawn
from cloud.review.forms import Sent, sends
from cloud.review.rendering import BASE, is_part, page
from cloud.store import StoredCase
from cloud.target_shelf import FINISHED
from cloud.track_orders import PLACE_LIFE_S, order_of
from edge.target_requests import TargetRequest

router = APIRouter()

_KEY_DIGITS = 12
_FINISHED_SHOWN = 20


@router.get("/targets")
def targets(
    request: Request,
    who: Annotated[Principal, Depends(requires("viewer"))],
    craft: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """The targets, and the newest frame of a craft to draw a new one in."""
    backend = backend_of(request)
    names = [known.name for known in backend.store.crafts() if not known.is_revoked]
    chosen = craft if craft in names else (names[0] if names else "")
    newest = (
        next((case for case in backend.store.newest_cases(chosen, 1) if case.has_imagery), None) if chosen else None
    )
    return page(
        request,
        who,
        "targets.html",
        active="targets",
        crafts=names,
        chosen=chosen,
        newest=newest,
        data=None if newest is None else _data(newest),
        **_listed(backend),
    )


@router.get("/targets/list")
def listed(request: Request, who: Annotated[Principal, Depends(requires("viewer"))]) -> Response:
    """The part of the page that is read again every two seconds."""
    return page(request, who, "targets_list.html", **_listed(backend_of(request)))


@router.post("/targets")
def start(request: Request, sent: Annotated[Sent, Depends(sends("operator"))]) -> Response:
    """Have a craft follow what is in a box."""
    backend = backend_of(request)
    craft = sent.text("craft", 64)
    seen = backend.store.load_case(sent.text("case_id", 32), craft)
    x1, y1, x2, y2 = _drawn(sent)
    wish = TargetRequest(label=sent.text("label", 64, "") or "target", box_xywh=(x1, y1, x2 - x1, y2 - y1))
    key, now_s = uuid.uuid4().hex[:_KEY_DIGITS], backend.clock.wall_s()
    order = order_of(key, wish, seen)

    def work() -> str:
        who = sent.who.name
        backend.store.add_target(craft, order, by=who, now_s=now_s, expires_at_s=now_s + PLACE_LIFE_S)
        backend.wake()
        backend.store.note_event(who, "target started", craft, f"{key}: {wish.label} in case {seen.case.case_id[:12]}")
        return f"{craft} is asked to follow {wish.label}; the order lasts {PLACE_LIFE_S:.0f} s"

    told = _told(request, sent, sent.once(request, work), craft)
    told.headers["HX-Trigger"] = "kept"  # the browser drops its draft
    return told


@router.post("/targets/{craft}/{key}/stop")
def stop(request: Request, craft: str, key: str, sent: Annotated[Sent, Depends(sends("operator"))]) -> Response:
    """Follow a target no longer."""
    backend = backend_of(request)

    def work() -> str:
        found = backend.store.stop_target(craft, key, backend.clock.wall_s())
        backend.wake()
        backend.store.note_event(sent.who.name, "target stopped", craft, f"{key}: {found.order.label}")
        return f"{craft} is told to stop following {found.order.label}"

    return _told(request, sent, sent.once(request, work), craft)


def _told(request: Request, sent: Sent, told: str, craft: str) -> Response:
    if not is_part(request):
        return RedirectResponse(f"{BASE}/targets?craft={craft}", 303)
    return page(request, sent.who, "targets_list.html", told=told, **_listed(backend_of(request)))


def _drawn(sent: Sent) -> tuple[float, float, float, float]:
    """The one box of the form."""
    boxes = [item.box for item in parse_drawn(sent.text("boxes", 4000))]
    if len(boxes) != 1:
        raise RequestError(f"{len(boxes)} boxes are drawn, one wanted: a target is one thing")
    return boxes[0]


def _listed(backend: Backend) -> dict[str, Any]:
    found = backend.store.targets(backend.clock.wall_s())
    active = [target for target in found if target.state not in FINISHED]
    finished = [target for target in found if target.state in FINISHED]
    return {"active_targets": active[::-1], "finished": finished[::-1][:_FINISHED_SHOWN], "heard": backend.live()}


def _data(stored: StoredCase) -> dict[str, Any]:
    link = f"{BASE}/cases/{stored.craft}/{stored.case.case_id}"
    case = stored.case
    return {
        "frame": [case.frame.width, case.frame.height],
        "parts": [
            {"region": part.region_xyxy, "picture": f"{link}/pictures/{number}", "map": None}
            for number, part in enumerate(case.parts)
        ],
        "edge": [
            {"box": d.box_xyxy, "label": d.label, "score": d.score, "provenance": d.provenance, "track": d.track_id}
            for d in case.detections
        ],
        "teacher": [],
        "person": [],
        "labels": sorted({d.label for d in case.detections}),
        "question": None,
    }
