"""The fleet as it is now, where it is, its prompts, and who did what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse

from cloud import banks
from cloud.accounts import Principal
from cloud.backend import Backend
from cloud.fleet_bundles import CraftStatus, FleetBundles
from cloud.gateway_settings import CraftLive
from cloud.http_access import backend_of, requires
from cloud.review.footprints import map_of
from cloud.review.forms import Sent, sends
from cloud.review.queue_page import case_link
from cloud.review.rendering import BASE, is_part, page
from cloud.store import Craft, StoredCase
from protocols.values import Prompt, PromptBank

router = APIRouter()

_STALE_HEARTBEATS = 3
_UNANSWERED_S = 60.0
"""A result older than this is stale where cases came after it: the teacher hangs, or cannot keep up."""

_MAPPED_CASES = 200
_LOG_ROWS = 100


@dataclass(frozen=True)
class CraftNow:
    """A craft as the fleet page shows it.

    Attributes:
        craft: as enrolled.
        live: what it was last heard to be.
        bank: that it should hold.
        holds_bank: whether it says that it does.
        newest: its newest case.
        answered_s: wall time of the newest answer to one of its cases; None where there is none.
        is_unanswered: cases came since, and that answer is old.
        prompts: of the bank.
        bundle: the published bundle that it flies, and the one on its way to it; None once its key is revoked.
    """

    craft: Craft
    live: CraftLive
    bank: PromptBank
    holds_bank: bool
    newest: StoredCase | None
    answered_s: float | None
    is_unanswered: bool
    prompts: tuple[Prompt, ...]
    bundle: CraftStatus | None


@router.get("/fleet")
def fleet(request: Request, who: Annotated[Principal, Depends(requires("viewer"))]) -> Response:
    """Every craft, and the prompts it holds."""
    return page(request, who, "fleet.html", active="fleet", **_fleet(backend_of(request)))


@router.get("/fleet/live")
def live(request: Request, who: Annotated[Principal, Depends(requires("viewer"))]) -> Response:
    """The part of the page that is read again every two seconds."""
    return page(request, who, "fleet_live.html", **_fleet(backend_of(request)))


@router.post("/prompts/{prompt_id}/revoke")
def revoke(request: Request, prompt_id: str, sent: Annotated[Sent, Depends(sends("operator"))]) -> Response:
    """Take a prompt back from every craft."""
    backend = backend_of(request)

    def work() -> str:
        holders = banks.withdraw(backend.store, prompt_id)
        backend.wake()
        backend.store.note_event(sent.who.name, "prompt revoked", prompt_id, f"from {', '.join(holders) or 'no craft'}")
        return f"{prompt_id} is taken back from {', '.join(holders) or 'no craft'}"

    told = sent.once(request, work)
    if not is_part(request):
        return RedirectResponse(f"{BASE}/fleet", 303)
    return page(request, sent.who, "fleet_live.html", told=told, **_fleet(backend))


@router.get("/map")
def ground_map(
    request: Request,
    who: Annotated[Principal, Depends(requires("viewer"))],
    craft: Annotated[str, Query(alias="from", max_length=64)] = "",
) -> Response:
    """Craft and the ground that their newest cases show."""
    store = backend_of(request).store
    cases = store.newest_cases(craft or None, _MAPPED_CASES)
    return page(
        request,
        who,
        "map.html",
        active="map",
        sheet=map_of(cases),
        chosen=craft,
        crafts=[known.name for known in store.crafts()],
        case_link=case_link,
        most=_MAPPED_CASES,
    )


@router.get("/log")
def event_log(
    request: Request,
    who: Annotated[Principal, Depends(requires("viewer"))],
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    about: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """Who did what and when, newest first; what was done to accounts is for operators, as in the API."""
    sees_all = who.may("operator")
    store = backend_of(request).store
    found = store.events(_LOG_ROWS + 1, before=before, about=about or None, with_accounts=sees_all)
    events = found[:_LOG_ROWS]
    following = events[-1].event_id if len(found) > _LOG_ROWS else None
    return page(request, who, "log.html", active="log", events=events, following=following, about=about)


def _fleet(backend: Backend) -> dict[str, Any]:
    facts = _Facts(backend)
    return {
        "fleet": [_now(backend, craft, facts) for craft in backend.store.crafts()],
        "stale_s": max(_STALE_HEARTBEATS * backend.settings.heartbeat_s, 3.0),
        "case_link": case_link,
    }


class _Facts:
    """What is known of all craft, read once."""

    def __init__(self, backend: Backend) -> None:
        self.heard, self.answered_s = backend.live(), backend.store.newest_answers_s()
        self.bundles = {status.craft: status for status in FleetBundles(backend.store).status()}


def _now(backend: Backend, craft: Craft, facts: _Facts) -> CraftNow:
    heard, answered_s = facts.heard.get(craft.name, CraftLive()), facts.answered_s.get(craft.name)
    bank, bundle = backend.store.bank(craft.name), facts.bundles.get(craft.name)
    newest = next(iter(backend.store.newest_cases(craft.name, 1)), None)
    is_unanswered = newest is not None and _is_unanswered(newest.received_at_s, answered_s, backend.clock.wall_s())
    is_held = heard.bank == bank.ref
    return CraftNow(craft, heard, bank, is_held, newest, answered_s, is_unanswered, bank.prompts, bundle)


def _is_unanswered(came_s: float, answered_s: float | None, now_s: float) -> bool:
    """Whether the newest answer is old, and a case came after it (or waits as long for the first one)."""
    since_s = came_s if answered_s is None else answered_s
    return now_s - since_s > _UNANSWERED_S and (answered_s is None or came_s > answered_s)
