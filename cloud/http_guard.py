"""What stands before the API and the console: how much of a request is read, in what time, and how many there are.

All is refused before anything of it is decoded, and with an answer of the part's own kind.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import TypeAlias

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Refuse: TypeAlias = Callable[[int, str], Response]
"""Status and reason to an answer."""

MAX_BODY_BYTES = 256 * 1024
"""Two hundred boxes with the longest labels take 60 kB."""

BODY_S = 20.0
"""In which a whole body must have come: who drips one byte a second holds a place for no longer."""

MAX_READING = 256
"""Bodies on their way; a place of their own, so that who drips keeps nobody from reading lists."""

MAX_AT_ONCE = 64
"""Requests in work; more wait a little, then are told to come back. They share fewer threads and connections."""

RETRY_S = 1
WAIT_S = 5.0
"""For a place: browsers ask for all pictures of a page at once, and should not be shown half of them."""

_STEP_S = 0.02

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class _TooLarge(Exception):
    """A body grew over its bound."""


class Guard:
    """Refuses what is too large, too slow or too much, and puts the headers on that keep browsers from guessing."""

    def __init__(self, app: ASGIApp, *, refuse: Refuse, headers: Mapping[str, str]) -> None:
        """Stand before an app.

        Args:
            app: what is guarded.
            refuse: makes the answer to what is not let through.
            headers: for every answer that has no such ones of its own, beside those that all parts share.
        """
        self._app, self._refuse, self._headers = app, refuse, {**_HEADERS, **headers}
        self._in_work = self._reading = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            await self._too_large(scope, receive, with_headers)
        elif self._reading >= MAX_READING:
            await self._too_many(self._reading, MAX_READING, scope, receive, with_headers)
        else:
            await self._serve(scope, receive, with_headers)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._reading += 1
        try:
            body = await asyncio.wait_for(_whole(receive), BODY_S)
            has_place = body is not None and await self._place()
        except _TooLarge:
            await self._too_large(scope, receive, send)
            return
        except asyncio.TimeoutError:
            detail = f"the body did not come within {BODY_S:g} s: send it again on a better link"
            await self._answer(408, detail, "Connection", "close")(scope, receive, send)
            return
        finally:
            self._reading -= 1
        if body is None:
            return
        if not has_place:
            await self._too_many(self._in_work, MAX_AT_ONCE, scope, receive, send)
            return
        try:
            await self._app(scope, _Replayed(body, receive), send)
        finally:
            self._in_work -= 1

    async def _place(self) -> bool:
        """Whether a place among those in work was taken."""
        until_s = time.monotonic() + WAIT_S
        while self._in_work >= MAX_AT_ONCE:
            if time.monotonic() >= until_s:
                return False
            await asyncio.sleep(_STEP_S)
        self._in_work += 1
        return True

    async def _too_large(self, scope: Scope, receive: Receive, send: Send) -> None:
        detail = f"the body is over {MAX_BODY_BYTES} bytes: send less at a time"
        await self._answer(413, detail, "Connection", "close")(scope, receive, send)

    async def _too_many(self, count: int, most: int, scope: Scope, receive: Receive, send: Send) -> None:
        detail = f"{count} requests are being worked on, at most {most}: come back in {RETRY_S} s"
        await self._answer(503, detail, "Retry-After", str(RETRY_S))(scope, receive, send)

    def _answer(self, status: int, detail: str, name: str, value: str) -> Response:
        answer = self._refuse(status, detail)
        answer.headers[name] = value
        return answer


async def _whole(receive: Receive) -> bytes | None:
    """A request's body; None where the client went away."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY_BYTES:
            raise _TooLarge
        if not message.get("more_body", False):
            return b"".join(parts)


class _Replayed:
    """The body that was read, and then whatever else the client does."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}
