"""The queue: cases by what a person's look at them is worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request, Response

from cloud.accounts import Principal
from cloud.case_filter import CaseFilter
from cloud.http_access import backend_of, requires
from cloud.queue_shelf import QueuePlace, parse_place
from cloud.review.desk import desk_of
from cloud.review.hardness_words import why_sent
from cloud.review.rendering import BASE, page
from cloud.store import StoredCase
from protocols.limits import MAX_LABEL_CHARS

router = APIRouter()

PAGE_CASES = 24

STATES = (
    ("unsure", "To look at"),
    ("stored", "Waiting for the teacher"),
    ("interpreted", "Answered by the teacher"),
    ("reviewed", "Answered by a person"),
    ("failed", "Failed"),
    ("all", "All"),
)
STATE_WORDS = {
    "unsure": "to look at",
    "stored": "waiting",
    "interpreted": "teacher answered",
    "reviewed": "reviewed",
    "failed": "failed",
}


@dataclass(frozen=True)
class Wanted:
    """What the queue is filtered by, as it stands in addresses.

    Attributes:
        state: one of `STATES`.
        craft: empty is any.
        label: empty is any.
        unknown: a state that was asked for and is none.
    """

    state: str = "unsure"
    craft: str = ""
    label: str = ""
    unknown: str = ""

    @property
    def filter(self) -> CaseFilter:
        """As the store takes it."""
        return CaseFilter(None if self.state == "all" else self.state, self.craft or None, self.label or None)

    def query(self, **more: str) -> str:
        """The part of an address after the question mark."""
        fields = {"state": self.state, "from": self.craft, "label": self.label, **more}
        return urlencode({name: value for name, value in fields.items() if value})


def wanted_of(
    state: Annotated[str, Query(max_length=16)] = "unsure",
    sender: Annotated[str, Query(alias="from", max_length=64)] = "",  # pages of a case have a craft in their path
    label: Annotated[str, Query(max_length=MAX_LABEL_CHARS)] = "",
) -> Wanted:
    """A filter from an address."""
    if state in dict(STATES):
        return Wanted(state, sender, label)
    return Wanted(craft=sender, label=label, unknown=state)


@dataclass(frozen=True)
class Card:
    """One case in the queue.

    Attributes:
        stored: the case.
        place: where it stands.
        link: to its page.
        why: it was sent, in a few words.
    """

    stored: StoredCase
    place: QueuePlace
    link: str
    why: str


@router.get("/")
def queue(
    request: Request,
    who: Annotated[Principal, Depends(requires("viewer"))],
    wanted: Annotated[Wanted, Depends(wanted_of)],
    after: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """One page of the queue."""
    store = backend_of(request).store
    places = store.queue(wanted.filter, parse_place(after) if after else None, PAGE_CASES + 1)
    shown, is_more = places[:PAGE_CASES], len(places) > PAGE_CASES
    counts = store.count_states()
    return page(
        request,
        who,
        "queue.html",
        active="queue",
        wanted=wanted,
        cards=_cards(request, shown, wanted),
        states=[(state, name, counts.get(state, 0)) for state, name in STATES if state != "all"]
        + [("all", "All", sum(counts.values()))],
        crafts=[craft.name for craft in store.crafts()],
        labels=desk_of(request).case_labels(),
        next=wanted.query(after=str(shown[-1])) if is_more else None,
        is_first=not after,
        words=STATE_WORDS,
    )


def case_link(stored: StoredCase, wanted: Wanted | None = None, place: QueuePlace | None = None) -> str:
    """The address of a case's page, from a place in the queue where there is one."""
    link = f"{BASE}/cases/{stored.craft}/{stored.case.case_id}"
    return link if wanted is None or place is None else f"{link}?{wanted.query(place=str(place))}"


def _cards(request: Request, places: list[QueuePlace], wanted: Wanted) -> list[Card]:
    by_row = {place.row_id: place for place in places}
    found = backend_of(request).store.cases_at(list(by_row))
    cases = {stored.row_id: stored for stored in found}
    return [
        Card(cases[row], place, case_link(cases[row], wanted, place), why_sent(cases[row].case))
        for row, place in by_row.items()
        if row in cases
    ]
