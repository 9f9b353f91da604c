"""Who may use the pages and the HTTP API: a token, a log-in cookie, or the header of a trusted reverse proxy.

Every route depends on `requires(role)`. What changes something and comes from a browser must also repeat that browser's
CSRF token, in the header `X-CSRF-Token` or the form field `csrf`, and come from our own pages (`Sec-Fetch-Site`).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Awaitable, Callable
from typing import Annotated

import structlog
from fastapi import HTTPException, Request, Response, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from cloud.account_shelf import Role
from cloud.accounts import TRIES, Principal
from cloud.backend import Backend

log = structlog.get_logger()

COOKIE = "skyloop_login"

_POLLS = "x-poll"
_COOKIE_S = 90 * 86400  # its use prolongs a log-in: the store alone says when it ends

_SAFE = ("GET", "HEAD", "OPTIONS")
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_FORM_FIELDS = 2000
_BEARER = HTTPBearer(auto_error=False, description="A token of `skyloop-cloud tokens new`.")
_PROXY_KEY = secrets.token_bytes(32)  # of this process: its restart only makes people load their page again

Dependency = Callable[..., Awaitable[Principal]]


def backend_of(request: Request) -> Backend:
    """The backend that the app was made with."""
    backend = request.app.state.backend
    assert isinstance(backend, Backend)
    return backend


def requires(role: Role) -> Dependency:
    """A dependency that gives the `Principal` of who makes a request.

    It answers 401 where nobody is known, and 403 where the role does not do or a form is not one of ours.

    Args:
        role: the least one that may.
    """

    async def principal(
        request: Request, bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]
    ) -> Principal:
        found = await run_in_threadpool(_known, request, bearer)
        if found.csrf and request.method not in _SAFE:
            await _check_form(request, found)
        if not found.may(role):
            raise HTTPException(403, f"{found.name} is {found.role}, this takes {role}: ask an admin for the role")
        return found

    return principal


def log_in(request: Request, response: Response, name: str, password: str) -> None:
    """Open a log-in for the browser behind a request, and give it the cookie; takes a tenth of a second of a core.

    Raises:
        HTTPException: 401 where name or password are wrong; with `Retry-After`, 429 after too many of these, and 503
            while others log in.
    """
    check_origin(request)
    with request.app.state.doorman.place() as is_free:
        if not is_free:
            raise HTTPException(503, "others are logging in: try again in a second", headers={"Retry-After": "1"})
        _log_in(request, response, name, password)


def log_out(request: Request, response: Response) -> None:
    """Close the log-in of the browser behind a request."""
    secret = request.cookies.get(COOKIE)
    if secret:
        backend_of(request).store.close_login(secret)
    response.delete_cookie(COOKIE, path="/")


def check_origin(request: Request) -> None:
    """Refuse what another site's page had a browser send.

    Raises:
        HTTPException: 403; browsers of before 2023 that say nothing are judged by `Origin`.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    host = request.headers.get("host", "")
    is_own = site in ("same-origin", "none") if site else origin is None or origin.partition("://")[2] == host
    if not is_own:
        raise HTTPException(403, "this form came from another site's page: open the console itself and send it there")


def is_encrypted(request: Request) -> bool:
    """Whether the browser speaks TLS, to us or to a trusted proxy before us."""
    told = _last_hop(request, "x-forwarded-proto") if _is_proxied(request) else ""
    return (told or request.url.scheme) == "https"


def _log_in(request: Request, response: Response, name: str, password: str) -> None:
    backend, doorman = backend_of(request), request.app.state.doorman
    address = _address_of(request)
    number = doorman.reserve(name, address)
    if not number:
        wait_s = max(doorman.wait_s(name, address), 1.0)
        raise HTTPException(
            429, f"too many wrong passwords: wait {wait_s:.0f} s", headers={"Retry-After": f"{wait_s:.0f}"}
        )
    if not doorman.admits(name, password, address):
        _note_failure(backend, name, address, number)
        raise HTTPException(401, "name or password is wrong; `skyloop-cloud users password` makes a new one")
    life_s = backend.settings.web.login_s
    secret = backend.store.open_login(name, backend.clock.wall_s(), life_s)
    backend.store.note_event(name, "login", detail=f"from {address}")
    response.set_cookie(
        COOKIE, secret, max_age=_COOKIE_S, httponly=True, samesite="strict", secure=is_encrypted(request), path="/"
    )


def _note_failure(backend: Backend, name: str, address: str, number: int) -> None:
    """Keep that somebody guesses, once until the name may be tried again: a stranger must not fill the log of actions.

    A name that nobody has may be a password in the wrong field, and is written nowhere.
    """
    is_known = backend.store.user(name) is not None
    log.info("login failed", address=address, number=number, is_known=is_known)
    if is_known and number == TRIES:
        backend.store.note_event(name, "login failed", detail=f"{number} times from {address}: it has to wait there")


def _known(request: Request, bearer: HTTPAuthorizationCredentials | None) -> Principal:
    if bearer is not None:
        return _of_token(request, bearer.credentials)
    secret = request.cookies.get(COOKIE)
    if secret:
        backend = backend_of(request)
        # A page that reads itself again is not used: it must not keep who left it logged in for ever.
        life_s = None if _POLLS in request.headers else backend.settings.web.login_s
        login = backend.store.login(secret, backend.clock.wall_s(), life_s)
        if login is not None:
            return Principal(login.user.name, login.user.role, "login", login.csrf)
    proxied = _of_proxy(request)
    if proxied is not None:
        return proxied
    raise _unknown("nobody is logged in, or the log-in is over: log in again, or send a token")


def _of_token(request: Request, secret: str) -> Principal:
    backend = backend_of(request)
    token = backend.store.token(secret, backend.clock.wall_s())
    if token is None:
        raise _unknown("this token is not known, revoked or expired: make one with `skyloop-cloud tokens new`")
    return Principal(f"token:{token.name}", token.role, "token")


def _is_proxied(request: Request) -> bool:
    """Whether the next hop is a reverse proxy that the settings trust; anybody else's headers prove nothing."""
    return request.client is not None and request.client.host in backend_of(request).settings.web.proxies


def _address_of(request: Request) -> str:
    """Where a client is, by what a trusted proxy added last: what stands before it the client may have made up."""
    peer = request.client.host if request.client else ""
    told = _last_hop(request, "x-forwarded-for") if _is_proxied(request) else ""
    try:
        return str(ipaddress.ip_address(told))
    except ValueError:
        return peer


def _last_hop(request: Request, header: str) -> str:
    return ",".join(request.headers.getlist(header)).rpartition(",")[2].strip()


def _of_proxy(request: Request) -> Principal | None:
    backend = backend_of(request)
    web = backend.settings.web
    name = request.headers.get(web.proxy_user_header) if web.proxy_user_header and _is_proxied(request) else None
    if not name:
        return None
    user = backend.store.user(name)
    role = web.proxy_role if user is None else None if user.is_disabled else user.role
    if role is None:
        raise HTTPException(403, f"{name[:64]!r} has no account here; `skyloop-cloud users add` makes one")
    csrf = hmac.new(_PROXY_KEY, name.encode(), hashlib.sha256).hexdigest()
    return Principal(name[:64], role, "proxy", csrf)


async def _check_form(request: Request, principal: Principal) -> None:
    check_origin(request)
    told = request.headers.get("x-csrf-token")
    if told is None and request.headers.get("content-type", "").partition(";")[0].strip().lower() in _FORMS:
        value = (await request.form(max_files=0, max_fields=_FORM_FIELDS)).get("csrf")
        told = value if isinstance(value, str) else None
    if told is None or not hmac.compare_digest(told.encode(), principal.csrf.encode()):
        raise HTTPException(403, "this page is from an earlier log-in: load it again and repeat what you did")


def _unknown(detail: str) -> HTTPException:
    return HTTPException(401, detail, headers={"WWW-Authenticate": "Bearer"})
