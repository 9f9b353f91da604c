"""Pages of lists that grow: each begins after the last thing of the one before; nothing comes twice or is missed.

A cursor is opaque to who gets it, and good for the list and the filters that it was made for.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Generic, TypeAlias, TypeVar

from fastapi import HTTPException, Query
from pydantic import BaseModel, Field

Item = TypeVar("Item")
Place: TypeAlias = tuple[str | float, ...]
"""Where something stands in a list that is sorted by such."""

MAX_PAGE = 200

CURSOR = r"^[A-Za-z0-9_-]+$"

Limit: TypeAlias = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Things on the page.")]
Cursor: TypeAlias = Annotated[
    str | None,
    Query(min_length=1, max_length=200, pattern=CURSOR, description="`next` of the page before."),
]

_LARGEST_ROW = 2**63 - 1


class Page(BaseModel, Generic[Item]):
    """A page of a list, newest first, or by name."""

    items: list[Item] = Field(description="What is on it.")
    next: str | None = Field(description="The cursor of the page after it; null where this is the last.")


def row_after(cursor: str | None, *filters: object) -> int | None:
    """The row that the page before ended with; None at the beginning.

    Args:
        cursor: as a client sent it.
        filters: of the list: a cursor of other ones is refused.

    Raises:
        HTTPException: 400, it is none of ours, or of another list.
    """
    row = _read(cursor, filters)
    if row is None or (isinstance(row, int) and 0 < row <= _LARGEST_ROW):
        return row
    raise HTTPException(400, _STRANGE)


def next_cursor(row: int | Place | None, *filters: object) -> str | None:
    """What a client sends for the page after; None where there is none."""
    if row is None:
        return None
    return base64.urlsafe_b64encode(json.dumps([row, _digest(filters)]).encode()).decode().rstrip("=")


def page_of(
    found: Iterable[Item], place: Callable[[Item], Place], limit: int, cursor: str | None, *filters: object
) -> Page[Item]:
    """A page of a list that is short enough to be made whole.

    Args:
        found: all of it.
        place: tells things apart and sorts them.
        limit: things on the page.
        cursor: as a client sent it.
        filters: of the list, its name first.

    Raises:
        HTTPException: 400, the cursor is none of ours, or of another list.
    """
    ordered, after = sorted(found, key=place), _read(cursor, filters)
    if after is not None:
        try:
            ordered = [item for item in ordered if place(item) > tuple(after)]
        except TypeError as exc:  # made up, for a list of other things
            raise HTTPException(400, _STRANGE) from exc
    last = place(ordered[limit - 1]) if len(ordered) > limit else None
    return Page(items=ordered[:limit], next=next_cursor(last, *filters))


_STRANGE = "cursor: is none of this list with these filters; begin again without it"


def _read(cursor: str | None, filters: tuple[object, ...]) -> Any:  # noqa: ANN401 - decoded JSON
    """What the page before ended with."""
    if cursor is None:
        return None
    try:
        row, digest = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, TypeError, RecursionError) as exc:
        raise HTTPException(400, _STRANGE) from exc
    if row is None or digest != _digest(filters):
        raise HTTPException(400, _STRANGE)
    return row


def _digest(filters: tuple[object, ...]) -> str:
    return hashlib.sha256(repr(filters).encode()).hexdigest()[:12]
