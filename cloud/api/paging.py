"""Pages of lists that grow: each begins after the last thing of the one before; nothing comes twice or is missed.

A cursor is opaque to who gets it, and good for the list and the filters that it was made for.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import Annotated, Generic, TypeAlias, TypeVar

from fastapi import HTTPException, Query
from pydantic import BaseModel, Field

Item = TypeVar("Item")

MAX_PAGE = 200

CURSOR = r"^[A-Za-z0-9_-]+$"

Limit: TypeAlias = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Things on the page.")]
Cursor: TypeAlias = Annotated[
    str | None,
    Query(min_length=1, max_length=200, pattern=CURSOR, description="`next` of the page before."),
]

_LARGEST_ROW = 2**63 - 1


class Page(BaseModel, Generic[Item]):
    """A page of a list, newest first."""

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
    if cursor is None:
        return None
    try:
        row, digest = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if isinstance(row, int) and 0 < row <= _LARGEST_ROW and digest == _digest(filters):
            return row
    except (binascii.Error, ValueError, TypeError, RecursionError):
        pass
    raise HTTPException(400, "cursor: is none of this list with these filters; begin again without it")


def next_cursor(row: int | None, *filters: object) -> str | None:
    """What a client sends for the page after; None where there is none."""
    if row is None:
        return None
    return base64.urlsafe_b64encode(json.dumps([row, _digest(filters)]).encode()).decode().rstrip("=")


def _digest(filters: tuple[object, ...]) -> str:
    return hashlib.sha256(repr(filters).encode()).hexdigest()[:12]
