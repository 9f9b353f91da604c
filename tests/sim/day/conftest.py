"""The plan of a small day, and a mission whose stations hear satellites only high up: passes of a few minutes."""

import pytest
from small_day import small_day

from sim.day.plan import plan_day
from sim.mission_cli import MISSIONS


@pytest.fixture(scope="session")
def high_mission(tmp_path_factory):
    text = (MISSIONS / "constellation.toml").read_text().replace("min_elevation_deg = 10.0", "min_elevation_deg = 40.0")
    path = tmp_path_factory.mktemp("mission") / "high.toml"
    path.write_text(text)
    return path


@pytest.fixture(scope="session")
def plan():
    return plan_day(small_day())
