"""What an analyst does with a case: try a prompt, send an answer, see it come into force, ask for a better picture."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from cloud.accounts import Principal
from cloud.asking import check_labels
from cloud.backend import Backend
from cloud.errors import LabelsChanged, RequestError, ReviewedMeanwhile
from cloud.http_access import backend_of, requires
from cloud.prompt_desk import prompt_id_of
from cloud.refine_cli import request_of
from cloud.review.case_page import drawn_by
from cloud.review.desk import desk_of
from cloud.review.drawn import review_of
from cloud.review.forms import Sent, sends
from cloud.review.queue_page import case_link
from cloud.review.rendering import is_part, page
from cloud.store import Review, StoredCase

router = APIRouter()

_CONFLICT = 409


@router.post("/cases/{craft}/{case_id}/preview")
async def try_prompt(
    request: Request, craft: str, case_id: str, sent: Annotated[Sent, Depends(sends("analyst"))]
) -> Response:
    """What the drawn prompt would find in recent cases; nothing is kept or sent."""
    backend = backend_of(request)
    stored = await run_in_threadpool(backend.store.load_case, case_id, craft)
    review = review_of(sent, stored, backend.clock.wall_s())
    if not review.makes_prompt:
        raise RequestError("no prompt is to be made: choose one, then look at what it would find")
    started_s = time.monotonic()
    job = desk_of(request).draft(f"{sent.who.name} preview", lambda previewer: previewer.preview(review))
    found = await asyncio.wrap_future(job)
    took_s = time.monotonic() - started_s
    return page(request, sent.who, "preview.html", found=found, review=review, took_s=took_s, case_link=case_link)


@router.post("/cases/{craft}/{case_id}/review")
def answer(request: Request, craft: str, case_id: str, sent: Annotated[Sent, Depends(sends("analyst"))]) -> Response:
    """Keep an answer, and have the service use it at once."""
    backend = backend_of(request)
    stored = backend.store.load_case(case_id, craft)
    review = review_of(sent, stored, backend.clock.wall_s())

    def work() -> str:
        check_labels(sent.text("labels_digest", 64), backend.store.craft(stored.craft))
        number = backend.store.add_review(review, seen=sent.number("seen"))
        backend.wake()
        backend.store.note_event(sent.who.name, "review", stored.case.case_id, _in_words(review))
        return f"answer {number} is kept"

    try:
        told = sent.once(request, work)
    except (ReviewedMeanwhile, LabelsChanged) as exc:
        return _second(request, sent.who, stored, exc)
    if not is_part(request):
        return RedirectResponse(case_link(stored), 303)
    number = int(told.split()[1])
    asked = _Asked(stored.craft, stored.case.case_id, number, backend.clock.wall_s())
    outcome = _outcome(request, sent.who, asked, is_new=True)
    outcome.headers["HX-Trigger"] = "kept"  # the browser drops its draft
    return outcome


@router.get("/cases/{craft}/{case_id}/reviews/{number}")
def outcome(
    request: Request,
    craft: str,
    case_id: str,
    number: int,
    who: Annotated[Principal, Depends(requires("viewer"))],
    sent_s: float = 0.0,
) -> Response:
    """What became of an answer, by now."""
    return _outcome(request, who, _Asked(craft, case_id, number, sent_s), is_new=False)


@router.post("/cases/{craft}/{case_id}/refine")
def refine(request: Request, craft: str, case_id: str, sent: Annotated[Sent, Depends(sends("analyst"))]) -> Response:
    """Ask the craft to show the case again, better."""
    backend = backend_of(request)
    stored = backend.store.load_case(case_id, craft)
    margin = {"same": 1.0, "wider": 2.0}.get(sent.text("margin", 8, "same"), 1.0)

    def work() -> str:
        asked = request_of(stored, None, margin if not stored.case.further else 1.0, 95)
        backend.store.add_refinement(stored.craft, asked, by=sent.who.name, now_s=backend.clock.wall_s())
        backend.store.note_event(sent.who.name, "refine", stored.case.case_id, f"margin {margin:g}")
        return f"asked {stored.craft} for a better picture; it holds a frame for some seconds only"

    told = sent.once(request, work)
    if not is_part(request):
        return RedirectResponse(case_link(stored), 303)
    return page(request, sent.who, "refinements.html", told=told, **_refinements(backend, stored))


@router.get("/cases/{craft}/{case_id}/refinements")
def refinements(
    request: Request, craft: str, case_id: str, who: Annotated[Principal, Depends(requires("viewer"))]
) -> Response:
    """What became of requests for better pictures."""
    stored = backend_of(request).store.load_case(case_id, craft)
    return page(request, who, "refinements.html", told="", **_refinements(backend_of(request), stored))


@dataclass(frozen=True)
class _Asked:
    """An answer on its way: to which case, which answer, and the wall time at which it was sent."""

    craft: str
    case_id: str
    number: int
    sent_s: float


def _outcome(request: Request, who: Principal, asked: _Asked, *, is_new: bool) -> Response:
    backend = backend_of(request)
    known = backend.store.reviews_of(asked.craft, asked.case_id)
    found = next((review for review in known if review.review_id == asked.number), None)
    if found is None:
        raise RequestError(f"no answer {asked.number} to this case: load the page again")
    state, reason = backend.store.review_outcome(asked.number)
    holders = _holders(backend, found) if state == "done" and found.makes_prompt else []
    is_settled = state != "waiting" and all(holder.is_in_force or not holder.is_online for holder in holders)
    return page(
        request,
        who,
        "outcome.html",
        review=found,
        asked=asked,
        state=state,
        reason=reason,
        holders=holders,
        is_settled=is_settled,
        is_new=is_new,
        seen=len(known),
        age_s=backend.clock.wall_s() - asked.sent_s,
    )


@dataclass(frozen=True)
class _Holder:
    craft: str
    is_online: bool
    is_in_force: bool


def _holders(backend: Backend, review: Review) -> list[_Holder]:
    """The craft that hold the prompt of an answer, and whether each says that it has the bank with it."""
    prompt_id = prompt_id_of(review.craft, review.label, "person", review.scope)
    live, holders = backend.live(), []
    names = [review.craft] if review.scope == "craft" else [c.name for c in backend.store.crafts() if not c.is_revoked]
    for name in names:
        bank = backend.store.bank(name)
        if any(prompt.prompt_id == prompt_id for prompt in bank.prompts):
            heard = live.get(name)
            is_online = heard is not None and heard.is_online
            holders.append(_Holder(name, is_online, heard is not None and heard.bank == bank.ref))
    return holders


def _second(request: Request, who: Principal, stored: StoredCase, error: RequestError) -> Response:
    """Tell a person what changed while they drew, and let them send again."""
    store = backend_of(request).store
    reviews = store.reviews_of(stored.craft, stored.case.case_id)
    values: dict[str, Any] = {
        "text": str(error),
        "seen": len(reviews),
        "digest": store.craft(stored.craft).labels_digest,
        "other": reviews[-1] if reviews and isinstance(error, ReviewedMeanwhile) else None,
        "drawn": drawn_by(reviews[-1]) if reviews else [],
    }
    if not is_part(request):
        return page(request, who, "error.html", _CONFLICT, **values)
    # No fault of the page: a browser writes every 4xx in red into its console, beside the notice that is shown.
    answer = page(request, who, "second.html", **values)
    answer.headers.update({"HX-Retarget": "#notices", "HX-Reswap": "innerHTML"})
    return answer


def _refinements(backend: Backend, stored: StoredCase) -> dict[str, Any]:
    found = backend.store.refinements_of(stored.craft, stored.case.case_id)
    is_open = any(item.state in ("queued", "sent") for item in found)
    return {"refinements": found, "stored": stored, "is_open": is_open}


def _in_words(review: Review) -> str:
    """An answer as the log has it."""
    counts = {label: len(review.boxes_of(label)) for label in dict.fromkeys(review.labels)}
    things = ", ".join(f"{count} {label}" for label, count in counts.items()) or "nothing there"
    negatives = f"; {len(review.negatives_xyxy)} hard negatives" if review.negatives_xyxy else ""
    prompt = f"; prompt of {review.label} for {review.scope}" if review.makes_prompt else ""
    return f"{things}{negatives}{prompt}"
