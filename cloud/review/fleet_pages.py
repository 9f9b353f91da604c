"""The fleet as it is now, where it is, its prompts, and who did what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse

from cloud import banks
from cloud.accounts import Principal
from cloud.backend import Backend
from cloud.bundle_shelf import OVER, CraftBundle, RolloutState
from cloud.gateway_settings import CraftLive
from cloud.http_access import backend_of, requires
from cloud.review.footprints import map_of
from cloud.review.forms import Sent, sends
from cloud.review.queue_page import case_link
from cloud.review.rendering import BASE, is_part, page
from cloud.store import Craft, StoredCase
from protocols.values import PromptBank

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
        newest: its newest case.
        answered_s: wall time of the newest answer to one of its cases; None where there is none.
        is_unanswered: cases came since, and that answer is old.
        flies: the published bundle that it says it flies; "" is one that it was given by hand, None is not known.
        rollout: how far the rollout is that it spoke of last; None where it never was offered one.
        rollout_state: of that rollout.
    """

    craft: Craft
    live: CraftLive
    bank: PromptBank
    newest: StoredCase | None
    answered_s: float | None
    is_unanswered: bool
    flies: str | None
    rollout: CraftBundle | None
    rollout_state: RolloutState | None

    @property
    def holds_bank(self) -> bool:
        """Whether it says that it holds the bank."""
        return self.live.bank == self.bank.ref


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
        "over": OVER,
    }


class _Facts:
    """What is known of all craft, read once."""

    def __init__(self, backend: Backend) -> None:
        self.heard, self.answered_s = backend.live(), backend.store.newest_answers_s()
        self.flown = {craft: name or "" for craft, name in backend.store.flown_bundles().items()}
        self.newest = backend.store.newest_craft_bundles()
        self.rollouts = {rollout.rollout_id: rollout.state for rollout in backend.store.rollouts()}


def _now(backend: Backend, craft: Craft, facts: _Facts) -> CraftNow:
    heard, answered_s = facts.heard.get(craft.name, CraftLive()), facts.answered_s.get(craft.name)
    bank, told = backend.store.bank(craft.name), facts.newest.get(craft.name)
    newest = next(iter(backend.store.newest_cases(craft.name, 1)), None)
    is_unanswered = newest is not None and _is_unanswered(newest.received_at_s, answered_s, backend.clock.wall_s())
    return CraftNow(
        craft=craft,
        live=heard,
        bank=bank,
        newest=newest,
        answered_s=answered_s,
        is_unanswered=is_unanswered,
        flies=facts.flown.get(craft.name),
        rollout=told,
        rollout_state=facts.rollouts.get(told.rollout_id) if told else None,
    )


def _is_unanswered(came_s: float, answered_s: float | None, now_s: float) -> bool:
    """Whether the newest answer is old, and a case came after it (or waits as long for the first one)."""
    since_s = came_s if answered_s is None else answered_s
    return now_s - since_s > _UNANSWERED_S and (answered_s is None or came_s > answered_s)
