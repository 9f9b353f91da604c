"""Craft, what they were last heard to be, and where they are."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from cloud.api.geo import MEDIA_TYPE as GEO_JSON
from cloud.api.geo import Feature, FeatureCollection, camera_point, ground_polygon
from cloud.api.models import BankOut, CraftName, CraftOut, LiveOut
from cloud.api.paging import Cursor, Limit, Page, page_of
from cloud.api.problems import documented
from cloud.backend import Backend
from cloud.gateway_settings import CraftLive
from cloud.http_access import backend_of, requires
from cloud.store import Craft, StoredCase

router = APIRouter(tags=["craft"], dependencies=[Depends(requires("viewer"))])


@router.get("/craft", responses=documented())
def list_craft(request: Request, limit: Limit = 50, cursor: Cursor = None) -> Page[CraftOut]:
    """Every craft ever enrolled, by name, with what it was last heard to be."""
    backend = backend_of(request)
    listed = page_of(backend.store.crafts(), lambda craft: (craft.name,), limit, cursor, "craft")
    facts = _facts(backend)
    return Page(items=[_told(craft, facts) for craft in listed.items], next=listed.next)


@router.get(
    "/craft/geojson",
    response_model=FeatureCollection,
    response_class=Response,
    responses={200: {"content": {GEO_JSON: {"schema": {"$ref": "#/components/schemas/FeatureCollection"}}}},
               **documented()},
)  # fmt: skip
def where_craft_are(request: Request) -> Response:
    """Where each craft was in its newest case and what that shows, as GeoJSON; with the age, for a map must not lie."""
    backend = backend_of(request)
    newest = backend.store.cases_at(backend.store.newest_case_rows())
    live, now_s = backend.live(), backend.clock.wall_s()
    features = [feature for stored in newest for feature in _places(stored, live.get(stored.craft), now_s)]
    return Response(FeatureCollection(features=features).model_dump_json(), media_type=GEO_JSON)


@router.get("/craft/{craft}", responses=documented(404))
def one_craft(request: Request, craft: CraftName) -> CraftOut:
    """One craft."""
    backend = backend_of(request)
    return _told(backend.store.craft(craft), _facts(backend, craft))


class _Facts:
    """What several tables say of all craft, or of one, read once."""

    def __init__(self, backend: Backend, craft: str | None) -> None:
        store = backend.store
        self.now_s, self.live = backend.clock.wall_s(), backend.live()
        self.counts, self.banks, self.answered_s = store.count_cases(), store.bank_refs(craft), store.newest_answers_s()


def _facts(backend: Backend, craft: str | None = None) -> _Facts:
    return _Facts(backend, craft)


def _told(craft: Craft, facts: _Facts) -> CraftOut:
    heard, bank = facts.live.get(craft.name), facts.banks.get(craft.name)
    answered_s = facts.answered_s.get(craft.name)
    return CraftOut(
        name=craft.name,
        is_revoked=craft.is_revoked,
        enrolled_at_s=craft.enrolled_at_s,
        space_id=craft.space_id,
        variant=craft.variant,
        labels=list(craft.labels),
        labels_digest=craft.labels_digest,
        bank=BankOut(**bank.model_dump()) if bank else None,
        is_current=None if heard is None or heard.bank is None or bank is None else heard.bank == bank,
        result_age_s=None if answered_s is None else max(facts.now_s - answered_s, 0.0),
        cases=facts.counts.get(craft.name, 0),
        live=None if heard is None else _live(heard, facts.now_s),
    )


def _live(heard: CraftLive, now_s: float) -> LiveOut:
    return LiveOut(
        is_online=heard.is_online,
        since_s=heard.since_s,
        heard_age_s=None if heard.heard_s is None else max(now_s - heard.heard_s, 0.0),
        bytes_received=heard.bytes_received,
        bytes_sent=heard.bytes_sent,
        spool_cases=heard.spool_cases,
        spool_bytes=heard.spool_bytes,
        bank=BankOut(**heard.bank.model_dump()) if heard.bank else None,
        software=heard.hello.craft_software if heard.hello else None,
    )


def _places(stored: StoredCase, heard: CraftLive | None, now_s: float) -> list[Feature]:
    frame = stored.case.frame
    about: dict[str, Any] = {
        "craft": stored.craft,
        "case_id": stored.case.case_id,
        "captured_at_s": frame.captured_at_s,
        "age_s": max(now_s - stored.received_at_s, 0.0),
        "is_online": heard is not None and heard.is_online,
    }
    camera, ground = camera_point(frame), ground_polygon(frame, (0, 0, frame.width, frame.height))
    return [
        Feature(id=f"{stored.craft}/camera", geometry=camera, properties={**about, "kind": "camera"}),
        Feature(id=f"{stored.craft}/footprint", geometry=ground, properties={**about, "kind": "footprint"}),
    ]
