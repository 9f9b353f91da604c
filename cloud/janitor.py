"""The service's task that keeps the data folder within `[retention]`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter

import structlog

from cloud.errors import StoreError
from cloud.metrics import CloudMetrics
from cloud.retention import Retention, Step
from cloud.retention_settings import RetentionSettings
from cloud.store import CaseStore
from edge.clock import SystemClock

log = structlog.get_logger()

_REST = 4.0
"""After a step, so many times its own duration belong to everybody else who writes."""

_LEAST_PAUSE_S = 0.005


class Janitor:
    """Rounds of retention, a step at a time, in a thread that is not the event loop's."""

    def __init__(self, store: CaseStore, settings: RetentionSettings, metrics: CloudMetrics) -> None:
        self._store, self._settings, self._metrics = store, settings, metrics
        self._retention = Retention(store, settings, SystemClock())

    async def run(self, stop: asyncio.Event) -> None:
        """Go round until `stop` is set; at once over where retention is off."""
        if not self._settings.enabled:
            log.info("retention is off")
            await stop.wait()
            return
        while not stop.is_set():
            try:
                await self._round(stop)
            except StoreError as exc:
                log.warning("retention failed, trying again", error=str(exc), retry_s=self._settings.every_s)
                self._metrics.failures.labels("retention").inc()
            await _pause(stop, self._settings.every_s)

    async def _round(self, stop: asyncio.Event) -> None:
        counts: Counter[str] = Counter()
        freed, steps = 0, self._retention.steps()
        while not stop.is_set():
            begin_s = time.monotonic()
            step: Step | None = await asyncio.to_thread(next, steps, None)
            if step is None:
                break
            counts[step.kind] += step.gone.count
            freed += step.gone.freed_bytes
            self._metrics.dropped.labels(step.kind).inc(step.gone.count)
            self._metrics.dropped_bytes.inc(step.gone.freed_bytes)
            await _pause(stop, max(_REST * (time.monotonic() - begin_s), _LEAST_PAUSE_S))
        self._metrics.kept_bytes.set(await asyncio.to_thread(self._store.imagery_bytes))
        self._metrics.kept_cases.set(await asyncio.to_thread(self._store.case_count))
        self._metrics.over.labels("imagery_bytes").set(self._retention.over_bytes)
        self._metrics.over.labels("cases").set(self._retention.over_cases)
        if counts:
            log.info("retention let go", freed_bytes=freed, **counts)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
