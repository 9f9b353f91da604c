"""What a doctor looks at before a flight, of what it is told about: keys, cloud, clock, disk, source and runtime."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edge.capture import COLOUR, Look, open_source
from edge.checks import Check, check_clock, check_disk, check_keys, check_onnxruntime, has_problem, problem_of
from edge.clock import Clock, SystemClock
from edge.doctor_link import ask_cloud
from edge.endpoints import split_endpoints
from edge.errors import CaptureError, ConfigError
from edge.keys import EDGE_NAME, load_keys, load_server_key
from edge.link import LinkSettings, check_security
from edge.session import HelloProfile
from edge.trust import root_in_force, updates_folder
from protocols.errors import SkyloopError

_SOURCE_S = 15.0
"""A camera or stream that shows nothing for so long shows nothing."""

_SOON_S = 30 * 86_400.0
"""A root that ends within it is a warning: the flight after this one may be too late."""

_RESULTS_BYTES = 2**30
"""Beside the spool, what an hour's video and lines may take."""


@dataclass(frozen=True)
class Flight:
    """What is planned; what is None is not looked at.

    Attributes:
        out: where results go.
        spool_bytes: most that waiting cases may take.
        keys: the craft's key folder.
        link: how the cloud is reached.
        source: of frames, as `--source` takes it.
        look: how its files become pixels.
    """

    out: Path
    spool_bytes: int
    keys: Path | None = None
    link: LinkSettings | None = None
    source: str | None = None
    look: Look = COLOUR


def preflight(
    flight: Flight, found: Mapping[str, Any], profile: HelloProfile, clock: Clock | None = None
) -> list[Check]:
    """Every check that can be made of a planned flight.

    Args:
        flight: the plan.
        found: of `edge.doctor.examine`.
        profile: who the craft says it is.
        clock: for the cloud's and this machine's time.
    """
    clock = clock or SystemClock()
    checks = [check_onnxruntime(found["onnxruntime"]["packages"]), _runtimes(found["runtimes"])]
    keys = check_keys(flight.keys, EDGE_NAME) if flight.keys else []
    asked, offset_s = _cloud(flight, profile, clock, may_ask=not has_problem(keys)) if flight.link else ((), None)
    checks += [*keys, *asked, check_clock(clock.wall_s(), offset_s), *_updates(flight, clock.wall_s())]
    checks.append(check_disk(flight.out, flight.spool_bytes + _RESULTS_BYTES, "a flight with the spool full"))
    return [*checks, *([_source(flight)] if flight.source is not None else [])]


def _updates(flight: Flight, wall_s: float) -> list[Check]:
    """Whether bundles may come over the air, and until when."""
    if flight.keys is None:
        return []
    try:
        found = root_in_force(flight.keys, updates_folder(flight.out))
    except SkyloopError as exc:
        return [problem_of("updates", exc)]
    if found is None:
        return [Check("updates", "ok", "no root is trusted: bundles come by hand alone")]
    version, until_s = found
    until = datetime.fromtimestamp(until_s, timezone.utc)
    told = f"root version {version}, until {until:%Y-%m-%d}"
    if until_s > wall_s + _SOON_S:
        return [Check("updates", "ok", told)]
    when = "it ends soon" if until_s > wall_s else "it has expired, and a bundle is taken only with a newer one"
    return [Check("updates", "warning", f"{told}: {when}", "see that the signers rotate it (docs/updates.md)")]


def _runtimes(tried: Mapping[str, Mapping[str, Any]]) -> Check:
    """What would fly the bundle."""
    for name, result in tried.items():
        if result["works"]:
            return Check("runtime", "ok", f"{name} with {result['variant']}, {result['ms']} ms for 640 x 512")
    reasons = "; ".join(f"{name}: {result['reason']}" for name, result in tried.items())
    return Check("runtime", "problem", f"nothing here runs the bundle ({reasons})", "install onnxruntime anew")


def _cloud(
    flight: Flight, profile: HelloProfile, clock: Clock, *, may_ask: bool
) -> tuple[tuple[Check, ...], float | None]:
    """What the cloud answers; nothing is asked with keys that are known to be wrong."""
    assert flight.link is not None
    if flight.keys is None and not flight.link.plaintext:
        return (Check("cloud", "problem", "not asked: no keys were given", "give --keys"),), None
    if not may_ask:
        return (Check("cloud", "warning", "not asked: the keys have a problem", "mend the keys first"),), None
    try:
        identity = None
        if not flight.link.plaintext:
            assert flight.keys is not None
            identity = load_keys(flight.keys, EDGE_NAME), load_server_key(flight.keys)
        check_security(flight.link, *(identity or (None, None)))
        endpoints = split_endpoints(flight.link.endpoint)
    except ConfigError as exc:
        return (problem_of("cloud", exc),), None
    answered = ask_cloud(endpoints, identity, profile, clock)
    return answered.checks, answered.clock_offset_s


def _source(flight: Flight) -> Check:
    """Its first picture; a camera that hangs is waited for a while, and then left to its thread."""
    results: list[Check] = []
    looking = threading.Thread(target=lambda: results.append(_first_picture(flight)), daemon=True)
    looking.start()
    looking.join(_SOURCE_S)
    if results:
        return results[0]
    found = f"{flight.source}: gave no picture within {_SOURCE_S:.0f} s"
    return Check("source", "problem", found, "check the camera, its cable and its address")


def _first_picture(flight: Flight) -> Check:
    assert flight.source is not None
    try:
        frames = open_source(flight.source, look=flight.look)
        try:
            height, width = frames.peek().shape[:2]
        finally:
            frames.close()
    except CaptureError as exc:
        return problem_of("source", exc)
    rate = f" at {frames.fps:g} frames/s" if frames.fps else ""
    return Check("source", "ok", f"{flight.source}: {width}x{height}{rate}")
