import errno
import json

import pytest
from tiny_run import tiny_scenario

from cloud.teachers import bundled_teacher
from edge.bundle import bundled_student, load_bundle
from sim.display import Display
from sim.errors import OutputError, ScenarioError
from sim.event_log import write_event_log
from sim.run_folder import RunFolder
from sim.runner import RunOptions, render_flights, run_scenario
from sim.scene_plan import scenes_of

NOISE = {"pose_noise_m": 1, "pose_noise_deg": 1, "pose_latency_ms": 50}


def log_of(root, seed: int) -> tuple[str, bytes]:
    craft = tiny_scenario().craft[0].model_dump()
    scenario = tiny_scenario(
        seconds=1.0,
        craft=[{**craft, "flight": {**craft["flight"], **NOISE}}],
        operator={"labels": ["Debris"], "error_rate": 0.5},
        link={"windows": [[0.2, 0.6], [0.8, 1.0]]},
        fault=[{"kind": "cloud-kill", "at_s": 0.3, "for_s": 0.2}],
    )
    folder = RunFolder.of(root, ["tiny"])
    render_flights(folder, scenario, scenes_of(scenario, seed), seed, Display())
    return write_event_log(folder, scenario, seed), folder.events.read_bytes()


def test_the_same_scenario_and_seed_give_the_same_frames_and_event_log(tmp_path):
    first, again, other = (log_of(tmp_path / name, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert first == again
    assert first[0] != other[0]
    frames = [
        [line["sha256"] for line in map(json.loads, text.splitlines()) if line["kind"] == "frame"]
        for _, text in (first, other)
    ]
    assert len(frames[0]) == 5
    assert not set(frames[0]) & set(frames[1])


def test_the_event_log_tells_what_is_decided_in_order(tmp_path):
    _, text = log_of(tmp_path, 1)
    head, *lines = [json.loads(line) for line in text.splitlines()]
    assert (head["kind"], head["seed"]) == ("run", 1)
    assert [line["at_s"] for line in lines] == sorted(line["at_s"] for line in lines)
    assert {line["kind"] for line in lines} == {"event", "link", "fault", "answer", "frame", "truth"}
    links = [(line["state"], line["at_s"]) for line in lines if line["kind"] == "link"]
    assert links == [("up", 0.2), ("down", 0.6), ("up", 0.8)]


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "flight").write_text("a file where a folder is wanted")
    scenario = tiny_scenario()
    with pytest.raises(OutputError, match=r"cannot be written.*free some space"):
        render_flights(RunFolder.of(tmp_path, ["tiny"]), scenario, scenes_of(scenario, 1), 1, Display())


def test_half_a_flight_is_not_left_on_a_full_disk(tmp_path, monkeypatch):
    def fill_up(scene, out_dir, *_, **__):
        out_dir.mkdir(parents=True)
        (out_dir / "frames.jsonl").write_text("{}")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sim.runner.render_sequence", fill_up)
    scenario = tiny_scenario()
    words = r"flight: cannot be written \(No space left on device\); free some space"
    with pytest.raises(OutputError, match=words):
        render_flights(RunFolder.of(tmp_path, ["tiny"]), scenario, scenes_of(scenario, 1), 1, Display())
    assert not (tmp_path / "flight").exists()


def test_a_bundle_that_is_not_there_is_told_with_file_and_key(tmp_path, monkeypatch):
    monkeypatch.setattr("sim.runner.open_teacher", lambda name: None)
    craft = tiny_scenario().craft[0].model_dump()
    scenario = tiny_scenario(craft=[craft, {**craft, "name": "other", "student": "/nope"}])
    (tmp_path / "known").mkdir()
    monkeypatch.setattr("sim.runner.bundled_student", lambda: tmp_path / "known")
    monkeypatch.setattr("sim.runner.load_bundle", lambda path: path.name == "known" or load_bundle(path))
    with pytest.raises(ScenarioError, match=r"^my\.toml: craft\[1\]\.student: /nope/bundle\.json: cannot be read"):
        run_scenario(RunOptions(scenario, 1, tmp_path / "out", "my.toml"), Display())
    assert not (tmp_path / "out").exists()


def test_the_command_repeats_the_run(tmp_path):
    options = RunOptions(tiny_scenario(), 4, tmp_path, "my flights/tiny.toml")
    assert options.command == f"skyloop-sim run 'my flights/tiny.toml' --seed 4 --out {tmp_path}"


@pytest.mark.slow
@pytest.mark.skipif(
    not (bundled_student().is_dir() and bundled_teacher().is_dir()), reason="the bundled models are not trained yet"
)
def test_real_programs_survive_every_fault_and_learn_from_the_person(tmp_path):
    craft = {"name": "tiny", "flight": {"kind": "along-roads"}}
    scenario = tiny_scenario(
        seconds=24.0,
        fps=10,
        craft=[craft],
        event=[{"kind": "earthquake", "at_s": 2.4}],
        operator={"labels": ["Debris"], "delay_s": 1, "scope": "fleet"},
        fault=[
            {"kind": "link-cut", "at_s": 6, "for_s": 2},
            {"kind": "cloud-kill", "at_s": 10, "for_s": 1},
            {"kind": "edge-restart", "at_s": 15, "for_s": 1},
        ],
    )
    report = run_scenario(RunOptions(scenario, 1, tmp_path, "tiny"), Display())
    flown = report["craft"]["tiny"]
    assert flown["starts"] == 2
    assert flown["connects"] >= 3
    assert flown["labels_learned"] == ["Debris"]
    assert 0 < flown["frames"] <= scenario.frames
    assert json.loads((tmp_path / "run.json").read_text()) == report
    assert (tmp_path / "logs" / "cloud.2.log").exists()
    assert "first prompt: Debris" in (tmp_path / "report.html").read_text()
    assert {item["label"] for item in flown["recall"]} >= {"Debris", "Car"}
