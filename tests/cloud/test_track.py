"""Orders to follow targets: through the gateway on loopback, and as people type them."""

import json

import pytest
from gateway_peers import until
from typer.testing import CliRunner

from cloud import cli
from protocols.errors import SkyloopError
from protocols.limits import MAX_DURATION_S
from protocols.messages import KINDS, Hello, TargetStatus, TrackTarget
from protocols.values import Detection, PromptBank

FAR_S = 1e10


def order(cloud, key="t1", craft="alpha", expires_at_s=FAR_S, **fields):
    start = TrackTarget(target_key=key, action="start", **({"box_xyxy": (1, 2, 30, 40)} | fields))
    cloud.store.add_target(craft, start, by="ann", now_s=1.0, expires_at_s=expires_at_s)
    cloud.gateway.notify(craft)
    return start


def state_of(cloud, key="t1", craft="alpha"):
    return next(target.state for target in cloud.store.targets(1.0, craft) if target.key == key)


def answer(cloud, peer, state, key="t1"):
    peer.send(TargetStatus(target_key=key, state=state, reason="why"))
    until(lambda: state_of(cloud, key) == state)


def test_order_reaches_a_connected_craft_and_its_word_the_store(cloud, connect):
    peer = connect("alpha")
    peer.join()
    start = order(cloud, label="boat")
    heard, _ = peer.receive("TrackTarget")
    assert heard.model_copy(update={"ttl_s": None}) == start
    assert heard.ttl_s == MAX_DURATION_S
    answer(cloud, peer, "tracked")
    assert cloud.gateway.stats.targets["tracked"] == 1


def test_order_for_a_craft_that_is_offline_comes_with_its_next_greeting_until_it_is_answered(cloud, connect, keys_of):
    keys = keys_of("alpha")
    order(cloud)
    for _ in range(2):
        peer = connect(keys)
        peer.join()
        assert peer.receive("TrackTarget")[0].action == "start"
    answer(cloud, peer, "tentative")
    again = connect(keys)
    again.join()
    assert again.receive("TrackTarget")[0].action == "status"


def test_order_that_is_too_old_is_not_sent(cloud, connect, keys_of):
    keys = keys_of("alpha")
    order(cloud, "old", expires_at_s=2.0)
    order(cloud, "new")
    peer = connect(keys)
    peer.join()
    assert peer.receive("TrackTarget")[0].target_key == "new"
    for _ in range(3):
        peer.receive("Heartbeat")
    assert cloud.gateway.stats.messages["cloud_to_edge", "TrackTarget"] == 1


def test_stop_is_sent_and_is_over_with_the_crafts_word(cloud, connect):
    peer = connect("alpha")
    peer.join()
    order(cloud, "abcdef01")
    peer.receive("TrackTarget")
    answer(cloud, peer, "tracked", "abcdef01")
    cloud.store.stop_target("alpha", "abcdef01", 5.0)
    cloud.gateway.notify("alpha")
    assert peer.receive("TrackTarget")[0].action == "stop"
    answer(cloud, peer, "stopped", "abcdef01")


def test_craft_that_does_not_speak_it_is_sent_none_and_the_operator_is_told(cloud, connect):
    peer = connect("alpha")
    order(cloud)
    hello = Hello(
        craft_software="skyloop 0.0.9",
        boot_id="boot",
        session_id="old",
        kinds=tuple(kind for kind in KINDS if kind != "TrackTarget"),
        space_id="space",
        variant="fp32",
        bank=PromptBank.empty("none").ref,
        wall_time_s=1.7e9,
    )
    peer.send(hello)
    peer.receive("Welcome")
    (target,) = until(lambda: [t for t in cloud.store.targets(1.0) if t.reason])
    assert target.state == "queued"
    assert target.reason == "alpha does not speak TrackTarget (skyloop 0.0.9); update its software"
    for _ in range(3):
        peer.receive("Heartbeat")
    assert not cloud.gateway.stats.messages["cloud_to_edge", "TrackTarget"]


def test_one_craft_says_nothing_of_anothers_targets(cloud, connect):
    alpha, mallory = connect("alpha"), connect("mallory")
    alpha.join()
    mallory.join()
    order(cloud)
    mallory.send(TargetStatus(target_key="t1", state="stopped"))
    until(lambda: cloud.gateway.stats.targets["stopped"] == 1)
    assert state_of(cloud) == "queued"
    assert alpha.receive("TrackTarget")[0].target_key == "t1"


def test_revoked_craft_is_sent_nothing(cloud, connect):
    peer = connect("alpha")
    peer.join()
    order(cloud)
    peer.receive("TrackTarget")
    cloud.store.revoke("alpha")
    peer.send(TargetStatus(target_key="t1", state="tracked"))
    until(lambda: cloud.gateway.stats.not_enrolled == 1)
    assert state_of(cloud) == "queued"


# --- the command line ---


@pytest.fixture
def run(open_store):
    def invoke(*arguments):
        flat = [str(argument) for argument in (*arguments, "--data", open_store.data_dir)]
        result = CliRunner().invoke(cli.app, flat)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    return invoke


@pytest.fixture
def case(open_store, painting):
    found = tuple(
        Detection(box_xyxy=box, label="Car", score=0.9) for box in ((100, 100, 180, 180), (120, 120, 150, 140))
    )
    case, payload = painting.make_case(painting.paint(), origin=(100, 40), detections=found)
    open_store.add_cases([("uav", case, payload)])
    return case


def only_order(store):
    (target,) = store.targets(1.0)
    return target.order


@pytest.mark.parametrize(
    ("options", "fields", "life_s"),
    [
        (["--box", "10,20,30,40"], {"box_xyxy": (10, 20, 40, 60), "label": "target"}, 60),
        (["--box", "0.25:0.5:0.5:1", "--label", "boat"], {"box_xyxy": (0.25, 0.5, 0.5, 1), "is_normalised": True}, 60),
        (["--point", "10,20", "--expires", 5], {"point_xy": (10, 20), "is_normalised": False}, 5),
        (["--point", "0.5:0.25"], {"point_xy": (0.5, 0.25), "is_normalised": True}, 60),
        (["--label", "boat"], {"label": "boat", "box_xyxy": None, "point_xy": None}, 3600),
    ],
    ids=["box", "rectangle", "point", "share-point", "label"],
)
def test_track_keeps_an_order_for_the_server(run, open_store, options, fields, life_s):
    assert f"kept; uav gets it when it connects within {life_s} s" in run("track", "uav", *options)
    kept = only_order(open_store).model_dump()
    assert {name: kept[name] for name in fields} == fields
    (target,) = open_store.targets(1.0)
    assert target.expires_at_s - target.made_at_s == life_s


@pytest.mark.parametrize(
    ("place", "fields"),
    [
        (["--box", "142,82,16,16"], {"box_xyxy": (142, 82, 158, 98)}),
        (["--box", "0.25:0.25:0.375:0.375"], {"box_xyxy": (160, 128, 240, 192)}),
        (["--point", "130,130"], {"box_xyxy": (120, 120, 150, 140)}),
        (["--point", "200,60"], {"point_xy": (200, 60)}),
    ],
    ids=["box", "rectangle", "point-on-a-detection", "point-on-nothing"],
)
def test_place_in_a_case_is_one_of_its_frame(run, open_store, case, place, fields):
    run("track", "uav", *place, "--case", case.case_id[:8])
    kept = only_order(open_store)
    assert {name: getattr(kept, name) for name in fields} == fields
    assert not kept.is_normalised
    assert (kept.seen_in.index, kept.seen_in.captured_at_s, kept.seen_in.case_id) == (0, 1.0, case.case_id)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["uav"], "give one of --box"),
        (["uav", "--box", "1,2,30,40", "--point", "1,2"], "give one of --box"),
        (["uav", "--box", "1,2,3,40"], "under 4 px"),
        (["uav", "--box", "1,2,nan,40"], "neither"),
        (["uav", "--box", "1,2"], "is not X,Y,W,H"),
        (["uav", "--point", "1,2,30,40"], "is not X,Y"),
        (["uav", "--box", "0.1:0.1:1.2:0.5"], "not in shares"),
        (["uav", "--point", "0.5:0.5:0.1"], "a radius does not travel"),
        (["uav", "--box", "9999999,2,30,40"], "box_xyxy"),
        (["uav", "--label", "a\tb"], "label"),
        (["uav", "--label", "boat", "--case", "{case}"], "give its place"),
        (["uav", "--box", "0,0,50,30", "--case", "{case}"], "outside the picture, which shows 100,40,160,160"),
        (["uav", "--point", "5,5", "--case", "{case}"], "outside the picture, which shows 100,40,160,160"),
        (["uav", "--box", "1,2,30,40", "--case", "abcdef"], "no case starts"),
        (["nobody", "--box", "1,2,30,40"], "no craft is enrolled as 'nobody'"),
        (["uav", "--stop", "abcdef"], "no target of uav"),
        (["uav", "--stop", "abcdef", "--label", "x"], "--stop takes a target alone"),
    ],
)
def test_track_refuses_in_one_line_and_keeps_nothing(run, open_store, case, arguments, message):
    with pytest.raises(SkyloopError, match=message) as refusal:
        run("track", *[argument.format(case=case.case_id) for argument in arguments])
    assert "\n" not in str(refusal.value)
    assert open_store.targets(1.0) == []


def test_track_stop_and_the_list(run, open_store):
    kept = json.loads(run("track", "uav", "--box", "10,20,30,40", "--label", "boat", "--json"))
    open_store.note_target("uav", TargetStatus(target_key=kept["target"], state="lost", reason="left"), 1e9)
    (listed,) = json.loads(run("targets", "--json"))
    assert (listed["state"], listed["reason"], listed["craft"]) == ("lost", "left", "uav")
    heading, row = run("targets", "--craft", "uav").splitlines()
    assert "box x,y,w,h" in heading
    for cell in (kept["target"], "uav", "boat", "lost", "left"):
        assert cell in row
    assert "stopped" in run("track", "uav", "--stop", kept["target"][:6])
    assert json.loads(run("targets", "--json")) == []
    (over,) = json.loads(run("targets", "--json", "--all"))
    assert over["state"] == "stopped"


def test_commands_teach_with_an_example():
    for command in ("track", "targets"):
        result = CliRunner().invoke(cli.app, [command, "--help"])
        assert f"skyloop-cloud {command}" in result.stdout.replace("\n", " ")
