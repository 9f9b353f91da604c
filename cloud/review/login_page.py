"""Logging in and out."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Form, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from cloud.accounts import MOST_PASSWORD_CHARS, Principal
from cloud.http_access import log_in, log_out, requires
from cloud.review.forms import Sent, sends
from cloud.review.rendering import BASE, page

router = APIRouter()


@router.get("/login")
def show(request: Request, next: str = f"{BASE}/") -> Response:
    """The form."""
    return page(request, None, "login.html", next=_own(next), text="", name="")


@router.post("/login")
def enter(
    request: Request,
    name: Annotated[str, Form(max_length=64)],
    password: Annotated[str, Form(max_length=4 * MOST_PASSWORD_CHARS)],
    next: Annotated[str, Form(max_length=2000)] = f"{BASE}/",
) -> Response:
    """Let a person in, and back to the page they wanted."""
    answer = RedirectResponse(_own(next), 303)
    try:
        log_in(request, answer, name, password)
    except HTTPException as exc:
        told = page(request, None, "login.html", exc.status_code, next=_own(next), text=str(exc.detail), name=name)
        told.headers.update(exc.headers or {})
        return told
    return answer


@router.get("/alive")
def alive(who: Annotated[Principal, Depends(requires("viewer"))]) -> dict[str, str]:
    """That the server answers, and what the forms of an open page must repeat after its person logged in again."""
    return {"name": who.name, "csrf": who.csrf}


@router.post("/logout")
def leave(request: Request, sent: Annotated[Sent, Depends(sends("viewer"))]) -> Response:
    """Log this browser out."""
    del sent  # that it was sent by us is all
    answer = RedirectResponse(f"{BASE}/login", 303)
    log_out(request, answer)
    return answer


def _own(address: str) -> str:
    """An address within the console; anything else could send people to somebody's copy of this page."""
    parts = urlsplit(address)
    is_own = not parts.scheme and not parts.netloc and parts.path.startswith(f"{BASE}/") and "\\" not in address
    return address if is_own and not parts.path.startswith(f"{BASE}/login") else f"{BASE}/"
