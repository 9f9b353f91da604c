"""A mission in numbers: per craft and overall."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import numpy as np

from sim.mission.craft import MissionCraft
from sim.mission.events import event_digest
from sim.mission.passes import View
from sim.mission.run import MissionResult

_DECIMALS = 3
_LIBRARIES = ("skyloop", "numpy", "sgp4", "skyfield")


def summarize(result: MissionResult) -> dict[str, Any]:
    """Everything about a mission that fits a page; a JSON object.

    Returns:
        `mission`, `seed`, `hours`, `start`, `events` and their `digest`; `overall`; `craft`, one object each in the
        order of the mission file; and the whole `settings` and `versions` to fly it again.
    """
    rows = [_craft_summary(craft, result.timetable.missed) for craft in result.craft]
    return {
        "mission": result.settings.name,
        "seed": result.seed,
        "hours": result.duration_s / 3600.0,
        "start": result.settings.start.isoformat(),
        "events": len(result.events),
        "digest": event_digest(result.events),
        "overall": _overall(result, rows),
        "craft": rows,
        "settings": result.settings.model_dump(mode="json"),
        "versions": {name: version(name) for name in _LIBRARIES},
    }


def _craft_summary(craft: MissionCraft, missed: Sequence[View]) -> dict[str, Any]:
    radio, spool = craft.radio.counts, craft.spool
    return {
        "name": craft.name,
        "profile": craft.profile_name,
        **asdict(craft.counts),
        "deferred": craft.pace.deferred,
        "sent": radio.delivered,
        "dropped": spool.dropped,
        "expired": spool.expired,
        "waiting": spool.waiting,
        "sent_bytes": radio.sent_bytes,
        "received_bytes": radio.received_bytes,
        "peak_spool_bytes": spool.peak_bytes,
        "windows": radio.passes,
        "windows_used": radio.used_passes,
        "windows_missed": sum(view.craft == craft.name for view in missed),
        "prompts": len(craft.latencies_s),
        "prompts_same_window": craft.same_window,
        "latency_s": latency_percentiles(craft.latencies_s),
        **_power_summary(craft),
    }


def _power_summary(craft: MissionCraft) -> dict[str, float]:
    power, capacity_wh = craft.power, craft.profile.power.battery.capacity_wh
    numbers = {
        "used_wh": power.used_wh,
        "charged_wh": power.charged_wh,
        "spilled_wh": power.spilled_wh,
        "unmet_wh": power.unmet_wh,
        "min_battery_share": power.least_wh / capacity_wh,
        "end_battery_share": power.share,
        "max_temperature_deg_c": craft.max_temperature_deg_c,
        "throttled_s": craft.throttled_s,
    }
    return {name: round(value, _DECIMALS) for name, value in numbers.items()}


_SUMS = (
    "captures", "hard", "cases", "deferred", "sent", "dropped", "expired", "waiting", "sent_bytes", "received_bytes",
    "windows", "windows_used", "windows_missed", "prompts", "prompts_same_window",
)  # fmt: skip


def _overall(result: MissionResult, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    latencies_s = [latency for craft in result.craft for latency in craft.latencies_s]
    return {
        "craft": len(rows),
        **{name: sum(row[name] for row in rows) for name in _SUMS},
        "answered": result.answered,
        "answered_by_person": result.by_person,
        "latency_s": latency_percentiles(latencies_s),
        "used_wh": round(sum(row["used_wh"] for row in rows), _DECIMALS),
        "min_battery_share": min(row["min_battery_share"] for row in rows),
    }


def latency_percentiles(latencies_s: Iterable[float]) -> dict[str, float | int | None]:
    """Count, median and 99th percentile of the seconds from capture to prompt; None where there are none."""
    values = np.asarray(list(latencies_s), dtype=np.float64)
    if not len(values):
        return {"count": 0, "p50": None, "p99": None}
    p50, p99 = (round(float(np.percentile(values, q)), _DECIMALS) for q in (50, 99))
    return {"count": len(values), "p50": p50, "p99": p99}
