import json
import sys

import pytest

import sim.demo as demo
from cloud.teachers import bundled_teacher
from edge.bundle import bundled_student
from sim.crew import Launcher
from sim.demo import DemoOptions, demo_scenario, prepare_folder, run_demo
from sim.display import Display
from sim.errors import OutputError, ProcessError, ScenarioError
from sim.processes import Child
from sim.record import BankSeen
from sim.scene_plan import scenes_of
from sim.watch import FlightWatch


def options(out, **values) -> DemoOptions:
    return DemoOptions(**{"out": out, "seconds": 8.0, "seed": 1} | values)


def test_a_fresh_folder_is_made_and_marked(tmp_path):
    prepare_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_an_earlier_demo_is_replaced_and_other_files_stay(tmp_path):
    prepare_folder(tmp_path)
    (tmp_path / "keys" / "edge").mkdir(parents=True)
    (tmp_path / "report.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("mine")
    prepare_folder(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".skyloop-demo", "notes.txt"}


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "keys").mkdir()
    with pytest.raises(OutputError, match="not a demo's"):
        prepare_folder(tmp_path)
    assert (tmp_path / "keys").is_dir()


def test_a_file_as_output_folder_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose another --out"):
        prepare_folder(tmp_path / "file")


def test_a_flight_longer_than_its_way_is_refused(tmp_path):
    with pytest.raises(ScenarioError, match=r"the way of demo-craft with seed 1 takes \d+ s; give at most"):
        scenes_of(demo_scenario(options(tmp_path, seconds=590.0)), 1)


def test_the_command_repeats_the_run(tmp_path):
    command = options(tmp_path, seed=4, teacher="other").command
    assert command == f"skyloop-sim demo --out {tmp_path} --seconds 8 --seed 4 --teacher other"


def test_both_programs_are_gone_when_the_edge_fails(tmp_path):
    started = []

    class Remembered(Child):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            started.append(self)

    def command(program, *_):
        code = "import time; time.sleep(60)" if program == "skyloop-cloud" else "raise SystemExit('error: no camera')"
        return [sys.executable, "-c", code]

    launcher = Launcher(child=Remembered, command=command, run=lambda *_, **__: None, wait=lambda *_: None)
    with pytest.raises(ProcessError, match="no camera"):
        demo._fly(options(tmp_path), Display(), launcher)
    assert len(started) == 2
    assert all(child.returncode is not None for child in started)


def test_watch_counts_frames_as_lines_grow(tmp_path):
    watch = FlightWatch(tmp_path)
    watch.poll()
    assert watch.frames == 0
    path = tmp_path / "detections.jsonl"
    path.write_text('{"time_s": 5.0}\n{"time_s"')
    watch.poll()
    assert watch.frames == 1
    path.write_text('{"time_s": 5.0}\n{"time_s": 5.1}\n')
    watch.poll()
    assert watch.frames == 2


def test_watch_sees_each_bank_revision_once(tmp_path):
    from edge.bank import BankStore
    from protocols.values import PromptBank, diff_banks

    watch = FlightWatch(tmp_path)
    BankStore(tmp_path / "state" / "bank").apply(diff_banks(None, PromptBank(epoch="e", revision=3)))
    watch.poll()
    watch.poll()
    assert watch.banks == [BankSeen(3, (), ())]
    assert watch.prompts == 3


@pytest.mark.slow
@pytest.mark.skipif(
    not (bundled_student().is_dir() and bundled_teacher().is_dir()), reason="the bundled models are not trained yet"
)
def test_the_loop_closes_end_to_end(tmp_path):
    report = run_demo(DemoOptions(out=tmp_path, seconds=20.0, seed=1), Display())
    assert report["prompts_applied"] > 0
    assert report["unfamiliar"]["recall_after"] >= 0.5
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert (tmp_path / "report.html").stat().st_size > 50_000
    assert (tmp_path / "video.mp4").stat().st_size > 50_000
