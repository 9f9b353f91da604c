import pytest
from pydantic import ValidationError
from tiny_run import pretend, rendered, tiny_scenario

from cloud.config import CloudSettings
from edge.agent import AgentSettings
from edge.bundle import bundled_student, load_bundle
from edge.cli import RunConfig
from edge.config import read_toml
from sim.cli import parse_speed
from sim.crew import edge_config
from sim.display import Display
from sim.errors import ScenarioError
from sim.flying import fly
from sim.hurry import FASTEST, check_speed, fastest_speed, hurried
from sim.run_folder import RunFolder
from sim.runner import RunOptions, run_scenario

SCENARIO = tiny_scenario(
    link={"edge_to_cloud_bps": 1000, "cloud_to_edge_bps": 800_000_000, "latency_ms": 40, "jitter_ms": 8},
    budget={"bytes_per_s": 100, "burst_bytes": 7},
    teacher={"delay_s": 2},
    operator={"labels": ["Debris"], "delay_s": 6},
)


def test_a_second_of_flight_holds_as_much_at_any_speed():
    told = hurried(SCENARIO, 4)
    assert (told.link.edge_to_cloud_bps, told.link.latency_ms, told.link.jitter_ms) == (4000, 10, 2)
    assert told.link.cloud_to_edge_bps == 1e9
    assert (told.budget.bytes_per_s, told.budget.burst_bytes) == (400, 7)
    assert told.teacher.delay_s == 0.5
    assert told.operator is not None
    assert told.operator.delay_s == 1.5


def test_at_its_own_speed_a_scenario_is_left_alone():
    assert hurried(SCENARIO, 1.0) is SCENARIO
    assert "min_interval_s" not in edge_config(SCENARIO)


def test_the_edge_waits_shorter_between_cases(tmp_path):
    (tmp_path / "edge.toml").write_text(edge_config(hurried(SCENARIO, 4), 4))
    told = (tmp_path / "edge.toml").read_text()
    usual = AgentSettings().scheduler
    assert f"min_interval_s = {usual.min_interval_s / 4}" in told
    assert f"cooldown_s = {usual.cooldown_s / 4}" in told


def test_the_edge_tries_again_sooner_where_windows_pass_sooner(tmp_path):
    for speed in (0.1, 50.0):
        (tmp_path / "edge.toml").write_text(edge_config(hurried(SCENARIO, speed), speed))
        link = read_toml(tmp_path / "edge.toml", RunConfig).link
        assert (link.retry_first_s, link.retry_most_s) == pytest.approx((0.5 / speed, 2 / speed))


def test_a_hurried_flight_is_told_in_seconds_of_flight(tmp_path):
    scenario = tiny_scenario(
        seconds=12.0, fps=5, fault=[{"kind": "edge-restart", "at_s": 4.0, "for_s": 2.0}], link={"windows": [[2, 12]]}
    )
    folder = RunFolder.of(tmp_path, ["tiny"])
    rendered(folder.craft[0].flight, scenario.frames, scenario.fps)
    mission = fly(folder, scenario, 1, Display(), speed=6.0, launcher=pretend())
    craft = mission.craft[0]
    record = craft.record()
    assert mission.now_s < 6 * 12
    assert [frame.time_s for frame in record.frames] == pytest.approx([f.index / 5 for f in record.frames], abs=0.3)
    assert [leg.first for leg in craft.edge.legs] == [0, 30]
    assert record.frames[-1].index == 59
    assert record.summary["fps"] == pytest.approx(5 / 6, abs=0.01)  # the pretended edge says 5 in each of its seconds
    assert float((folder.craft[0].flight / "fps.txt").read_text()) == 5.0
    assert record.traffic[-1].time_s > 11.0


@pytest.mark.parametrize(
    ("speed", "words"),
    [
        (50.0, r"--speed 50: tiny has an operator, who can follow 4 at most; fly slower"),
        (0.125, r"teacher\.delay_s = 2 would be 16 s of the cloud's clock.*fly at 0\.2 or faster"),
    ],
)
def test_a_speed_that_cannot_be_followed_is_refused_before_anything_is_rendered(tmp_path, speed, words):
    with pytest.raises(ScenarioError, match=words):
        run_scenario(RunOptions(SCENARIO, 1, tmp_path / "out", "tiny", speed), Display())
    assert not (tmp_path / "out").exists()


def test_the_longest_wait_is_the_clouds():
    check_speed(tiny_scenario(teacher={"delay_s": 5}), 0.5)
    assert CloudSettings(max_wait_s=10).max_wait_s == 10
    with pytest.raises(ValidationError):
        CloudSettings(max_wait_s=10.1)


def test_as_fast_as_this_machine_goes_depends_on_the_frames_there_are():
    if not bundled_student().is_dir():
        pytest.skip("the bundled student is not trained yet")
    slow, fast = (fastest_speed(tiny_scenario(fps=fps, seconds=10)).speed for fps in (60, 0.5))
    assert 1.0 <= slow < fast <= FASTEST
    with_operator = fastest_speed(tiny_scenario(fps=0.5, seconds=10, operator={"labels": ["Debris"]}))
    assert with_operator == (4.0, "the operator can follow no more")


def test_a_speed_of_one_says_why_it_is_no_more_and_a_bundle_is_opened_once(monkeypatch):
    if not bundled_student().is_dir():
        pytest.skip("the bundled student is not trained yet")
    opened = []
    monkeypatch.setattr("sim.hurry.load_bundle", lambda folder: opened.append(folder) or load_bundle(folder))
    monkeypatch.setattr("sim.hurry._EDGE_SHARE", 1e-4)
    craft = tiny_scenario().craft[0].model_dump()
    speed, why = fastest_speed(tiny_scenario(craft=[craft, {**craft, "name": "other"}]))
    assert speed == 1.0
    assert "too slow for more" in why
    assert len(opened) == 1


@pytest.mark.parametrize("text", ["fast", "0", "-1", "nan", "51", ""])
def test_speed_that_makes_no_sense_is_told(text):
    with pytest.raises(ScenarioError, match=r"is not a number from 0.1 to 50; give one, or `max`"):
        parse_speed(text)


@pytest.mark.parametrize(("text", "speed"), [("1", 1.0), ("2.5", 2.5), ("max", None)])
def test_speed_is_a_number_or_as_fast_as_can_be(text, speed, tmp_path):
    assert parse_speed(text) == speed
    options = RunOptions(SCENARIO, 1, tmp_path, "tiny", speed)
    assert options.command.endswith("" if text == "1" else f" --speed {text}")
