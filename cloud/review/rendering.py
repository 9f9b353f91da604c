"""Templates filled in: whole pages, and the parts of them that htmx puts in place."""

from __future__ import annotations

import secrets
from datetime import datetime, timezone
from functools import cache
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from cloud.accounts import Principal
from cloud.http_access import backend_of

BASE = "/review"
"""Where the console lies."""

PAGES = (
    ("queue", f"{BASE}/", "Queue"),
    ("fleet", f"{BASE}/fleet", "Fleet"),
    ("targets", f"{BASE}/targets", "Targets"),
    ("map", f"{BASE}/map", "Map"),
    ("log", f"{BASE}/log", "Log"),
)

_KILO = 1000


def page(request: Request, who: Principal | None, template: str, status: int = 200, **values: Any) -> HTMLResponse:  # noqa: ANN401
    """A template as an answer.

    Args:
        request: that is answered.
        who: for whom; None where nobody is logged in.
        template: its name.
        status: of the answer.
        **values: what it shows, all of it escaped.
    """
    shared = {
        "who": who,
        "now_s": backend_of(request).clock.wall_s(),
        "csrf": who.csrf if who else "",
        "nonce": _nonce,
    }
    answer = HTMLResponse(_templates().get_template(template).render(**{**shared, **values}), status)
    if is_part(request) and request.method == "POST":
        answer.headers["X-Nonce"] = _nonce()  # the form that was sent stays open, and is another one from now on
    return answer


def is_part(request: Request) -> bool:
    """Whether htmx asks, and wants a part of a page."""
    return request.headers.get("hx-request") == "true"


def bytes_text(count: float) -> str:
    """A count of bytes as a person reads it."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < _KILO or unit == "GB":
            break
        count /= _KILO
    return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"


def age_text(seconds: float) -> str:
    """An age as a person reads it; `ages.js` says it likewise as time goes on."""
    seconds = max(seconds, 0.0)
    if seconds < 10:
        return f"{seconds:.1f} s"
    for unit, length in (("s", 1), ("min", 60), ("h", 3600), ("d", 86400)):
        following = {"s": 120, "min": 7200, "h": 172800, "d": float("inf")}[unit]
        if seconds < following:
            return f"{seconds / length:.0f} {unit}"
    raise AssertionError(seconds)


def utc_text(wall_s: float) -> str:
    """A wall time in UTC."""
    return datetime.fromtimestamp(wall_s, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def _nonce() -> str:
    return secrets.token_urlsafe(16)


@cache
def _templates() -> Environment:
    found = Environment(
        loader=PackageLoader("cloud.review"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals |= {"base": BASE, "pages": PAGES, "static": _static}
    found.filters |= {"bytes": bytes_text, "age": age_text, "utc": utc_text}
    return found


def _static(name: str) -> str:
    """The address of a file of ours."""
    return f"{BASE}/static/{name}"
