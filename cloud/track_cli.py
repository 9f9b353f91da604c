"""`skyloop-cloud track` and `targets`: have a craft follow something, and see what became of it."""

from __future__ import annotations

import getpass
import json
import time
import uuid
from typing import Annotated

import typer

from cloud.errors import RequestError
from cloud.listings import print_table, target_record, target_table
from cloud.options import AsJson, Data, opened_store, outcome
from cloud.store import CaseStore
from cloud.target_shelf import FINISHED, QUEUED, StoredTarget
from cloud.track_orders import KEY_DIGITS, LABEL_LIFE_S, PLACE_LIFE_S, order_of, parse_place
from protocols.limits import MAX_DURATION_S


def track(
    craft: Annotated[str, typer.Argument(help="Who is to follow it")],
    data: Data,
    box: Annotated[str | None, typer.Option(help="X,Y,W,H in full-frame pixels, X1:Y1:X2:Y2 in shares")] = None,
    point: Annotated[str | None, typer.Option(help="X,Y in full-frame pixels, X:Y in shares of the frame")] = None,
    label: Annotated[
        str | None, typer.Option(help="What to call it; alone: the first thing that answers to it")
    ] = None,
    case: Annotated[
        str | None, typer.Option(help="The case in whose picture it was seen; default: it is there now")
    ] = None,
    expires: Annotated[
        float | None,
        typer.Option(min=1, max=MAX_DURATION_S, help="Seconds in which it must begin; default 60, for a label 3600"),
    ] = None,
    stop: Annotated[str | None, typer.Option(help="Follow this target no longer")] = None,
    as_json: AsJson = False,
) -> None:
    """Have a craft follow a target; one that is offline hears of it at its next connect, until the order expires.

    Example: skyloop-cloud track uav1 --box 412,230,38,25 --label boat --case 3f2a9c --data skyloop-data

    And then: skyloop-cloud track uav1 --stop 81c04e --data skyloop-data
    """
    if stop is not None and any(given is not None for given in (box, point, label, case, expires)):
        raise RequestError("--stop takes a target alone; give --box, --point, --label, --case and --expires without it")
    with opened_store(data) as store:
        if stop is not None:
            key = store.stop_target(craft, stop, time.time()).key
        else:
            request = parse_place(box, point, label)
            seen = store.load_case(case, craft) if case else None
            is_place = request.box_xywh is not None or request.point_xy is not None
            key, now_s = uuid.uuid4().hex[:KEY_DIGITS], time.time()
            life_s = expires or (PLACE_LIFE_S if is_place else LABEL_LIFE_S)
            order = order_of(key, request, seen)
            store.add_target(craft, order, by=getpass.getuser()[:128], now_s=now_s, expires_at_s=now_s + life_s)
        target = _outcome(store, craft, key)
    if not as_json:
        _tell(target)
    else:
        typer.echo(json.dumps(target_record(target)))


def targets(
    data: Data,
    craft: Annotated[str | None, typer.Option(help="Only this craft's")] = None,
    every: Annotated[bool, typer.Option("--all", help="Also those that are over")] = False,
    as_json: AsJson = False,
) -> None:
    """List the targets that crafts were ordered to follow, with their last state.

    Example: skyloop-cloud targets --craft uav1 --data skyloop-data
    """
    with opened_store(data) as store:
        name = store.craft(craft).name if craft else None
        found = [t for t in store.targets(time.time(), name) if every or t.state not in FINISHED]
    if as_json:
        typer.echo(json.dumps([target_record(target) for target in found]))
    else:
        print_table(target_table(found))


def _outcome(store: CaseStore, craft: str, key: str) -> StoredTarget:
    """The target once the craft has answered, or after a while."""

    def is_waiting(target: StoredTarget) -> bool:
        return target.is_stopping or (target.state, target.reason) == (QUEUED, "")

    return outcome(store, lambda: store.target(craft, key, time.time()), is_waiting)


def _tell(target: StoredTarget) -> None:
    """Say what became of an order.

    Raises:
        RequestError: it will not be followed, or cannot be as things are.
    """
    name = f"target {target.key}"
    if target.state == "refused":
        raise RequestError(f"{target.craft} refuses {name}: {target.reason}")
    if target.state == QUEUED and target.reason:
        raise RequestError(f"{name} is kept until it expires, but {target.reason}")
    why = f" ({target.reason})" if target.reason else ""
    if target.is_stopping:
        typer.echo(f"{name}: {target.craft} is told to stop as soon as it is connected")
    elif target.state == QUEUED and target.is_sent:
        typer.echo(f"{name}: sent; {target.craft} has not answered yet, see `skyloop-cloud targets`")
    elif target.state == QUEUED:
        left_s = max(target.expires_at_s - time.time(), 0.0)
        typer.echo(f"{name}: kept; {target.craft} gets it when it connects within {left_s:.0f} s")
    else:
        typer.echo(f"{name}: {target.state}{why}")
