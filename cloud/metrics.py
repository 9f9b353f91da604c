"""What the cloud counts, for /metrics; a registry of its own, so that two services in one process do not meet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cloud.gateway import Gateway


class CloudMetrics:
    """Counters of one service's teacher and prompts."""

    def __init__(self) -> None:
        self.registry = r = CollectorRegistry()
        self.interpreted = Counter(
            "skyloop_interpreted", "Cases by what the teacher made of them", ["state"], registry=r
        )
        self.prompts = Counter("skyloop_prompts", "Prompts by origin and outcome", ["origin", "outcome"], registry=r)
        self.reviews = Counter("skyloop_reviews", "People's answers used, by outcome", ["outcome"], registry=r)
        self.failures = Counter("skyloop_failures", "Unforeseen errors, by task", ["task"], registry=r)
        self.dropped = Counter("skyloop_retention_dropped", "What retention let go, by kind", ["kind"], registry=r)
        self.dropped_bytes = Counter("skyloop_retention_dropped_bytes", "Imagery that retention let go", registry=r)
        self.kept_bytes = Gauge("skyloop_imagery_bytes", "Imagery kept, as the last round found", registry=r)
        self.kept_cases = Gauge("skyloop_cases_kept", "Cases kept, as the last round found", registry=r)
        self.over = Gauge(
            "skyloop_retention_over", "Over a bound of retention, of what may not go", ["bound"], registry=r
        )
        self.batch_size = Histogram(
            "skyloop_batch_size", "Cases in one teacher run", buckets=(1, 2, 4, 8, 16, 32, 64, 128), registry=r
        )
        self.queue_delay_s = Histogram(
            "skyloop_queue_delay_seconds",
            "From a case's receipt to the teacher's run",
            buckets=(0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300),
            registry=r,
        )
        self.agreement = Histogram(
            "skyloop_agreement",
            "Of craft and teacher about a case, symmetric F1, by why it was sent (docs/api.md)",
            ["sample"],
            buckets=(0.0, 0.25, 0.5, 0.75, 0.9, 1.0),
            registry=r,
        )
        self.teacher_s = Histogram(
            "skyloop_teacher_seconds",
            "Time of one teacher run over a batch",
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10),
            registry=r,
        )


class GatewayCollector(Collector):
    """The gateway's own counts, read when somebody asks."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def collect(self) -> Iterator[Metric]:
        """Every count as Prometheus wants it."""
        stats, handshakes = self._gateway.stats, self._gateway.access.handshakes
        messages = CounterMetricFamily("skyloop_messages", "Messages taken and sent", labels=["direction", "kind"])
        for (direction, kind), count in list(stats.messages.items()):
            messages.add_metric([direction, kind], count)
        yield messages
        directions = {"edge_to_cloud": stats.bytes_received, "cloud_to_edge": stats.bytes_sent}
        yield _family("bytes", "Bytes of messages before encryption", "direction", directions)
        yield _family("refused", "Messages refused, by problem code", "code", stats.refused)
        yield _family("cases", "Cases offered, by what became of them", "verdict", stats.cases)
        admission = self._gateway.admission
        yield _family("admission_refused", "Cases refused for now at their offer", "why", admission.refused)
        yield GaugeMetricFamily("skyloop_cases_waiting", "Cases without an answer", value=admission.waiting)
        yield _family("bank_updates", "Bank updates by the craft's answer", "answer", stats.prompts)
        yield _family("handshakes", "Keys that wanted to connect", "verdict", handshakes)
        answers = {"sent": stats.interpretations_sent, "delivered": stats.interpretations_delivered}
        yield _family("interpretations", "Answers on their way to crafts", "step", answers)
        yield _family("target_words", "Crafts' words about targets, by state", "state", stats.targets)
        yield _family("no_better_pictures", "Refusals to show a case again, by problem code", "code", stats.refinements)
        yield _family("bundle_words", "Crafts' words about bundles over the air, by state", "state", stats.bundles)
        yield CounterMetricFamily("skyloop_not_enrolled", "Messages of keys not enrolled", value=stats.not_enrolled)
        yield CounterMetricFamily("skyloop_unreachable", "Messages to crafts that had gone", value=stats.unreachable)
        yield CounterMetricFamily("skyloop_gateway_faults", "Exceptions nobody expected", value=stats.faults)
        yield GaugeMetricFamily("skyloop_crafts_online", "Crafts connected and welcomed", value=stats.crafts_online)


def _family(name: str, text: str, label: str, counts: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(f"skyloop_{name}", text, labels=[label])
    for value, count in list(counts.items()):
        family.add_metric([value], count)
    return family
