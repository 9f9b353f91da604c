"""What each craft is and holds, for /metrics; read when somebody asks, with a bound on how many are told one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cloud.errors import StoreError
from cloud.gateway_settings import CraftLive
from cloud.store import CaseStore
from edge.clock import Clock
from protocols.values import BankRef

log = structlog.get_logger()

MAX_CRAFT = 1000
"""Craft with series of their own, the first by name: a monitoring system pays for each. Bytes of the others are summed
up under a name that no craft can have."""

OTHERS = "(others)"


class FleetCollector(Collector):
    """Bytes, prompt revisions, ages and presence of each craft."""

    def __init__(self, live: Callable[[], Mapping[str, CraftLive]], store: CaseStore, clock: Clock) -> None:
        self._live, self._store, self._clock = live, store, clock

    def collect(self) -> Iterator[Metric]:
        """Every series as Prometheus wants it."""
        live = self._live()
        told = dict(sorted(live.items())[:MAX_CRAFT])
        yield self._bytes(live, told)
        online = GaugeMetricFamily("skyloop_craft_online", "1 while a craft is connected and welcome", labels=["craft"])
        heard = GaugeMetricFamily("skyloop_craft_heard_age_seconds", "Since its last message", labels=["craft"])
        spooled = GaugeMetricFamily("skyloop_craft_spool_bytes", "What waits on a craft", labels=["craft"])
        now_s = self._clock.wall_s()
        for craft, seen in told.items():
            online.add_metric([craft], float(seen.is_online))
            spooled.add_metric([craft], seen.spool_bytes)
            if seen.heard_s is not None:
                heard.add_metric([craft], max(now_s - seen.heard_s, 0.0))
        yield from (online, heard, spooled)
        try:
            issued, answered_s = self._store.bank_refs(), self._store.newest_answers_s()
        except StoreError as exc:  # the rest of the page is what somebody looks at when the disk fails
            log.warning("metrics without the store", reason=str(exc))
            return
        yield _revisions(issued, told)
        yield _result_ages(answered_s, now_s)

    @staticmethod
    def _bytes(live: Mapping[str, CraftLive], told: Mapping[str, CraftLive]) -> Metric:
        family = CounterMetricFamily(
            "skyloop_craft_bytes", "Bytes of a craft's messages before encryption", labels=["craft", "direction"]
        )
        for craft, seen in told.items():
            family.add_metric([craft, "edge_to_cloud"], seen.bytes_received)
            family.add_metric([craft, "cloud_to_edge"], seen.bytes_sent)
        others = [seen for craft, seen in live.items() if craft not in told]
        if others:
            family.add_metric([OTHERS, "edge_to_cloud"], sum(seen.bytes_received for seen in others))
            family.add_metric([OTHERS, "cloud_to_edge"], sum(seen.bytes_sent for seen in others))
        return family


def _revisions(issued: Mapping[str, BankRef], live: Mapping[str, CraftLive]) -> Metric:
    family = GaugeMetricFamily(
        "skyloop_craft_prompt_revision",
        "Revision of a craft's prompt bank: issued by the cloud, held as the craft says",
        labels=["craft", "which"],
    )
    for craft, ref in sorted(issued.items())[:MAX_CRAFT]:
        family.add_metric([craft, "issued"], ref.revision)
        held = live[craft].bank if craft in live else None
        if held is not None and held.epoch == ref.epoch:
            family.add_metric([craft, "held"], held.revision)
    return family


def _result_ages(answered_s: Mapping[str, float], now_s: float) -> Metric:
    family = GaugeMetricFamily(
        "skyloop_craft_result_age_seconds", "Since the newest answer for a craft was made", labels=["craft"]
    )
    for craft, at_s in sorted(answered_s.items())[:MAX_CRAFT]:
        family.add_metric([craft], max(now_s - at_s, 0.0))
    return family
