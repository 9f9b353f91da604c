"""A case's page: the picture with what everybody says is in it, why it was sent, and the way to answer it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response

from cloud.accounts import Principal
from cloud.errors import RequestError
from cloud.http_access import backend_of, requires
from cloud.queue_shelf import QueuePlace, parse_place
from cloud.review.desk import desk_of
from cloud.review.hardness_words import hardness_parts, why_sent
from cloud.review.queue_page import STATE_WORDS, Wanted, case_link, wanted_of
from cloud.review.rendering import BASE, page
from cloud.store import CaseStore, Review, StoredCase
from protocols.limits import MAX_REFINEMENTS
from protocols.values import Detection

router = APIRouter()

_MOST_LABELS = 64


@router.get("/cases/{craft}/{case_id}")
def case(
    request: Request,
    craft: str,
    case_id: str,
    who: Annotated[Principal, Depends(requires("viewer"))],
    wanted: Annotated[Wanted, Depends(wanted_of)],
    place: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """The page."""
    store = backend_of(request).store
    try:
        stored = store.load_case(case_id, craft)
    except RequestError as exc:  # the store's own words name the cure of a command line
        text = f"{craft} has no case {case_id[:40]}: it was removed, or never came in; see the queue"
        raise HTTPException(404, text) from exc
    known, reviews = store.craft(stored.craft), store.reviews_of(stored.craft, stored.case.case_id)
    prompts = [p for p in store.bank(stored.craft).prompts if p.space_id == (known.space_id or stored.case.space_id)]
    labels = _labels(stored, store, [*known.labels, *(p.label for p in prompts)], desk_of(request).case_labels())
    refinements = store.refinements_of(stored.craft, stored.case.case_id)
    return page(
        request,
        who,
        "case.html",
        active="queue",
        stored=stored,
        case=stored.case,
        craft=known,
        parts=hardness_parts(stored.case),
        why=why_sent(stored.case),
        data={**_data(stored, store, reviews, labels), "known": list(known.labels)},
        labels=labels,
        digest=known.labels_digest,
        reviews=reviews,
        prompts=prompts,
        refinements=refinements,
        may_refine=_may_refine(stored) and len(refinements) < MAX_REFINEMENTS,
        around=_around(store, wanted, parse_place(place) if place else None),
        back=f"{BASE}/?{wanted.query()}",
        words=STATE_WORDS,
    )


def drawn_by(review: Review) -> list[dict[str, Any]]:
    """A person's boxes as the editor takes them."""
    things = [{"box": box, "label": label, "kind": "thing"} for label, box in review.named]
    label = review.label or "not it"
    return [*things, *({"box": box, "label": label, "kind": "negative"} for box in review.negatives_xyxy)]


def _data(stored: StoredCase, store: CaseStore, reviews: list[Review], labels: list[str]) -> dict[str, Any]:
    """Everything the editor needs, in full-frame pixels."""
    case, question = stored.case, stored.case.target
    link = f"{BASE}/cases/{stored.craft}/{case.case_id}"
    return {
        "frame": [case.frame.width, case.frame.height],
        "parts": [
            {
                "region": part.region_xyxy,
                "picture": f"{link}/pictures/{number}" if stored.has_imagery else None,
                "map": f"{link}/similarity/{number}",
            }
            for number, part in enumerate(case.parts)
        ],
        "edge": _found(case.detections),
        "teacher": _found(store.teacher_detections(stored)),
        "person": drawn_by(reviews[-1]) if reviews else [],
        "labels": labels[:_MOST_LABELS],
        "question": None if question is None else {"box": question.box_xyxy, "label": question.label},
    }


def _found(detections: Iterable[Detection]) -> list[dict[str, Any]]:
    return [
        {"box": d.box_xyxy, "label": d.label, "score": d.score, "provenance": d.provenance, "track": d.track_id}
        for d in detections
    ]


def _labels(stored: StoredCase, store: CaseStore, craft: Iterable[str], everywhere: Iterable[str]) -> list[str]:
    """Names to choose from, the likeliest first, each once."""
    here = [d.label for d in (*store.teacher_detections(stored), *stored.case.detections)]
    return list(dict.fromkeys([*here, *craft, *everywhere]))


def _may_refine(stored: StoredCase) -> bool:
    return stored.case.refines is None and stored.case.target is None


def _around(store: CaseStore, wanted: Wanted, place: QueuePlace | None) -> dict[str, str | None]:
    """Addresses of the cases before and after a place in the queue."""
    if place is None:
        return {"before": None, "after": None}
    found = {
        "before": store.queue_before(wanted.filter, place),
        "after": next(iter(store.queue(wanted.filter, place, 1)), None),
    }
    links: dict[str, str | None] = {}
    for name, neighbour in found.items():
        cases = [] if neighbour is None else store.cases_at([neighbour.row_id])
        links[name] = case_link(cases[0], wanted, neighbour) if cases else None
    return links
