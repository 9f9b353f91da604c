"""A parameter that a call does not know is refused: a misspelt filter would give a list of everything."""

from __future__ import annotations

from fastapi import HTTPException, Request

_MOST_SHOWN_CHARS = 40


def only_known_query(request: Request) -> None:
    """A dependency that compares a call's query with the API's own description.

    Raises:
        HTTPException: 422, a parameter is not in it.
    """
    path, method = request.scope["route"].path, request.method.lower()
    described = request.app.openapi()["paths"].get(path, {}).get(method)
    if described is None:  # the pages about the API
        return
    known = sorted(each["name"] for each in described.get("parameters", ()) if each["in"] == "query")
    for name in request.query_params:
        if name not in known:
            shown = name[:_MOST_SHOWN_CHARS].encode("ascii", "backslashreplace").decode()
            told = f"known are {', '.join(known)}" if known else "it takes none"
            raise HTTPException(422, f"query: {shown!r} is no parameter of this call; {told}")
