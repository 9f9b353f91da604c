"""`skyloop-edge` as a user meets it: what it prints, what it leaves, how it refuses."""

import json
import os
import shutil
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest

from edge.keys import new_keys, trust_server

RED = (40, 40, 250)


def edge(*arguments, cwd=None):
    command = [sys.executable, "-c", "from edge.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=cwd)


@pytest.fixture(scope="module")
def flight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flight")
    for i in range(6):
        image = np.zeros((128, 160, 3), np.uint8)
        image[26:42, 26 + 4 * i : 42 + 4 * i] = RED
        cv2.imwrite(str(folder / f"{i}.png"), image)
    return folder


def test_run_alone_writes_results_and_says_where(flight, tiny_bundle, tmp_path):
    done = edge("run", "--source", flight, "--bundle", tiny_bundle.folder, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "6 frames" in done.stdout
    assert {p.name for p in (tmp_path / "out").iterdir()} >= {"detections.jsonl", "summary.json", "video.mp4"}


def test_run_json_prints_the_summary_alone(flight, tiny_bundle, tmp_path):
    common = ("run", "--source", flight, "--bundle", tiny_bundle.folder, "--out", tmp_path)
    done = edge(*common, "--max-frames", 3, "--json")
    assert json.loads(done.stdout)["frames"] == 3


def test_run_with_nobody_at_the_endpoint_detects_the_same(flight, tiny_bundle, tmp_path):
    keys = tmp_path / "keys"
    edge("keys", "new", "--out", keys)
    edge("trust", keys / "edge.pub", "--keys", keys)
    common = ("run", "--source", flight, "--bundle", tiny_bundle.folder)
    assert edge(*common, "--out", tmp_path / "a").returncode == 0
    linked = edge(*common, "--out", tmp_path / "b", "--cloud", "tcp://127.0.0.1:9", "--keys", keys)
    assert linked.returncode == 0, linked.stderr

    def detections(folder):
        return [json.loads(line)["detections"] for line in (folder / "detections.jsonl").read_text().splitlines()]

    assert detections(tmp_path / "b") == detections(tmp_path / "a")
    assert "nobody answers" in linked.stderr


def test_run_follows_targets_by_box_by_label_and_by_point(flight, tiny_bundle, tmp_path):
    common = ("run", "--source", flight, "--bundle", tiny_bundle.folder, "--out", tmp_path)
    done = edge(*common, "--target", "90,90,16,16", "--target", "Red", "--target", "34,34")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "tracks.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(6))
    assert [(t["target_id"], t["label"]) for t in lines[-1]["targets"]] == [
        (1, "target"),
        (2, "Red"),
        (3, "target"),
    ]
    assert lines[0]["targets"][2]["reason"] == "just begun, the student's candidate at the point"
    assert abs(lines[-1]["targets"][1]["box_xyxy"][0] - (26 + 4 * 5)) < 3
    rows = [line.split(",") for line in (tmp_path / "tracks.mot.txt").read_text().splitlines()]
    assert [row[0] for row in rows if row[1] == "2"] == list("123456")


def test_a_file_that_tunes_the_link_and_names_no_cloud_leaves_the_craft_alone(flight, tiny_bundle, tmp_path):
    (tmp_path / "tuned.toml").write_text("[link]\nliveness_s = 3.0\n")
    common = ("run", "--source", flight, "--bundle", tiny_bundle.folder, "--config", tmp_path / "tuned.toml")
    done = edge(*common, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["link"] is None
    linked = edge(*common, "--out", tmp_path / "linked", "--cloud", "tcp://127.0.0.1:9")
    assert "needs --keys" in linked.stderr


def test_run_sigterm_keeps_what_was_found(flight, tiny_bundle, tmp_path):
    (tmp_path / "slow.toml").write_text("paced = true\n")
    shutil.copytree(flight, tmp_path / "flight")
    (tmp_path / "flight" / "fps.txt").write_text("1\n")
    arguments = ["run", "--source", tmp_path / "flight", "--bundle", tiny_bundle.folder, "--out", tmp_path / "out"]
    command = [sys.executable, "-c", "from edge.cli import main; main()", *map(str, arguments)]
    with subprocess.Popen([*command, "--config", str(tmp_path / "slow.toml")], stderr=subprocess.PIPE) as process:
        while b"prompt bank" not in process.stderr.readline():  # told with the first frame
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert 1 <= json.loads((tmp_path / "out" / "summary.json").read_text())["frames"] < 6


BAD_INPUT = [
    pytest.param(["--source", "nowhere.mp4"], "nowhere.mp4", id="missing-source"),
    pytest.param(["--source", "{flight}", "--bundle", "{tmp}"], "bundle.json", id="no-bundle"),
    pytest.param(["--source", "{flight}", "--config", "{tmp}/bad.toml"], "unknown key 'thread'", id="unknown-key"),
    pytest.param(["--source", "{flight}", "--cloud", "tcp://127.0.0.1:9"], "needs --keys", id="no-keys"),
    pytest.param(
        ["--source", "{flight}", "--cloud", "cloud:7600", "--keys", "{tmp}/good"], "tcp://HOST:PORT", id="bad-endpoint"
    ),
    pytest.param(["--source", "{flight}", "--out", "/dev/null/out"], "choose another --out", id="bad-out"),
    pytest.param(
        ["--source", "{flight}", "--cloud", "tcp://127.0.0.1:9", "--keys", "{tmp}/open"], "chmod", id="open-key"
    ),
    pytest.param(["--source", "{flight}", "--target", "20,20,3,30"], "under 4 px", id="target-small"),
    pytest.param(["--source", "{flight}", "--target", "20,20,30"], "neither X,Y,W,H", id="target-of-three"),
    pytest.param(["--source", "{flight}", "--target", "200,20,30,30"], "outside the frame of 160x128", id="target-out"),
    pytest.param(["--source", "{flight}", "--target", "20,200"], "outside the frame of 160x128", id="point-out"),
    pytest.param(["--source", "{flight}", "--target", "0.5:0.5:0.51:0.9"], "under 4 px", id="rectangle-small"),
    pytest.param(["--source", "{flight}", *["--target", "Red"] * 17], "17 targets are asked for", id="targets-many"),
    pytest.param(["--source", "{flight}", "--tracker", "best"], "is none of correlation", id="unknown-tracker"),
    pytest.param(["--source", "{flight}", "--tracker", "nano:{tmp}"], "holds 0 files", id="no-weights"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_INPUT)
def test_run_bad_input_is_one_clear_line(arguments, message, flight, tiny_bundle, tmp_path):
    (tmp_path / "bad.toml").write_text("thread = 2\n")
    new_keys(tmp_path / "open", "edge")
    os.chmod(tmp_path / "open" / "edge.key", 0o644)
    trust_server(new_keys(tmp_path / "good", "edge").public.decode(), tmp_path / "good")
    filled = [a.format(flight=flight, tmp=tmp_path) for a in arguments]
    if "--bundle" not in filled:
        filled += ["--bundle", str(tiny_bundle.folder)]
    if "--out" not in filled:
        filled += ["--out", str(tmp_path / "out")]
    done = edge("run", *filled)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_help_teaches_with_an_example():
    done = edge("run", "--help")
    assert done.returncode == 0
    assert "skyloop-edge run --source" in done.stdout


def test_run_with_a_runtime_that_is_not_here_is_one_line_and_leaves_nothing(flight, tiny_bundle, tmp_path):
    common = ("run", "--source", flight, "--bundle", tiny_bundle.folder, "--out", tmp_path / "out")
    done = edge(*common, "--runtime", "tensorrt")
    assert done.returncode == 1
    assert "error: runtime tensorrt: the bundle holds no file made for tensorrt" in done.stderr
    assert not (tmp_path / "out").exists()


def test_run_on_the_cpu_says_so_in_its_summary(flight, tiny_bundle, tmp_path):
    common = ("run", "--source", flight, "--bundle", tiny_bundle.folder, "--out", tmp_path)
    done = edge(*common, "--runtime", "cpu", "--json")
    assert json.loads(done.stdout)["bundle"]["backend"] == "onnxruntime:CPUExecutionProvider"
    assert done.stderr.count("runtime chosen") == 1


def test_doctor_says_what_works(tiny_bundle):
    done = edge("doctor", "--bundle", tiny_bundle.folder, "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert "onnxruntime   " in done.stdout
    assert "cpu           fp32, " in done.stdout
