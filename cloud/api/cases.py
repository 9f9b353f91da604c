"""Cases, their imagery, and what was said of them."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response

from cloud.api.geo import MEDIA_TYPE as GEO_JSON
from cloud.api.geo import FeatureCollection, case_features
from cloud.api.models import (
    CaseDetail,
    CaseIdPath,
    CaseOut,
    CaseQuery,
    InterpretationOut,
    OfCraft,
)
from cloud.api.paging import Cursor, Limit, Page, next_cursor, row_after
from cloud.api.problems import documented
from cloud.case_filter import CaseFilter
from cloud.case_images import open_case_images
from cloud.http_access import backend_of, requires
from cloud.store import CaseStore, StoredCase
from protocols.errors import ImageryError
from protocols.imagery import encode_image
from protocols.limits import MAX_CASE_PARTS
from protocols.values import Detection

router = APIRouter(tags=["cases"], dependencies=[Depends(requires("viewer"))])

_GONE = 410


@router.get("/cases", responses=documented())
def list_cases(request: Request, query: Annotated[CaseQuery, Query()]) -> Page[CaseOut]:
    """Cases, newest first."""
    store, limit = backend_of(request).store, query.limit
    wanted = CaseFilter(query.state, query.craft, query.label, query.received_since_s, query.received_until_s)
    rows = store.case_page(wanted, row_after(query.cursor, "cases", wanted), limit + 1)
    after = next_cursor(rows[limit - 1] if len(rows) > limit else None, "cases", wanted)
    return Page(items=[CaseOut.of(stored) for stored in store.cases_at(rows[:limit])], next=after)


@router.get("/cases/{case_id}", responses=documented(404))
def one_case(request: Request, case_id: CaseIdPath, craft: OfCraft = None) -> CaseDetail:
    """One case; `craft` where two of them used the same id."""
    return CaseDetail.of(backend_of(request).store.load_case(case_id, craft))


@router.get(
    "/cases/{case_id}/imagery",
    response_class=Response,
    responses={
        200: {
            "description": "A picture, as the craft sent it; what no browser shows comes as PNG.",
            "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in
                        ("image/jpeg", "image/png", "image/webp")},
        },
        **documented(404, _GONE),
    },
)  # fmt: skip
def imagery(
    request: Request,
    case_id: CaseIdPath,
    craft: OfCraft = None,
    part: Annotated[int, Query(ge=1, le=MAX_CASE_PARTS, description="Which picture of the case.")] = 1,
) -> Response:
    """One picture of a case."""
    store = backend_of(request).store
    stored = store.load_case(case_id, craft)
    if part > len(stored.case.parts):
        raise HTTPException(404, f"case {case_id} has {len(stored.case.parts)} pictures, no part {part}")
    content, media_type = _picture(store, stored, part)
    return Response(content, media_type=media_type, headers={"Cache-Control": "private, max-age=3600"})


@router.get(
    "/cases/{case_id}/geojson",
    response_model=FeatureCollection,
    response_class=Response,
    responses={200: {"content": {GEO_JSON: {"schema": {"$ref": "#/components/schemas/FeatureCollection"}}}},
               **documented(404)},
)  # fmt: skip
def on_the_ground(request: Request, case_id: CaseIdPath, craft: OfCraft = None) -> Response:
    """Footprints, camera and all that was found in a case, as GeoJSON; null geometries where the pose does not tell."""
    store = backend_of(request).store
    stored = store.load_case(case_id, craft)
    found = [
        (f"{by}/{number}", thing.box_xyxy, {"label": thing.label, "score": thing.score, "by": by})
        for by, things in _found(store, stored)
        for number, thing in enumerate(things, 1)
    ]
    return Response(case_features(stored, found).model_dump_json(), media_type=GEO_JSON)


@router.get("/cases/{case_id}/interpretations", responses=documented(404), tags=["interpretations"])
def answers_to_case(request: Request, case_id: CaseIdPath, craft: OfCraft = None) -> list[InterpretationOut]:
    """What teacher and person said of a case."""
    store = backend_of(request).store
    stored = store.load_case(case_id, craft)
    listed = store.answer_page(stored.craft, None, None, 2, case_id)
    return [InterpretationOut.of(answer) for answer in listed]


@router.get("/interpretations", responses=documented(), tags=["interpretations"])
def list_interpretations(
    request: Request,
    craft: OfCraft = None,
    by: Annotated[Literal["teacher", "person"] | None, Query(description="Only of these.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[InterpretationOut]:
    """Answers to cases, newest first."""
    before = row_after(cursor, "interpretations", craft, by)
    listed = backend_of(request).store.answer_page(craft, by, before, limit + 1)
    last = listed[limit - 1].row_id if len(listed) > limit else None
    items = [InterpretationOut.of(answer) for answer in listed[:limit]]
    return Page(items=items, next=next_cursor(last, "interpretations", craft, by))


def _picture(store: CaseStore, stored: StoredCase, part: int) -> tuple[bytes, str]:
    """A picture and its media type.

    Raises:
        HTTPException: 410, retention dropped it, or it does not decode.
    """
    if not stored.has_imagery:
        raise HTTPException(_GONE, f"the imagery of case {stored.case.case_id} was dropped for its age or to make room")
    payload, case = store.read_imagery(stored), stored.case
    if case.media_type != "application/x-skyloop-raw":
        return case.cut(payload)[part - 1][1], case.media_type
    try:
        return encode_image(open_case_images(case, payload)[part - 1].image, "image/png"), "image/png"
    except ImageryError as exc:
        raise HTTPException(_GONE, f"the imagery of case {case.case_id} does not decode: {exc}") from exc


def _found(store: CaseStore, stored: StoredCase) -> list[tuple[str, tuple[Detection, ...]]]:
    """Everything found in a case, by who says so."""
    answers = store.answer_page(stored.craft, None, None, 2, stored.case.case_id)
    told = [(listed.interpretation.by, listed.interpretation.detections) for listed in answers]
    return [("edge", stored.case.detections), *told]
