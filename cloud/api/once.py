"""Calls that are carried out once, however often a client that lost the answer sends them (`Idempotency-Key`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, TypeAlias, TypeVar

from fastapi import Depends, Header, HTTPException, Request, Response
from pydantic import BaseModel

from cloud.account_shelf import Role
from cloud.accounts import Principal
from cloud.backend import Backend
from cloud.errors import RequestError
from cloud.http_access import backend_of, requires

Answer = TypeVar("Answer", bound=BaseModel)

Key: TypeAlias = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[!-~]{1,64}$",
        description="Chosen by you for this call: the same key again, within a week, does nothing and gets the same "
        "answer, with the header `Idempotent-Replayed`.",
    ),
]


@dataclass(frozen=True)
class Call:
    """A call that changes something.

    Attributes:
        who: makes it.
        backend: of the service.
        key: by which it is known again; None is not.
        address: its method and path.
        response: takes headers.
    """

    who: Principal
    backend: Backend
    key: str | None
    address: str
    response: Response

    def note(self, what: str, about: str, detail: str = "") -> None:
        """Keep that it was done."""
        self.backend.store.note_event(self.who.name, what, about, detail)

    def once(self, kind: type[Answer], body: BaseModel | None, work: Callable[[], Answer]) -> Answer:
        """The answer of `work`, or of the time it was done before.

        Args:
            kind: of answer.
            body: what was sent: other content under a known key is refused.
            work: what is to be done once.

        Raises:
            HTTPException: 409 while the first one is at work or its end is not known, 422 for other content.
        """
        if self.key is None:
            return work()
        store, content = self.backend.store, _digest("" if body is None else body.model_dump_json())
        name = _digest(f"{self.address} {self.key}")
        before = store.begin_request(name, self.who.name, self.backend.clock.wall_s())
        if before is not None:
            return self._again(kind, before, content)
        try:
            answer = work()
        except (RequestError, HTTPException):  # refused, and nothing is changed: it may be made again; others may have
            store.forget_request(name, self.who.name)
            raise
        store.finish_request(name, self.who.name, json.dumps([content, answer.model_dump(mode="json")]))
        return answer

    def _again(self, kind: type[Answer], before: str, content: str) -> Answer:
        try:
            told, answer = json.loads(before)
        except ValueError as exc:
            raise HTTPException(
                409, f"the call of this Idempotency-Key is {before}: look at what it was to do, then use a new key"
            ) from exc
        if told != content:
            raise HTTPException(422, "header.idempotency-key: was used for other content; use a new one")
        self.response.headers["Idempotent-Replayed"] = "true"
        return kind.model_validate(answer)


def calls(role: Role) -> Callable[..., Awaitable[Call]]:
    """A dependency that gives the `Call` of who may do what takes a role."""
    known = Depends(requires(role))

    async def call(request: Request, response: Response, who: Principal = known, idempotency_key: Key = None) -> Call:
        return Call(who, backend_of(request), idempotency_key, f"{request.method} {request.url.path}", response)

    return call


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
