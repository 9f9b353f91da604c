"""Flights with programs that only pretend: what is started, ended and started again, and when."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_run import CLOUD, pretend, rendered, tiny_scenario

from sim.display import Display
from sim.errors import ProcessError
from sim.flying import Mission, fly, truth_of
from sim.operator import Given
from sim.run_folder import RunFolder
from sim.watch import CloudWatch


def flight(tmp_path, scenario):
    folder = RunFolder.of(tmp_path, [craft.name for craft in scenario.craft])
    for craft in folder.craft:
        rendered(craft.flight, scenario.frames, scenario.fps)
    return folder


def test_a_flight_ends_when_its_frames_do(tmp_path):
    scenario = tiny_scenario()
    started, launcher = [], pretend()

    def child(*arguments):
        started.append(launcher.child(*arguments))
        return started[-1]

    mission = fly(flight(tmp_path, scenario), scenario, 1, Display(), launcher=replace(launcher, child=child))
    record = mission.craft[0].record()
    assert len(record.frames) == mission.frames == 10
    assert [program.returncode for program in started] == [-15, 0]  # cloud and edge: none is left


def test_every_craft_has_its_own_programs_and_keys(tmp_path):
    craft = tiny_scenario().craft[0].model_dump()
    scenario = tiny_scenario(craft=[{**craft, "name": name} for name in ("a", "b")])
    mission = fly(flight(tmp_path, scenario), scenario, 1, Display(), launcher=pretend())
    assert [len(craft.record().frames) for craft in mission.craft] == [10, 10]
    assert {path.name for path in (tmp_path / "logs").iterdir()} == {"cloud.log", "edge-a.log", "edge-b.log"}
    keys = [(tmp_path / "craft" / name / "keys" / "edge.pub").read_text() for name in "ab"]
    assert keys[0] != keys[1]
    assert "threads = 1" in (tmp_path / "craft" / "a" / "edge.toml").read_text()


def test_the_edge_is_started_again_with_the_frames_of_that_moment(tmp_path):
    scenario = tiny_scenario(seconds=3.0, fault=[{"kind": "edge-restart", "at_s": 0.8, "for_s": 0.6}])
    mission = fly(flight(tmp_path, scenario), scenario, 1, Display(), launcher=pretend())
    craft = mission.craft[0]
    record = craft.record()
    indices = [frame.index for frame in record.frames]
    assert [leg.first for leg in craft.edge.legs] == [0, 7]
    assert indices[-1] == 14
    assert 7 in indices
    assert 6 not in indices
    assert record.summary["frames"] == len(indices) == mission.frames
    case = {"source_id": str(craft.edge.legs[1].source)[:200], "frame_index": 2}
    assert truth_of(craft.edge, record.truth, case) is record.truth.items[9]
    assert truth_of(craft.edge, record.truth, {"source_id": "elsewhere", "frame_index": 2}) is None


@pytest.mark.parametrize(("kind", "code"), [("cloud-kill", -9), ("cloud-restart", -15)])
def test_the_cloud_is_ended_and_started_again(tmp_path, kind, code):
    scenario = tiny_scenario(fault=[{"kind": kind, "at_s": 0.5, "for_s": 0.5}])
    started = []

    class Remembered(pretend().child):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            started.append(self)

    launcher = pretend()
    launcher = type(launcher)(Remembered, launcher.command, launcher.run, launcher.wait)
    fly(flight(tmp_path, scenario), scenario, 1, Display(), launcher=launcher)
    clouds = [child for child in started if child.name == "the cloud"]
    assert [child.log.name for child in clouds] == ["cloud.log", "cloud.2.log"]
    assert clouds[0].returncode == code
    assert clouds[1].returncode == -15


def test_the_link_follows_its_windows(tmp_path):
    scenario = tiny_scenario(link={"windows": [[0.5, 1.3]]})
    states = []

    class Watcher:
        def watching(self, mission):
            from contextlib import nullcontext

            self.mission = mission
            return nullcontext()

        def look(self):
            states.append(self.mission.craft[0].link.is_up)

    fly(flight(tmp_path, scenario), scenario, 1, Display(), launcher=pretend(), onlooker=Watcher())
    assert [state for state, before in zip(states, [None, *states], strict=False) if state != before] == [
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("edge", "cloud", "words"),
    [
        pytest.param("raise SystemExit('error: no camera')", CLOUD, "the edge ended .* no camera", id="edge"),
        pytest.param("import time; time.sleep(60)", "raise SystemExit('error: port taken')", "port taken", id="cloud"),
    ],
)
def test_a_program_that_fails_ends_the_flight(tmp_path, edge, cloud, words):
    scenario = tiny_scenario()
    with pytest.raises(ProcessError, match=words):
        fly(flight(tmp_path, scenario), scenario, 1, Display(), launcher=pretend(edge, cloud))


def test_a_delayed_teacher_and_students_of_its_own_are_told_to_the_cloud(tmp_path):
    from sim.crew import CloudProgram, Launcher

    teacher = tiny_scenario(teacher={"delay_s": 2}).teacher
    commands = []
    launcher = Launcher(command=lambda *words: commands.append(words) or [sys.executable])
    CloudProgram(RunFolder.of(tmp_path, ["tiny"]), teacher, [None, Path("my/bundle")], (1, 2), launcher)
    assert commands[0][-4:-2] == ("--student", "my/bundle")
    assert (tmp_path / "cloud.toml").read_text().endswith("max_wait_s = 2.0\n")


def test_answers_are_placed_on_the_flights_clock():
    given = Given("c", "tiny", "Debris", 1, is_error=False, at_s=7.0, outcome="")
    mission = Mission(
        tiny_scenario(), tiny_scenario(), None, CloudWatch(Path()), (), begin_s=104.0, operator_begin_s=100.0
    )
    assert mission.flight_s(given) == 3.0
