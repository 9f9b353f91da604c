"""Whether the cloud can be reached and lets this craft in, tried for real: TCP, CURVE, Hello, Welcome."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass

import zmq

from edge.checks import Check
from edge.clock import Clock, SystemClock, this_boot
from edge.dialing import Connection, Dialer, DialSettings
from edge.keys import KeyPair
from edge.session import HelloProfile
from protocols.errors import MessageError
from protocols.messages import Hello, Problem, Welcome, decode, encode
from protocols.values import PromptBank

_PATIENCE_S = 10.0
"""For each endpoint, until it lets us in, and as long again until it says Welcome: four satellite round trips."""

_STEP_MS = 100
_NO_BANK = "doctor"
_ASKED_WITH = ("Hello", "Welcome", "Problem")
"""What we speak: without heartbeats, the cloud knows that we ask alone, and notes nothing of us."""


@dataclass(frozen=True)
class Answered:
    """What asking the cloud gave.

    Attributes:
        checks: one for each endpoint.
        clock_offset_s: how far the cloud's clock is ahead of ours, by the middle of the round trip; None without an
            answer.
    """

    checks: tuple[Check, ...]
    clock_offset_s: float | None


def ask_cloud(
    endpoints: tuple[str, ...], keys: tuple[KeyPair, bytes] | None, profile: HelloProfile, clock: Clock | None = None
) -> Answered:
    """Say Hello at every endpoint as a flight would, but for a Hello that asks alone: the cloud notes nothing of it.

    The cloud speaks with the newest connection of a craft: an agent that flies meanwhile has to connect anew.

    Args:
        endpoints: of one cloud.
        keys: the craft's, and the cloud's public key; None is plaintext.
        profile: who we say we are.
        clock: for waiting and for the offset.
    """
    clock = clock or SystemClock()
    checks, offset_s = [], None
    for endpoint in endpoints:
        check, found_s = _ask(endpoint, keys, profile, clock)
        checks.append(check)
        offset_s = found_s if offset_s is None else offset_s
    return Answered(tuple(checks), offset_s)


def _ask(
    endpoint: str, keys: tuple[KeyPair, bytes] | None, profile: HelloProfile, clock: Clock
) -> tuple[Check, float | None]:
    failures: list[str] = []
    settings = DialSettings((endpoint,), _PATIENCE_S, 0.5, 2.0, _PATIENCE_S, send_queue=4)
    dialer = Dialer(
        settings,
        keys=keys,
        clock=clock,
        rng=random.Random(),  # noqa: S311 - spreads pauses, guards nothing
        rtt_s=lambda _: None,
        on_attempt=lambda _, reason: failures.append(reason) if reason else None,
    )
    connection = None
    try:
        dialer.begin()
        until_s = clock.monotonic_s() + _PATIENCE_S
        while connection is None and clock.monotonic_s() < until_s:
            connection = dialer.step(_STEP_MS)
        if connection is None:
            return _unreachable(endpoint, failures), None
        return _greeted(connection, profile, clock)
    except zmq.ZMQError as exc:
        return Check("cloud", "problem", f"{endpoint}: {exc}", "check the host's name and the network"), None
    finally:
        if connection is not None:
            connection.close()
        dialer.close()


def _unreachable(endpoint: str, failures: list[str]) -> Check:
    reason = failures[-1] if failures else "no answer"
    found, _, cure = reason.partition(": ")
    cure = cure or "check its address and port, the firewall between, and that `skyloop-cloud serve` runs"
    return Check("cloud", "problem", f"{endpoint}: {found} within {_PATIENCE_S:.0f} s", cure)


def _greeted(connection: Connection, profile: HelloProfile, clock: Clock) -> tuple[Check, float | None]:
    """Hello, and what comes back."""
    begin_s, hello = clock.monotonic_s(), _hello(profile, clock)
    connection.socket.send_multipart(encode(hello))
    until_s = begin_s + _PATIENCE_S
    while (left_s := until_s - clock.monotonic_s()) > 0:
        if not connection.socket.poll(int(1000 * min(left_s, _STEP_MS / 1000))):
            if (ending := connection.ending()) is not None:
                return _unreachable(connection.endpoint, [ending]), None
            continue
        try:
            message, _ = decode(connection.socket.recv_multipart())
        except MessageError as exc:
            return Check("cloud", "problem", f"{connection.endpoint}: {exc}", "check that both are skyloop v1"), None
        if isinstance(message, Problem):
            found = f"{connection.endpoint}: refused ({message.code}: {message.detail})"
            return Check("cloud", "problem", found, "see the cloud's log"), None
        if isinstance(message, Welcome) and message.session_id == hello.session_id:
            rtt_s = clock.monotonic_s() - begin_s
            offset_s = message.wall_time_s - (clock.wall_s() - rtt_s / 2)
            found = f"{connection.endpoint}: {message.server_software} lets us in, {1000 * rtt_s:.0f} ms to and fro"
            return Check("cloud", "ok", found), offset_s
    found = f"{connection.endpoint}: takes the key and says nothing"
    return Check("cloud", "problem", found, "enrol the craft there with `skyloop-cloud enroll`"), None


def _hello(profile: HelloProfile, clock: Clock) -> Hello:
    return Hello(
        craft_software=profile.software,
        boot_id=this_boot(),
        session_id=uuid.uuid4().hex,
        kinds=_ASKED_WITH,
        space_id=profile.space_id,
        variant=profile.variant,
        labels=profile.labels,
        bank=PromptBank.empty(_NO_BANK).ref,
        wall_time_s=clock.wall_s(),
    )
