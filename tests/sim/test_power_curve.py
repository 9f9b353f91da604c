from dataclasses import replace

import pytest

from sim.craft.power import BatterySettings, ComputeSettings, PowerSettings
from sim.power_curve import power_curve

COMPUTE = ComputeSettings(idle_w=2.0, load_share=0.8, inference_s=0.05, frame_j=0.5)  # 12 W busy in the 15 W mode
SETTINGS = PowerSettings(compute=COMPUTE, battery=BatterySettings(base_w=10.0, byte_j=1e-3))


def test_power_is_base_idle_inferences_frames_and_bytes(record):
    curve = power_curve(record, 6.0, SETTINGS)
    per_frame_j = 0.05 * (12 - 2) + 0.5
    expected_j = 6 * (10 + 2) + 60 * per_frame_j + 41_000 * 1e-3
    assert curve.used_wh * 3600 == pytest.approx(expected_j)
    assert curve.mean_w == pytest.approx(expected_j / 6)


def test_the_curve_shows_when_bytes_were_sent(record):
    watts = [value for _, value in power_curve(record, 6.0, SETTINGS).over_time]
    assert len(watts) == 6
    assert watts[0] == max(watts)  # 30 kB of 41 in the first second
    assert watts[3] == pytest.approx(22.0)


def test_without_traffic_no_byte_is_charged_and_the_energies_add_up(record):
    curve = power_curve(replace(record, traffic=[]), 6.0)
    assert sum(watts for _, watts in curve.over_time) == pytest.approx(curve.used_wh * 3600)
    assert curve.as_json()["is_estimate"]
    assert curve.as_json()["temperature_deg_c"] > 25.0
