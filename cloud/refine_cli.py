"""`skyloop-cloud refine`: ask a craft for a better picture of a case while it holds the frame."""

from __future__ import annotations

import getpass
import json
import time
import uuid
from typing import Annotated

import numpy as np
import typer
from pydantic import ValidationError

from cloud.asking import parse_box
from cloud.errors import RequestError
from cloud.options import AsJson, Data, opened_store, outcome
from cloud.refine_shelf import LIFE_S, Refinement
from cloud.store import StoredCase
from edge.config import first_problem
from edge.regions import grown
from protocols.messages import RefineRequest
from protocols.values import check_region

_ID_DIGITS = 12


def refine(
    case: Annotated[str, typer.Argument(help="The case's id, or its first 6 or more digits")],
    data: Data,
    box: Annotated[str | None, typer.Option(help="x,y,w,h in full-frame pixels; default what the case showed")] = None,
    margin: Annotated[
        float, typer.Option(min=1, max=100, help="Times the sides of what the case showed, or of --box")
    ] = 1.0,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of the JPEG")] = 95,
    as_json: AsJson = False,
) -> None:
    """Ask a craft to show a case again, better, or with more around it; its answer is a new case.

    A craft holds its frames for some seconds (agent.pipeline.recent.seconds, 4 by default): later it says that the
    frame is gone.

    Example: skyloop-cloud refine 3f2a9c --margin 2 --data skyloop-data
    """
    with opened_store(data) as store:
        stored = store.load_case(case)
        if store.craft(stored.craft).is_revoked:
            raise RequestError(f"{stored.craft}: its key is revoked; let it in again with skyloop-cloud enroll")
        request = request_of(stored, box, margin, quality)
        store.add_refinement(stored.craft, request, by=getpass.getuser()[:128], now_s=time.time())
        found = outcome(store, lambda: store.refinement(request.request_id), _is_waiting)
    if as_json:
        typer.echo(json.dumps(refinement_record(found)))
    else:
        _tell(found)


def request_of(stored: StoredCase, box: str | None, margin: float, quality: int) -> RefineRequest:
    """What to send for a person's wish.

    Raises:
        RequestError: it cannot be asked of this case.
    """
    case = stored.case
    if case.refines is not None:
        raise RequestError(f"case {case.case_id[:12]} shows {case.refines[:12]} again; refine that one")
    if case.target is not None:
        raise RequestError(f"case {case.case_id[:12]} asks where a target is; answer it with `skyloop-cloud review`")
    region = parse_box(box) if box is not None else None
    if region is None and margin > 1:
        if case.further:
            raise RequestError(f"case {case.case_id[:12]} shows {len(case.parts)} places; say which one with --box")
        region = case.region_xyxy
    if region is not None:
        try:
            check_region(region, case.frame)
        except ValueError as exc:
            raise RequestError(f"--box: {exc}; give a part of the frame") from exc
        (x1, y1), (x2, y2) = np.floor(region[:2]), np.ceil(region[2:])
        size = (case.frame.width, case.frame.height)
        region = grown((int(x1), int(y1), int(x2), int(y2)), size, margin)
    try:
        return RefineRequest(
            request_id=uuid.uuid4().hex[:_ID_DIGITS], case_id=case.case_id, region_xyxy=region, quality=quality
        )
    except ValidationError as exc:
        raise RequestError(first_problem(exc)) from exc


def refinement_record(found: Refinement) -> dict[str, object]:
    """A request as a program may read it."""
    request = found.request
    return {
        "request": request.request_id,
        "craft": found.craft,
        "case_id": request.case_id,
        "region_xyxy": request.region_xyxy,
        "quality": request.quality,
        "state": found.state,
        "reason": found.reason,
        "new_case_id": found.new_case_id,
    }


def _is_waiting(found: Refinement) -> bool:
    return found.state not in ("answered", "refused")


def _tell(found: Refinement) -> None:
    """Say what became of a request.

    Raises:
        RequestError: there will be no better picture.
    """
    if found.state == "refused":
        raise RequestError(f"{found.craft} shows nothing better: {found.reason}")
    if found.new_case_id is not None:
        typer.echo(f"case {found.new_case_id} shows it; see skyloop-cloud cases --all --images DIR")
    elif found.state == "sent":
        typer.echo(f"sent; {found.craft} has not answered yet, its case follows when the link has brought it")
    else:
        typer.echo(f"kept; {found.craft} gets it if it connects within {LIFE_S:.0f} s and holds the frame then")
