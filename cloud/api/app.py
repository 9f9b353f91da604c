"""The HTTP API as an app of its own below the service's: `/api/v1`, with its OpenAPI page at `/api/v1/docs`."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from cloud.api import bundles, cases, craft, events, prompts, reviews, targets
from cloud.api.geo import FeatureCollection
from cloud.api.problems import Problem, answer_with_problems, on_http_error, problem_response
from cloud.api.strict import only_known_query
from cloud.http_guard import Guard

BASE = "/api/v1"

_ABOUT = """Cases, answers, prompts, craft and targets of a skyloop cloud.

Send `Authorization: Bearer TOKEN` with a token of `skyloop-cloud tokens new`; its role says what it may do. Lists come
a page at a time: `next` of one page is `cursor` of the one after. Errors are `application/problem+json` (RFC 9457).
Boxes are pixels of the full frame, times Unix seconds, GeoJSON is WGS 84 (RFC 7946).
"""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>skyloop API</title><link rel="icon" href="data:,"><link rel="stylesheet" href="static/swagger-ui.css"></head>
<body><div id="docs"></div><script src="static/swagger-ui-bundle.js"></script><script src="static/docs.js"></script>
</body></html>
"""

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def add_api(app: FastAPI) -> FastAPI:
    """Put the API below an app that knows its backend and doorman; returns the API's own app."""
    api = FastAPI(
        title="skyloop",
        version=_version(),
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(only_known_query)],
    )
    api.state.backend, api.state.doorman = app.state.backend, app.state.doorman
    api.add_middleware(Guard, refuse=problem_response, headers=_HEADERS)
    answer_with_problems(api)
    for part in (cases, reviews, prompts, craft, targets, bundles, events):
        api.include_router(part.router)

    @api.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _PAGE_POLICY})

    api.mount("/static", StaticFiles(packages=[("cloud.api", "static")]), name="static")
    _describe(api)
    app.mount(BASE, api)
    app.add_exception_handler(HTTPException, on_http_error)  # an address with a line break never gets below BASE
    return api


def _describe(api: FastAPI) -> None:
    """Name the models of answers that are not made by FastAPI itself."""
    make = api.openapi

    def openapi() -> dict[str, Any]:
        if api.openapi_schema:
            return api.openapi_schema
        described = make()
        schemas = described["components"]["schemas"]
        for model in (Problem, FeatureCollection):
            own = model.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(own.pop("$defs", {}))
            schemas[model.__name__] = own
        for operations in described["paths"].values():
            for operation in operations.values():
                for parameter in operation.get("parameters", ()):
                    parameter["schema"] = _without_null(parameter["schema"])
        return described

    api.openapi = openapi  # type: ignore[method-assign]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter that may be left out: an address cannot hold null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind.get("type") != "null"]
    return {**{key: value for key, value in schema.items() if key != "anyOf"}, **kinds[0]} if kinds else schema


def _version() -> str:
    try:
        return version("skyloop")
    except PackageNotFoundError:
        return "0"
