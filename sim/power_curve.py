"""An estimate of what a flight drew from its battery: counted frames and bytes through the model of `craft/power.py`.

Nothing is measured: the simulated craft has no battery, and the student ran on this machine, not on a module.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.arrays import FloatArray
from sim.craft.power import J_PER_WH, PowerSettings, PowerState, Work
from sim.record import FlightRecord

_STEPS = 120
"""A curve has at most about so many points; a step is never shorter than a second."""


@dataclass(frozen=True)
class PowerCurve:
    """The estimate.

    Attributes:
        over_time: (middle of the step in seconds, watts of the whole craft).
        mean_w: over the flight.
        used_wh: over the flight.
        charge_share: left in the battery at the end, 0 to 1.
        temperature_deg_c: of the module at the end.
        mode: name of the module's power mode.
    """

    over_time: tuple[tuple[float, float], ...]
    mean_w: float
    used_wh: float
    charge_share: float
    temperature_deg_c: float
    mode: str

    def as_json(self) -> dict[str, Any]:
        """For `run.json`, numbers rounded."""
        return {
            "is_estimate": True,
            "mode": self.mode,
            "mean_w": round(self.mean_w, 3),
            "used_wh": round(self.used_wh, 4),
            "charge_share": round(self.charge_share, 4),
            "temperature_deg_c": round(self.temperature_deg_c, 1),
            "over_time": [[round(at_s, 2), round(watts, 3)] for at_s, watts in self.over_time],
        }


def power_curve(record: FlightRecord, seconds: float, settings: PowerSettings | None = None) -> PowerCurve:
    """The power of one flight over its time.

    Args:
        record: of the flight: each of its frames was one inference, its traffic tells the bytes sent.
        seconds: length of the flight.
        settings: of battery and module; None is the model's defaults.
    """
    state = PowerState(settings or PowerSettings())
    steps = max(min(_STEPS, int(seconds)), 1)
    edges = np.linspace(0.0, seconds, steps + 1)
    step_s = seconds / steps
    frames, _ = np.histogram([min(frame.time_s, seconds) for frame in record.frames], bins=edges)
    sent = np.diff(_bytes_at(record, edges))
    points, before_wh = [], 0.0
    for number in range(steps):
        state.step(step_s, Work(int(frames[number]), int(frames[number]), int(sent[number])))
        points.append((float(edges[number] + step_s / 2), (state.used_wh - before_wh) * J_PER_WH / step_s))
        before_wh = state.used_wh
    return PowerCurve(
        over_time=tuple(points),
        mean_w=state.used_wh * J_PER_WH / seconds,
        used_wh=state.used_wh,
        charge_share=state.share,
        temperature_deg_c=state.temperature_deg_c,
        mode=state.settings.compute.mode,
    )


def _bytes_at(record: FlightRecord, times_s: FloatArray) -> FloatArray:
    """Bytes sent up to some moments of the recording; those after the last moment count to it."""
    if not record.traffic:
        return np.zeros(len(times_s))
    seen_s = record.recorded_s([item.time_s for item in record.traffic])
    counted = [item.edge_to_cloud for item in record.traffic]
    found = np.interp(times_s, seen_s, counted, left=0.0)
    found[-1] = counted[-1]
    return np.asarray(np.rint(found), np.float64)
