"""The console as an app of its own, below the service's: its pages, its headers, and how it says what went wrong."""

from __future__ import annotations

from urllib.parse import quote

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as AnyHTTPException

from cloud.errors import RequestError, ReviewedMeanwhile, StoreError
from cloud.http_guard import Guard
from cloud.review import answering, case_page, fleet_pages, login_page, pictures, queue_page, target_page
from cloud.review.desk import ReviewDesk
from cloud.review.forms import Repeated
from cloud.review.rendering import BASE, is_part, page
from cloud.sideline import Superseded
from protocols.errors import SkyloopError

log = structlog.get_logger()

_HEADERS = {
    # No inline script or style, nothing from elsewhere: a label that looks like HTML stays text even if we err.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; manifest-src 'self'"
    ),
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_MISSING, _UNPROCESSABLE, _CONFLICT, _UNAVAILABLE, _FAULT = 404, 422, 409, 503, 500


def add_console(app: FastAPI) -> ReviewDesk:
    """Put the console below an app that knows its backend and doorman.

    Returns:
        What is to be closed when the service ends.
    """
    console = FastAPI(title="skyloop review console", docs_url=None, redoc_url=None, openapi_url=None)
    console.state.backend, console.state.doorman = app.state.backend, app.state.doorman
    console.state.review_desk = desk = ReviewDesk(app.state.backend)
    console.add_middleware(Guard, refuse=_refused, headers=_HEADERS)
    console.add_exception_handler(AnyHTTPException, _on_http_error)
    console.add_exception_handler(RequestValidationError, _on_bad_address)
    console.add_exception_handler(SkyloopError, _on_error)
    for part in (login_page, queue_page, case_page, pictures, answering, fleet_pages, target_page):
        console.include_router(part.router)
    console.mount("/static", _Static(packages=[("cloud.review", "static")]), name="static")
    app.mount(BASE, console)

    @app.get("/", include_in_schema=False)
    def home() -> RedirectResponse:
        return RedirectResponse(f"{BASE}/")

    return desk


def _refused(status: int, detail: str) -> Response:
    """Beside the page that is open, where it is a part of one."""
    return PlainTextResponse(detail, status, {"HX-Retarget": "#notices", "HX-Reswap": "innerHTML"})


class _Static(StaticFiles):
    """Files that a browser keeps, and asks each time whether they are still the same."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        """A file; its ETag makes asking cheap."""
        answer: Response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        answer.headers["Cache-Control"] = "no-cache"
        return answer


def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AnyHTTPException)  # also of the router: an address that is none of ours
    if error.status_code == 401:
        return _to_login(request)
    if error.status_code == _MISSING and error.detail == "Not Found":
        return _told(request, _MISSING, f"{request.url.path} is no page of the console: begin from the queue")
    return _told(request, error.status_code, str(error.detail), dict(error.headers or {}))


def _on_bad_address(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return _told(request, _UNPROCESSABLE, f"{where}: {first['msg']}; go back and choose from the page")


def _on_error(request: Request, error: Exception) -> Response:
    if isinstance(error, Repeated | ReviewedMeanwhile | Superseded):
        return _told(request, _CONFLICT, str(error))
    if isinstance(error, RequestError):
        return _told(request, _UNPROCESSABLE, str(error))
    if isinstance(error, StoreError):
        return _told(request, _UNAVAILABLE, str(error), {"Retry-After": "5"})
    log.warning("console fault", path=request.url.path, error=str(error))
    return _told(request, _FAULT, str(error))


def _to_login(request: Request) -> Response:
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    target = f"{BASE}/login?next={quote(here if request.method == 'GET' and not is_part(request) else f'{BASE}/')}"
    if not is_part(request):
        return RedirectResponse(target, 303)
    if request.method == "GET":
        return Response(status_code=401, headers={"HX-Redirect": target})
    # What was drawn is in the open page alone: it stays, and can be sent once its person is logged in again.
    text = "You are logged out, and nothing was sent. Log in in the new tab, then send again here."
    return _told(request, 401, text, link=f"{BASE}/login", link_text="Log in")


def _told(
    request: Request,
    status: int,
    text: str,
    headers: dict[str, str] | None = None,
    **link: str,
) -> HTMLResponse:
    """One line for a person: in the page that is open, or on a page of its own."""
    template = "notice.html" if is_part(request) else "error.html"
    answer = page(request, None, template, status, text=text, kind="error", **link)
    answer.headers.update(headers or {})
    if is_part(request):
        answer.headers.update({"HX-Retarget": "#notices", "HX-Reswap": "innerHTML"})
    return answer
