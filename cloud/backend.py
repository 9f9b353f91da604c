"""What the HTTP API and the console work with: the store, and what only the running service knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cloud.config import CloudSettings
from cloud.gateway_settings import CraftLive
from cloud.store import CaseStore
from edge.clock import Clock


@dataclass(frozen=True)
class Backend:
    """The service as its pages see it; every call may come from any thread.

    Attributes:
        store: where everything is kept.
        settings: of the service.
        clock: for ages and stamps.
        live: what each craft that was connected since the service began was last heard to be, by name.
        wake: has waiting reviews, revocations and the like looked at now instead of at the next poll.
    """

    store: CaseStore
    settings: CloudSettings
    clock: Clock
    live: Callable[[], Mapping[str, CraftLive]]
    wake: Callable[[], None]
