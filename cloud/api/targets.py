"""Targets: what craft are ordered to follow."""

from __future__ import annotations

import uuid
from typing import Annotated, TypeAlias

from fastapi import APIRouter, Depends, Path, Query, Request

from cloud.api.models import CraftName, OfCraft, TargetIn, TargetOut
from cloud.api.once import Call, calls
from cloud.api.paging import Cursor, Limit, Page, page_of
from cloud.api.problems import documented
from cloud.errors import RequestError
from cloud.http_access import backend_of, requires
from cloud.target_shelf import FINISHED
from cloud.track_orders import KEY_DIGITS, LABEL_LIFE_S, PLACE_LIFE_S, order_of
from edge.target_requests import TargetRequest

router = APIRouter(tags=["targets"])

TargetKey: TypeAlias = Annotated[str, Path(pattern=r"^[0-9a-f]{6,32}$", description="A target's key.")]


@router.get("/targets", dependencies=[Depends(requires("viewer"))], responses=documented(404))
def list_targets(
    request: Request,
    craft: OfCraft = None,
    every: Annotated[bool, Query(alias="all", description="Also those that are over, the last 64 of a craft.")] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[TargetOut]:
    """Targets that were ordered, newest first."""
    backend = backend_of(request)
    name = backend.store.craft(craft).name if craft else None
    found = [t for t in backend.store.targets(backend.clock.wall_s(), name) if every or t.state not in FINISHED]
    listed = page_of(found, lambda target: (-target.made_at_s, target.key), limit, cursor, "targets", name, every)
    return Page(items=[TargetOut.of(target) for target in listed.items], next=listed.next)


@router.get("/craft/{craft}/targets/{key}", dependencies=[Depends(requires("viewer"))], responses=documented(404))
def one_target(request: Request, craft: CraftName, key: TargetKey) -> TargetOut:
    """One target."""
    backend = backend_of(request)
    return TargetOut.of(backend.store.target(craft, key, backend.clock.wall_s()))


@router.post("/craft/{craft}/targets", status_code=201, responses=documented(404, 409))
def start_target(call: Annotated[Call, Depends(calls("operator"))], craft: CraftName, body: TargetIn) -> TargetOut:
    """Have a craft follow something; one that is offline hears of it when it connects, until the order expires."""
    store = call.backend.store
    request = _wanted(body)

    def work() -> TargetOut:
        seen = store.load_case(body.case_id, store.craft(craft).name) if body.case_id else None
        key, now_s = uuid.uuid4().hex[:KEY_DIGITS], call.backend.clock.wall_s()
        is_place = request.box_xywh is not None or request.point_xy is not None
        life_s = body.expires_s or (PLACE_LIFE_S if is_place else LABEL_LIFE_S)
        order = order_of(key, request, seen)
        store.add_target(craft, order, by=call.who.name, now_s=now_s, expires_at_s=now_s + life_s)
        call.backend.wake()
        call.note("target started", craft, f"{key} {order.label}")
        return TargetOut.of(store.target(craft, key, now_s))

    return call.once(TargetOut, body, work)


@router.delete("/craft/{craft}/targets/{key}", responses=documented(404))
def stop_target(call: Annotated[Call, Depends(calls("operator"))], craft: CraftName, key: TargetKey) -> TargetOut:
    """Have a craft follow a target no longer; one that is over stays as it is."""

    def work() -> TargetOut:
        stopped = call.backend.store.stop_target(craft, key, call.backend.clock.wall_s())
        call.backend.wake()
        call.note("target stopped", craft, stopped.key)
        return TargetOut.of(stopped)

    return call.once(TargetOut, None, work)


def _wanted(body: TargetIn) -> TargetRequest:
    """What a body asks for.

    Raises:
        RequestError: there is nothing to go by, or two places.
    """
    if body.box_xyxy is not None and body.point_xy is not None:
        raise RequestError("box_xyxy and point_xy: give one place")
    if body.box_xyxy is None and body.point_xy is None:
        if not body.label:
            raise RequestError("give box_xyxy, point_xy or label; a label may go with either place")
        return TargetRequest(label=body.label)
    box = None
    if body.box_xyxy is not None:
        x1, y1, x2, y2 = body.box_xyxy
        box = (x1, y1, x2 - x1, y2 - y1)
        if not (x2 > x1 and y2 > y1):
            raise RequestError(f"box_xyxy {x1:g},{y1:g},{x2:g},{y2:g} has no area; draw it larger")
    return TargetRequest(
        box_xywh=box, point_xy=body.point_xy, label=body.label or "target", is_normalised=body.is_normalised
    )
