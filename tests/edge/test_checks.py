import os
from collections import namedtuple

import onnxruntime as ort
import pytest

from edge import checks
from edge.checks import Check, check_clock, check_disk, check_keys, check_onnxruntime, has_problem, kernel_synchronized
from edge.keys import new_keys, trust_server

NOW_S = 1.79e9


def states(found):
    return {check.name: check.state for check in found}


def test_keys_of_a_craft_are_its_own_and_the_clouds(tmp_path):
    new_keys(tmp_path, "edge")
    trust_server(new_keys(tmp_path / "cloud", "cloud").public.decode(), tmp_path)
    assert states(check_keys(tmp_path, "edge")) == {"keys": "ok", "trust": "ok"}
    assert states(check_keys(tmp_path / "cloud", "cloud")) == {"keys": "ok"}


def test_missing_keys_say_which_command_makes_them(tmp_path):
    keys, trust = check_keys(tmp_path, "edge")
    assert (keys.state, trust.state) == ("problem", "problem")
    assert keys.cure == f"make a key pair with `skyloop-edge keys new --out {tmp_path}`"
    assert "skyloop-edge trust" in trust.cure


def test_secret_key_that_others_may_read_is_a_problem(tmp_path):
    new_keys(tmp_path, "cloud")
    (tmp_path / "cloud.key").chmod(0o644)
    (check,) = check_keys(tmp_path, "cloud")
    assert check.state == "problem"
    assert "others may read it" in check.line()
    assert f"chmod 600 {tmp_path / 'cloud.key'}" in check.line()


Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(
    ("free", "state", "words"),
    [
        pytest.param(50e9, "ok", "50.0 GB free", id="room"),
        pytest.param(500e6, "warning", "the spool may take 1.0 GB: free some space, or lower it", id="tight"),
        pytest.param(10e6, "problem", "10 MB free", id="full"),
    ],
)
def test_disk_is_measured_where_results_will_go(tmp_path, monkeypatch, free, state, words):
    asked = []
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda path: asked.append(path) or Usage(1e12, 0, int(free)))
    check = check_disk(tmp_path / "not" / "there" / "yet", 10**9, "the spool")
    assert (check.state, asked) == (state, [tmp_path])
    assert words in check.line()


def test_disk_of_a_file_is_a_problem(tmp_path):
    (tmp_path / "file").write_text("")
    assert check_disk(tmp_path / "file" / "out", 1, "it").state == "problem"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_disk_that_may_not_be_written_is_a_problem(tmp_path):
    tmp_path.chmod(0o500)
    assert "cannot be written" in check_disk(tmp_path / "out", 1, "it").found


@pytest.mark.parametrize(
    ("wall_s", "offset_s", "synchronized", "state", "words"),
    [
        pytest.param(86_400.0, None, None, "warning", "was never set", id="woke-up-in-1970"),
        pytest.param(NOW_S, 40.0, True, "warning", "40.0 s behind the cloud", id="behind"),
        pytest.param(NOW_S, -40.0, True, "warning", "40.0 s ahead of the cloud", id="ahead"),
        pytest.param(NOW_S, 0.3, True, "ok", "synchronized, 0.3 s behind the cloud", id="together"),
        pytest.param(NOW_S, 0.3, False, "ok", "not synchronized, 0.3 s behind", id="unsynchronized-but-right"),
        pytest.param(NOW_S, None, False, "warning", "start chrony", id="unsynchronized"),
        pytest.param(NOW_S, None, None, "ok", "set", id="nobody-knows"),
    ],
)
def test_clock_is_compared_with_the_cloud_where_it_answered(monkeypatch, wall_s, offset_s, synchronized, state, words):
    monkeypatch.setattr(checks, "kernel_synchronized", lambda: synchronized)
    check = check_clock(wall_s, offset_s)
    assert check.state == state
    assert words in check.line()


def test_kernel_says_whether_its_clock_is_disciplined():
    assert kernel_synchronized() in (True, False, None)


def test_onnxruntime_that_is_loaded_is_named():
    check = check_onnxruntime({"onnxruntime": ort.__version__})
    assert check.state in ("ok", "warning")  # a machine with a GPU wants another build
    assert ort.__version__ in check.found


def test_two_builds_of_onnxruntime_are_a_warning():
    check = check_onnxruntime({"onnxruntime": "1.0", "onnxruntime-gpu": "1.0"})
    assert check.state == "warning"
    assert "uninstall all" in check.cure


@pytest.mark.parametrize(
    ("providers", "state"), [(["CPUExecutionProvider"], "warning"), (["CUDAExecutionProvider"], "ok")]
)
def test_gpu_without_its_build_of_onnxruntime_is_a_warning(monkeypatch, tmp_path, providers, state):
    monkeypatch.setattr(checks, "_GPU_SIGNS", (tmp_path,))
    assert check_onnxruntime({"onnxruntime": "1.0"}, providers).state == state


def test_only_problems_are_problems():
    assert not has_problem([Check("a", "ok", ""), Check("b", "warning", "")])
    assert has_problem([Check("a", "ok", ""), Check("b", "problem", "")])
