"""Small missions that most of these tests fly."""

from pathlib import Path

import pytest

import sim
from edge.config import tomllib
from sim.mission import MissionSettings, run_mission

CONSTELLATION = Path(sim.__file__).parent / "missions" / "constellation.toml"


@pytest.fixture(scope="session")
def mission_text() -> str:
    return CONSTELLATION.read_text()


@pytest.fixture
def mission_table(mission_text) -> dict:
    """The bundled mission as nested dicts, to change and validate again."""
    return tomllib.loads(mission_text)


@pytest.fixture(scope="session")
def constellation(mission_text) -> MissionSettings:
    return MissionSettings.model_validate(tomllib.loads(mission_text))


@pytest.fixture(scope="session")
def flown(constellation):
    """Ten craft for six hours."""
    return run_mission(constellation, seed=1, hours=6.0)
