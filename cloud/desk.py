"""What every craft's session works with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from cloud.admission import Admission
from cloud.deliveries import Deliveries
from cloud.gateway_settings import GatewaySettings, GatewayStats
from cloud.news import News
from cloud.store import CaseStore
from cloud.uploads import GroupCommit, Uploads
from edge.clock import Clock

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Desk:
    """The tools of the gateway that its sessions share.

    Attributes:
        settings: of the gateway.
        stats: counted into by all sessions.
        store: where things are kept; its calls run in `executor`.
        executor: threads for the store's reads and small writes.
        uploads: unfinished uploads of all crafts.
        commits: makes cases durable.
        deliveries: notes which answers crafts keep.
        admission: says which new cases are taken.
        clock: for pauses and stamps.
        news: says which crafts there is something new for.
        software: name and version for Welcome.
    """

    settings: GatewaySettings
    stats: GatewayStats
    store: CaseStore
    executor: Executor
    uploads: Uploads
    commits: GroupCommit
    deliveries: Deliveries
    admission: Admission
    clock: Clock
    news: News = field(init=False)
    software: str = "skyloop"

    def __post_init__(self) -> None:
        """Ask for news no more than four times a heartbeat."""
        news = News(self.store, self.ask, self.clock, self.settings.heartbeat_s / 4)
        object.__setattr__(self, "news", news)

    async def ask(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of a call of the store, made in another thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.executor, lambda: call(*args, **kwargs))
