"""Who did what, and when."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from cloud.api.models import EventOut
from cloud.api.paging import Cursor, Limit, Page, next_cursor, row_after
from cloud.api.problems import documented
from cloud.http_access import backend_of, requires

router = APIRouter(tags=["events"], dependencies=[Depends(requires("operator"))])


@router.get("/events", responses=documented())
def list_events(
    request: Request,
    about: Annotated[
        str | None, Query(min_length=1, max_length=128, description="Only what was done to this case, craft or prompt.")
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[EventOut]:
    """What people and programs did, newest first."""
    before = row_after(cursor, "events", about)
    found = backend_of(request).store.events(limit + 1, before=before, about=about)
    last = found[limit - 1].event_id if len(found) > limit else None
    return Page(items=[EventOut(**asdict(event)) for event in found[:limit]], next=next_cursor(last, "events", about))
