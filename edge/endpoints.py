"""ZeroMQ endpoints as people type them, checked before a socket sees them."""

from __future__ import annotations

import ipaddress
import re

from edge.errors import ConfigError

_TCP = re.compile(r"^tcp://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._*-]+):(\d{1,5}|\*)$")
_LOCAL = ("ipc://", "inproc://")

MAX_ENDPOINTS = 8
"""Ways to one cloud: more than a craft has radios."""


def check_endpoint(endpoint: str) -> None:
    """Refuse text that is not an endpoint.

    Raises:
        ConfigError: neither `tcp://HOST:PORT` nor `ipc://PATH`.
    """
    match = _TCP.match(endpoint)
    if match and (match[2] == "*" or int(match[2]) < 2**16):
        return
    if not any(endpoint.startswith(prefix) and len(endpoint) > len(prefix) for prefix in _LOCAL):
        raise ConfigError(f"endpoint {endpoint!r} is not understood; write it as tcp://HOST:PORT")


def split_endpoints(text: str) -> tuple[str, ...]:
    """The endpoints in `tcp://A:1,tcp://B:2`, the preferred one first.

    Raises:
        ConfigError: one of them is not an endpoint, stands there twice, or there are more than `MAX_ENDPOINTS`.
    """
    endpoints = tuple(part.strip() for part in text.split(","))
    for endpoint in endpoints:
        check_endpoint(endpoint)
    if len(set(endpoints)) < len(endpoints):
        raise ConfigError(f"endpoints {text!r}: the same one twice; leave it out once")
    if len(endpoints) > MAX_ENDPOINTS:
        raise ConfigError(f"{len(endpoints)} endpoints, at most {MAX_ENDPOINTS}; leave some out")
    return endpoints


def is_loopback(endpoint: str) -> bool:
    """Whether an endpoint cannot be reached from another machine; host names other than localhost can."""
    if endpoint.startswith(_LOCAL):
        return True
    match = _TCP.match(endpoint)
    if match is None:
        return False
    host = match[1].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
