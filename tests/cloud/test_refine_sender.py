"""Requests for better pictures on the wire: a real gateway, and craft that know them or do not."""

import time

import pytest
from builders import make_case
from gateway_peers import until
from typer.testing import CliRunner

from cloud import cli, refine_sender, refine_shelf
from protocols import KINDS, Problem, RefineRequest


@pytest.fixture
def ask(cloud):
    def add(number=1, case_id="a" * 32):
        request = RefineRequest(request_id=f"r{number}", case_id=case_id)
        cloud.store.add_refinement("uav", request, by="ann", now_s=time.time())
        cloud.gateway.notify("uav")
        return request

    return add


def outcome(cloud, request):
    found = cloud.store.refinement(request.request_id)
    return found.state, found.reason


def test_craft_is_asked_and_its_refusal_is_kept(cloud, connect, ask):
    peer = connect("uav")
    peer.join()
    request = ask()
    assert peer.receive("RefineRequest")[0] == request
    until(lambda: outcome(cloud, request) == ("sent", ""))
    peer.send(Problem(code="frame_gone", detail="frame 4: is not held", about=request.request_id))
    until(lambda: outcome(cloud, request) == ("refused", "frame 4: is not held"))
    until(lambda: cloud.gateway.stats.refinements["frame_gone"] == 1)  # counted once it is kept
    heard = []
    while heard.count("Heartbeat") < 2:
        heard.append(peer.receive_any()[0].kind)
    assert "RefineRequest" not in heard


def test_request_that_was_not_answered_is_sent_again_at_the_next_connect(connect, keys_of, ask):
    keys = keys_of("uav")
    first = connect(keys)
    first.join()
    request = ask()
    first.receive("RefineRequest")
    second = connect(keys)
    second.join()
    assert second.receive("RefineRequest")[0] == request


def test_craft_of_an_older_version_is_sent_nothing(cloud, connect, ask, monkeypatch):
    peer = connect("uav")
    monkeypatch.setattr("gateway_peers.KINDS", tuple(kind for kind in KINDS if kind != "RefineRequest"))
    peer.join()
    request = ask()
    until(lambda: outcome(cloud, request)[0] == "refused")
    assert "does not speak RefineRequest (peer); update" in outcome(cloud, request)[1]


def test_problem_about_nothing_that_was_asked_changes_nothing(cloud, connect, ask):
    peer = connect("uav")
    peer.join()
    request = ask()
    peer.receive("RefineRequest")
    for about in ("other", None):
        peer.send(Problem(code="frame_gone", detail="?", about=about))
    peer.send(Problem(code="too_large", detail="less", about=request.request_id))
    until(lambda: outcome(cloud, request) == ("refused", "less"))
    assert sum(cloud.gateway.stats.refinements.values()) == 1


def test_craft_that_is_busy_is_asked_again(cloud, connect, ask):
    peer = connect("uav")
    peer.join()
    request = ask()
    for times in (1, 2):
        assert peer.receive("RefineRequest")[0] == request
        peer.send(Problem(code="busy", detail="later", about=request.request_id, retry_after_s=1.0))
        until(lambda times=times: cloud.gateway.stats.refinements["busy"] == times)
        assert outcome(cloud, request) == ("queued", "later")


def test_request_that_is_never_answered_is_given_up(cloud, connect, ask, monkeypatch):
    monkeypatch.setattr(refine_sender, "LIFE_S", 0.5)
    monkeypatch.setattr(refine_shelf, "LIFE_S", 0.5)
    peer = connect("uav")
    peer.join()
    request = ask()
    peer.receive("RefineRequest")
    until(lambda: outcome(cloud, request) == ("refused", "not answered in time"))


@pytest.mark.parametrize(
    ("options", "changes", "said"),
    [
        pytest.param(["--box", "0,0,90,10"], {}, "leaves the frame of 64x64", id="outside"),
        pytest.param(["--box", "1,2"], {}, "is not x,y,w,h", id="no box"),
        pytest.param(["--quality", "101"], {}, "equal to 100", id="quality"),
        pytest.param([], {"refines": "b" * 32}, "shows bbbbbbbbbbbb again", id="refined"),
    ],
)
def test_command_refuses_what_cannot_be_asked(cloud, tmp_path, options, changes, said):
    cloud.store.enroll("uav", "k" * 40)
    case = make_case(**changes)
    cloud.store.add_cases([("uav", case, b"imagery")])
    done = CliRunner().invoke(cli.app, ["refine", case.case_id, *options, "--data", str(tmp_path / "data")])
    assert done.exit_code != 0
    assert said in done.output + str(done.exception)
    assert cloud.store.refinements_of("uav", case.case_id) == []


def test_command_without_a_server_keeps_the_request(cloud, tmp_path):
    cloud.store.enroll("uav", "k" * 40)
    case = make_case()
    cloud.store.add_cases([("uav", case, b"imagery")])
    words = ["refine", case.case_id[:8], "--margin", "1.5", "--data", str(tmp_path / "data")]
    done = CliRunner().invoke(cli.app, words)
    assert done.exit_code == 0, done.output
    assert "gets it if it connects within 60 s" in done.output
    (kept,) = cloud.store.refinements_of("uav", case.case_id)
    assert kept.request.region_xyxy == (0, 0, 40, 40)
