"""What people say of cases: kept as in the console, and used by the running service at once."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request

from cloud.api.models import CaseIdPath, OfCraft, ReviewIn, ReviewOut
from cloud.api.once import Call, calls
from cloud.api.paging import Cursor, Limit, Page, next_cursor, row_after
from cloud.api.problems import documented
from cloud.asking import check_labels, check_review, check_shown
from cloud.craft_shelf import Craft
from cloud.errors import LabelsChanged, NotThere, RequestError
from cloud.http_access import backend_of, requires
from cloud.page_shelf import ListedReview
from cloud.store import Review, StoredCase
from protocols.limits import MAX_REVISION

router = APIRouter(tags=["reviews"])
_viewer = Depends(requires("viewer"))


@router.get("/reviews", dependencies=[_viewer], responses=documented())
def list_reviews(
    request: Request,
    craft: OfCraft = None,
    state: Annotated[Literal["waiting", "done", "failed"] | None, Query(description="Only in this state.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[ReviewOut]:
    """People's answers, newest first."""
    before = row_after(cursor, "reviews", craft, state)
    listed = backend_of(request).store.review_page(craft, state, before, limit + 1)
    last = listed[limit - 1].review.review_id if len(listed) > limit else None
    items = [ReviewOut.of(item) for item in listed[:limit]]
    return Page(items=items, next=next_cursor(last, "reviews", craft, state))


@router.get("/reviews/{review_id}", dependencies=[_viewer], responses=documented(404))
def one_review(request: Request, review_id: Annotated[int, Path(ge=1, le=MAX_REVISION)]) -> ReviewOut:
    """One answer, and what became of it."""
    found = backend_of(request).store.listed_review(review_id)
    if found is None:
        raise NotThere(f"no review {review_id}; see /api/v1/reviews")
    return ReviewOut.of(found)


@router.get("/cases/{case_id}/reviews", dependencies=[_viewer], responses=documented(404))
def reviews_of_case(request: Request, case_id: CaseIdPath, craft: OfCraft = None) -> list[ReviewOut]:
    """What people said of a case, oldest first."""
    store = backend_of(request).store
    stored = store.load_case(case_id, craft)
    known = store.reviews_of(stored.craft, case_id)
    return [ReviewOut.of(ListedReview(review, *store.review_outcome(review.review_id))) for review in known]


@router.post("/cases/{case_id}/reviews", status_code=201, responses=documented(404, 409))
def answer_case(
    call: Annotated[Call, Depends(calls("analyst"))], case_id: CaseIdPath, body: ReviewIn, craft: OfCraft = None
) -> ReviewOut:
    """Say what a case shows; the service uses it at once, see `state` of the review later."""
    if body.scope != "craft" and not call.who.may("operator"):
        raise HTTPException(403, f"{call.who.name} is {call.who.role}, a prompt of scope {body.scope} takes operator")
    store = call.backend.store

    def work() -> ReviewOut:
        stored = store.load_case(case_id, craft)
        if body.labels_digest is not None:
            _check_labels(body.labels_digest, store.craft(stored.craft))
        review = _review_of(body, stored, call)
        number = store.add_review(review, body.seen)
        call.backend.wake()
        call.note("review", case_id, f"{len(body.boxes)} boxes, {len(body.hard_negatives_xyxy)} hard negatives")
        kept = store.listed_review(number)
        assert kept is not None
        return ReviewOut.of(kept)

    return call.once(ReviewOut, body, work)


def _check_labels(digest: str, craft: Craft) -> None:
    try:
        check_labels(digest, craft)
    except LabelsChanged as exc:
        raise LabelsChanged(f"{exc}; labels_digest of {craft.name} is {craft.labels_digest}") from exc


def _review_of(body: ReviewIn, stored: StoredCase, call: Call) -> Review:
    """The review that a body means.

    Raises:
        RequestError: it cannot be about this case.
    """
    question, labels = stored.case.target, tuple(box.label for box in body.boxes)
    if question is not None and (len(body.boxes) > 1 or body.hard_negatives_xyxy or body.prompt_label):
        raise RequestError(f"target {question.target_id} is one thing: send one box of it, or none where it is gone")
    for x1, y1, x2, y2 in [box.box_xyxy for box in body.boxes] + body.hard_negatives_xyxy:
        if not (x2 > x1 and y2 > y1):
            raise RequestError(f"box {x1:g},{y1:g},{x2:g},{y2:g} (corners) has no area; draw it larger")
    for box in body.boxes:
        check_review(stored, box.label, [box.box_xyxy])
    for box_xyxy in body.hard_negatives_xyxy:
        check_shown(box_xyxy, stored)
    wanted = body.prompt_label
    if wanted is not None and wanted.casefold() not in {label.casefold() for label in labels}:
        raise RequestError(f"prompt_label {wanted!r}: no box is called so; give it one, or leave prompt_label out")
    return Review(
        craft=stored.craft,
        case_id=stored.case.case_id,
        label=wanted or (labels[0] if labels else "" if question is None else question.label),
        boxes_xyxy=tuple(box.box_xyxy for box in body.boxes),
        scope=body.scope if wanted else "craft",
        reviewer=call.who.name,
        made_at_s=call.backend.clock.wall_s(),
        labels=labels,
        negatives_xyxy=tuple(body.hard_negatives_xyxy),
        makes_prompt=wanted is not None,
    )
