import json
import sys
import threading
import time

import cv2
import numpy as np
import pytest

from cloud.signing_keys import KeyPlan, make_signing_keys
from edge import cli, doctor_link, preflight
from edge.capture import Source
from edge.checks import has_problem
from edge.errors import CaptureError
from edge.keys import new_keys, trust_server
from edge.link import LinkSettings
from edge.preflight import Flight
from edge.session import HelloProfile
from edge.trust import pin_root

FOUND = {
    "onnxruntime": {"packages": {"onnxruntime": "1.0"}},
    "runtimes": {"cuda": {"works": False, "reason": "none"}, "cpu": {"works": True, "variant": "fp32", "ms": 3.0}},
}
PROFILE = HelloProfile("0123456789abcdef", "fp32")


@pytest.fixture
def pictures(tmp_path):
    (tmp_path / "film").mkdir()
    cv2.imwrite(str(tmp_path / "film" / "0.png"), np.zeros((48, 64, 3), np.uint8))
    return str(tmp_path / "film")


def checked(flight):
    return {check.name: check for check in preflight.preflight(flight, FOUND, PROFILE)}


def test_only_what_was_named_is_looked_at(tmp_path):
    found = checked(Flight(tmp_path / "out", 10**6))
    assert set(found) == {"onnxruntime", "runtime", "clock", "disk"}
    assert found["runtime"].found == "cpu with fp32, 3.0 ms for 640 x 512"


@pytest.mark.parametrize(("ahead_days", "state"), [(690, "ok"), (710, "warning"), (731, "warning")])
def test_end_of_the_trusted_root_is_told(tmp_path, fake_clock, ahead_days, state):
    keys = tmp_path / "keys"
    new_keys(keys, "edge")
    flight, fake_clock.wall_now_s = Flight(tmp_path / "out", 10**6, keys), time.time() + ahead_days * 86_400
    told = {check.name: check for check in preflight.preflight(flight, FOUND, PROFILE, fake_clock)}
    assert told["updates"].found == "no root is trusted: bundles come by hand alone"
    pin_root(make_signing_keys(tmp_path / "signing", KeyPlan((1, 1), (1, 1)), None), keys)
    told = {check.name: check for check in preflight.preflight(flight, FOUND, PROFILE, fake_clock)}
    assert (told["updates"].state, "root version 1, until 20" in told["updates"].found) == (state, True)


def test_source_shows_its_first_picture(tmp_path, pictures):
    check = checked(Flight(tmp_path, 10**6, source=pictures))["source"]
    assert (check.state, check.found) == ("ok", f"{pictures}: 64x48 at 15 frames/s")


def test_source_that_is_not_there_is_a_problem(tmp_path):
    check = checked(Flight(tmp_path, 10**6, source=str(tmp_path / "nothing")))["source"]
    assert check.state == "problem"
    assert "nothing" in check.found


def test_camera_that_hangs_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    held = threading.Event()

    def hangs(*_, **__) -> Source:
        held.wait(20)
        raise CaptureError("unplugged; plug it in")

    monkeypatch.setattr(preflight, "open_source", hangs)
    monkeypatch.setattr(preflight, "_SOURCE_S", 0.1)
    begin_s = time.monotonic()
    check = checked(Flight(tmp_path, 10**6, source="0"))["source"]
    held.set()
    assert (check.state, check.found) == ("problem", "0: gave no picture within 0 s")
    assert time.monotonic() - begin_s < 10


def test_nothing_runs_the_bundle(tmp_path):
    none = FOUND | {"runtimes": {"cpu": {"works": False, "reason": "no onnxruntime"}}}
    checks = preflight.preflight(Flight(tmp_path, 1), none, PROFILE)
    assert has_problem(checks)
    assert "cpu: no onnxruntime" in " ".join(check.found for check in checks)


def test_cloud_that_does_not_answer_is_a_problem(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor_link, "_PATIENCE_S", 0.6)
    new_keys(tmp_path, "edge")
    trust_server(new_keys(tmp_path / "cloud", "cloud").public.decode(), tmp_path)
    link = LinkSettings(endpoint="tcp://127.0.0.1:9")
    check = checked(Flight(tmp_path, 1, keys=tmp_path, link=link))["cloud"]
    assert check.state == "problem"
    assert "skyloop-cloud serve" in check.cure


@pytest.mark.parametrize(
    ("endpoint", "keys", "words"),
    [
        pytest.param("tcp://127.0.0.1:9", None, "no keys were given", id="no-keys"),
        pytest.param("tcp://127.0.0.1:9", "missing", "the keys have a problem", id="missing-keys"),
    ],
)
def test_cloud_is_not_asked_without_good_keys(tmp_path, endpoint, keys, words):
    folder = tmp_path / keys if keys else None
    check = checked(Flight(tmp_path, 1, keys=folder, link=LinkSettings(endpoint=endpoint)))["cloud"]
    assert words in check.found


@pytest.mark.parametrize("as_json", [True, False])
def test_cli_exits_1_on_a_problem_and_tells_its_cure(tmp_path, tiny_bundle, monkeypatch, capsys, as_json):
    more = ["--json"] if as_json else []
    where = ["--bundle", str(tiny_bundle.folder), "--out", str(tmp_path), "--keys", str(tmp_path / "keys")]
    monkeypatch.setattr(sys, "argv", ["skyloop-edge", "doctor", *where, *more])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    out = capsys.readouterr().out
    if as_json:
        checks = {check["name"]: check for check in json.loads(out)["checks"]}
        assert checks["keys"]["state"] == "problem"
        assert checks["keys"]["cure"].startswith("make a key pair with")
    else:
        assert "problem  keys" in out
