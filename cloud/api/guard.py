"""What stands before the HTTP API: how much of a request is read, how long it may take to come, and how many there are.

All is refused before anything of it is decoded, and with an answer of the API's own kind.
"""

from __future__ import annotations

import asyncio

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud.api.problems import problem_response

MAX_BODY_BYTES = 256 * 1024
"""Two hundred boxes with the longest labels take 60 kB."""

BODY_S = 20.0
"""In which a whole body must have come: who drips one byte a second holds a place for no longer."""

MAX_READING = 256
"""Bodies on their way; a place of their own, so that who drips keeps nobody from reading lists."""

MAX_AT_ONCE = 64
"""Requests in work; more are told to come back. The threads and database connections they share are fewer."""

RETRY_S = 1

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class _TooLarge(Exception):
    """A body grew over its bound."""


class Guard:
    """Refuses what is too large, too slow or too much, and puts the headers on that keep browsers from guessing."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand before an app."""
        self._app, self._in_work, self._reading = app, 0, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            await _too_large(scope, receive, with_headers)
        elif self._reading >= MAX_READING:
            await _too_many(self._reading, MAX_READING, scope, receive, with_headers)
        else:
            await self._serve(scope, receive, with_headers)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._reading += 1
        try:
            body = await asyncio.wait_for(_whole(receive), BODY_S)
        except _TooLarge:
            await _too_large(scope, receive, send)
            return
        except asyncio.TimeoutError:
            detail = f"the body did not come within {BODY_S:g} s: send it again on a better link"
            await problem_response(408, detail, headers={"Connection": "close"})(scope, receive, send)
            return
        finally:
            self._reading -= 1
        if body is None:
            return
        if self._in_work >= MAX_AT_ONCE:
            await _too_many(self._in_work, MAX_AT_ONCE, scope, receive, send)
            return
        self._in_work += 1
        try:
            await self._app(scope, _Replayed(body, receive), send)
        finally:
            self._in_work -= 1


async def _too_large(scope: Scope, receive: Receive, send: Send) -> None:
    detail = f"the body is over {MAX_BODY_BYTES} bytes: send less at a time"
    await problem_response(413, detail, headers={"Connection": "close"})(scope, receive, send)


async def _too_many(count: int, most: int, scope: Scope, receive: Receive, send: Send) -> None:
    detail = f"{count} requests are being worked on, at most {most}: come back in {RETRY_S} s"
    await problem_response(503, detail, headers={"Retry-After": str(RETRY_S)})(scope, receive, send)


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
