"""Forms that people send: who sent them, what is in them, and that each is carried out once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from fastapi import Depends, Request

from cloud.account_shelf import Role
from cloud.accounts import Principal
from cloud.errors import RequestError
from cloud.http_access import backend_of, requires

_MOST_FIELDS = 64
_NONCE_CHARS = (16, 64)

T = TypeVar("T")


class Repeated(RequestError):
    """A form came again that was carried out before."""


@dataclass(frozen=True)
class Sent:
    """One form.

    Attributes:
        who: sent it.
        fields: its fields, the last of each name.
    """

    who: Principal
    fields: dict[str, str]

    def text(self, name: str, most: int = 200, default: str | None = None) -> str:
        """A field's text.

        Raises:
            RequestError: it is missing and has no default, or is longer than `most` characters.
        """
        value = self.fields.get(name, default)
        if value is None:
            raise RequestError(f"the form lacks {name!r}: load the page again")
        if len(value) > most:
            raise RequestError(f"{name} has {len(value)} characters, at most {most}: shorten it")
        return value

    def number(self, name: str) -> int:
        """A field that counts.

        Raises:
            RequestError: it is no number from 0 on.
        """
        text = self.text(name, 18)
        if not text.isascii() or not text.isdigit():
            raise RequestError(f"{name} is {text!r}, a number from 0 on wanted: load the page again")
        return int(text)

    def once(self, request: Request, work: Callable[[], str]) -> str:
        """What came of a form that is carried out now.

        Args:
            request: that brought it.
            work: carries it out and says in words what came of it.

        Raises:
            Repeated: it was carried out before; nothing is done.
            RequestError: `work` refused it before anything changed; the same form may be sent again.
            CloudError: `work` broke off, perhaps after its change was kept; the same form is not carried out again.
        """
        store, nonce = backend_of(request).store, self.text("nonce", _NONCE_CHARS[1])
        if len(nonce) < _NONCE_CHARS[0]:
            raise RequestError("the form has no number of its own: load the page again")
        before = store.begin_request(nonce, self.who.name, backend_of(request).clock.wall_s())
        if before is not None:
            raise Repeated(f"this form was sent already, and is not carried out twice: {before}")
        try:
            outcome = work()
        except RequestError:
            store.forget_request(nonce, self.who.name)
            raise
        store.finish_request(nonce, self.who.name, outcome)
        return outcome


def sends(role: Role) -> Callable[..., Awaitable[Sent]]:
    """A dependency that gives a form of somebody who has at least a role; see `requires`."""
    known = Depends(requires(role))

    # As a default: fastapi reads annotations in the module's scope, where `known` is not.
    async def sent(request: Request, who: Principal = known) -> Sent:
        form = await request.form(max_files=0, max_fields=_MOST_FIELDS)
        return Sent(who, {name: value for name, value in form.multi_items() if isinstance(value, str)})

    return sent
