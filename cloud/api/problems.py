"""What went wrong, as RFC 9457 has programs told: the thing, the limit, the cure, and which field where it was one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from cloud.errors import LabelsChanged, NotThere, RequestError, ReviewedMeanwhile, StoreError
from protocols.errors import SkyloopError

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"

_STORE_RETRY_S = 5
_MOST_SHOWN_CHARS = 80
_MOST_ERRORS = 20


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    field: str = Field(description="Where: `body.boxes.0.label`, `query.limit`, `header.idempotency-key`.")
    detail: str = Field(description="What is wrong with it.")


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str = Field("about:blank", description="`about:blank`: the status says what kind it is.")
    title: str = Field(description="The status in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What is wrong, what the limit is, and what to do.")
    errors: list[FieldProblem] = Field(default=[], description="Each field that is wrong, where fields are.")


def problem_response(
    status: int, detail: str, *, errors: Sequence[FieldProblem] = (), headers: Mapping[str, str] | None = None
) -> Response:
    """An answer that says what went wrong."""
    problem = Problem(
        type="about:blank", title=HTTPStatus(status).phrase, status=status, detail=detail, errors=list(errors)
    )
    content = json.dumps(problem.model_dump(exclude=set() if errors else {"errors"}))  # ASCII, whatever a label holds
    return Response(content, status, dict(headers or {}), MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These errors for the OpenAPI page, next to those that every call may get."""
    found = sorted({400, 401, 403, 408, 413, 422, 503, *statuses})
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in found}


def answer_with_problems(app: FastAPI) -> None:
    """Have an app answer every error so."""
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(RequestValidationError, _on_bad_request)
    app.add_exception_handler(SkyloopError, _on_error)
    app.add_exception_handler(Exception, _on_fault)


def on_http_error(_: Request, error: Exception) -> Response:
    """The problem that an `HTTPException` means."""
    assert isinstance(error, HTTPException)
    detail = str(error.detail)
    detail = _CURES.get(detail, detail)  # the frameworks' own name no cure
    return problem_response(error.status_code, detail, headers=error.headers)


_CURES = {
    "Not Found": "there is nothing at this address; see /api/v1/docs",
    "Method Not Allowed": "this address does not take that method; see the Allow header and /api/v1/docs",
    "There was an error parsing the body": "the body is no JSON in UTF-8, or nested too deeply; see /api/v1/docs",
}


def _on_bad_request(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = [
        FieldProblem(field=".".join(map(_printable, problem["loc"])) or "body", detail=_printable(problem["msg"]))
        for problem in error.errors()[:_MOST_ERRORS]
    ]
    first = found[0]
    return problem_response(422, f"{first.field}: {first.detail}; correct it as /api/v1/docs says", errors=found)


def _on_error(request: Request, error: Exception) -> Response:
    detail = " ".join(str(error).split())
    if isinstance(error, NotThere):
        return problem_response(404, detail)
    if isinstance(error, ReviewedMeanwhile | LabelsChanged):
        return problem_response(409, detail)
    if isinstance(error, RequestError):
        return problem_response(422, detail)
    if isinstance(error, StoreError):
        return problem_response(503, detail, headers={"Retry-After": str(_STORE_RETRY_S)})
    log.warning("api fault", path=request.url.path, error=detail)
    return problem_response(500, detail)


def _on_fault(request: Request, error: Exception) -> Response:
    log.error("api fault", path=request.url.path, exc_info=error)
    return problem_response(500, "an unforeseen error, with its traceback in the server's log; tell its operator")


def _printable(what: object) -> str:
    """Text of a request, cut, without what a terminal or a page could stumble over."""
    text = "".join(char if char.isprintable() else "?" for char in str(what))
    return text if len(text) <= _MOST_SHOWN_CHARS * 2 else f"{text[: _MOST_SHOWN_CHARS * 2]}…"
