"""Prompts, craft, targets and events over HTTP."""

import time

import pytest
from api_parts import prompt_of

from cloud.api.paging import next_cursor
from cloud.bundle_shelf import CraftBundle
from cloud.gateway_settings import CraftLive
from protocols.values import BankRef


@pytest.fixture
def bank(store, add):
    """A prompt in force on one craft, made of a case."""
    case = add()
    held = store.bank("uav")
    prompt = prompt_of("person-1", case.case_id)
    store.save_bank("uav", held.model_copy(update={"revision": 1, "prompts": (prompt,)}))
    return store.bank("uav")


def test_prompts_in_force_with_who_holds_them(viewer, bank):
    (prompt,) = viewer.get("/prompts").json()["items"]
    assert (prompt["prompt_id"], prompt["craft"], prompt["positives"]) == ("person-1", ["uav"], 2)
    assert viewer.get("/prompts/person-1").json() == prompt
    assert viewer.get("/prompts", params={"craft": "sat"}).json()["items"] == []
    assert viewer.get("/prompts", params={"craft": "nobody"}).status_code == 404
    assert viewer.get("/prompts/person-2").status_code == 404


def test_prompts_come_a_page_at_a_time_and_a_cursor_is_good_for_its_list_alone(viewer, bank, store):
    prompts = tuple(prompt_of(f"person-{number}", bank.prompts[0].case_id) for number in range(5))
    store.save_bank("uav", bank.model_copy(update={"revision": 2, "prompts": prompts}))
    seen, cursor = [], None
    while True:
        page = viewer.get("/prompts", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen.append([prompt["prompt_id"] for prompt in page["items"]])
        if (cursor := page["next"]) is None:
            break
        assert viewer.get("/prompts", params={"cursor": cursor, "craft": "uav"}).status_code == 400
        assert viewer.get("/craft", params={"cursor": cursor}).status_code == 400
    assert seen == [["person-0", "person-1"], ["person-2", "person-3"], ["person-4"]]
    first = viewer.get("/craft", params={"limit": 1}).json()
    rest = viewer.get("/craft", params={"limit": 1, "cursor": first["next"]}).json()
    assert ([craft["name"] for craft in first["items"] + rest["items"]], rest["next"]) == (["sat", "uav"], None)
    made_up = next_cursor((1, 2), "craft")
    assert viewer.get("/craft", params={"cursor": made_up}).status_code == 400


def test_prompt_is_taken_back_once_by_an_operator(analyst, operator, bank, store, service):
    assert analyst.delete("/prompts/person-1").status_code == 403
    key = {"Idempotency-Key": "k"}
    first = operator.delete("/prompts/person-1", headers=key)
    assert (first.status_code, first.json()) == (200, {"prompt_id": "person-1", "craft": ["uav"]})
    assert operator.delete("/prompts/person-1", headers=key).json() == first.json()
    assert operator.delete("/prompts/person-1").status_code == 404
    assert (store.bank("uav").prompts, service.woken) == ((), [1])
    assert [(event.what, event.about) for event in store.events()] == [("prompt revoked", "person-1")]


def test_craft_with_what_they_were_last_heard_to_be(viewer, bank, store, service):
    now_s = time.time()
    service.live["uav"] = CraftLive(
        is_online=True, since_s=now_s - 60, heard_s=now_s - 2, bytes_received=7, bank=bank.ref
    )
    sat, uav = viewer.get("/craft").json()["items"]
    assert (sat["name"], sat["live"], sat["result_age_s"], sat["is_current"]) == ("sat", None, None, None)
    assert (uav["bank"]["revision"], uav["is_current"], uav["cases"]) == (1, True, 1)
    assert 2 <= uav["live"]["heard_age_s"] < 60
    assert 0 <= uav["result_age_s"] < 60
    service.live["uav"].bank = BankRef(epoch=bank.epoch, revision=0, digest=bank.digest)
    assert viewer.get("/craft/uav").json()["is_current"] is False
    assert viewer.get("/craft/nobody").status_code == 404


def test_places_of_craft_tell_their_age(viewer, add):
    add(answered=False), add("sat", pose=None)
    answer = viewer.get("/craft/geojson")
    assert answer.headers["content-type"] == "application/geo+json"
    features = {feature["id"]: feature for feature in answer.json()["features"]}
    assert features["uav/camera"]["geometry"]["coordinates"] == [8.0, 47.0]
    assert features["uav/footprint"]["geometry"]["type"] == "Polygon"
    assert 0 <= features["uav/footprint"]["properties"]["age_s"] < 60
    assert features["uav/footprint"]["properties"]["is_online"] is False
    assert features["sat/camera"]["geometry"] is None


def test_target_is_started_listed_and_stopped(viewer, analyst, operator, add, store):
    case = add()
    body = {"label": "boat", "box_xyxy": [110, 70, 150, 90], "case_id": case.case_id}
    assert analyst.post("/craft/uav/targets", json=body).status_code == 403
    key = {"Idempotency-Key": "k"}
    started = operator.post("/craft/uav/targets", json=body, headers=key)
    assert (started.status_code, started.json()["state"]) == (201, "queued")
    assert operator.post("/craft/uav/targets", json=body, headers=key).json() == started.json()
    (listed,) = viewer.get("/targets", params={"craft": "uav"}).json()["items"]
    assert (listed["case_id"], listed["by"]) == (case.case_id, "token:operator-2")
    name = f"/craft/uav/targets/{listed['key']}"
    assert viewer.get(name).json() == listed
    assert operator.delete(name).json()["state"] == "stopped"
    assert viewer.get("/targets").json()["items"] == []
    assert [target["state"] for target in viewer.get("/targets", params={"all": True}).json()["items"]] == ["stopped"]
    assert [event.what for event in store.events()] == ["target stopped", "target started"]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({}, 422, "give box_xyxy, point_xy or label"),
        ({"box_xyxy": [0, 0, 9, 9], "point_xy": [1, 1]}, 422, "give one place"),
        ({"box_xyxy": [5, 5, 5, 9]}, 422, "no area"),
        ({"box_xyxy": [9, 5, 5, 9]}, 422, "inside out"),
        ({"point_xy": [1, 1], "case_id": "0" * 32}, 404, "no case starts"),
        ({"label": "x", "expires_s": 0}, 422, "body.expires_s"),
    ],
)
def test_target_that_cannot_be_meant_is_explained(operator, body, status, message):
    answer = operator.post("/craft/uav/targets", json=body)
    assert (answer.status_code, message in answer.json()["detail"]) == (status, True), answer.json()


def test_target_of_a_craft_that_is_not_there_or_shut_out(operator, store):
    store.revoke("sat")
    body = {"label": "boat"}
    assert operator.post("/craft/nobody/targets", json=body).status_code in (404, 422)
    assert "revoked" in operator.post("/craft/sat/targets", json=body).json()["detail"]
    assert operator.delete("/craft/uav/targets/abcdef").status_code == 404


def test_events_are_for_operators_and_come_page_by_page(viewer, operator, store):
    for number in range(3):
        store.note_event("ann", "look", f"thing-{number}")
    assert viewer.get("/events").status_code == 403
    page = operator.get("/events", params={"limit": 2}).json()
    rest = operator.get("/events", params={"limit": 2, "cursor": page["next"]}).json()
    assert [event["about"] for event in page["items"] + rest["items"]] == ["thing-2", "thing-1", "thing-0"]
    assert [event["about"] for event in operator.get("/events", params={"about": "thing-1"}).json()["items"]] == [
        "thing-1"
    ]


@pytest.fixture
def rollout(store):
    return store.add_rollout("student-7", percent=10, crafts=("uav",), by="ann", now_s=5.0)


def test_rollouts_with_how_far_each_craft_is(viewer, rollout, store):
    told = CraftBundle("uav", rollout.rollout_id, "student-7", "fetching", "", 10, 100, 6.0)
    store.note_bundle(told)
    (listed,) = viewer.get("/rollouts").json()["items"]
    assert (listed["bundle_id"], listed["percent"], listed["crafts"]) == ("student-7", 10, ["uav"])
    one = viewer.get(f"/rollouts/{rollout.rollout_id}").json()
    assert [(each["craft"], each["state"], each["fetched_bytes"]) for each in one["progress"]] == [
        ("uav", "fetching", 10)
    ]
    assert viewer.get("/rollouts/" + "0" * 12).status_code == 404
    assert viewer.get("/bundles").json()["items"] == []


def test_rollout_is_widened_stopped_and_rolled_back_by_an_operator(analyst, operator, rollout, store):
    name = f"/rollouts/{rollout.rollout_id}"
    assert analyst.patch(name, json={"percent": 50}).status_code == 403
    assert operator.patch(name, json={"percent": 50}).json()["percent"] == 50
    assert operator.patch(name, json={"percent": 5}).status_code == 422
    assert operator.patch(name, json={}).status_code == 422
    assert operator.patch(name, json={"state": "stopped"}).json()["state"] == "stopped"
    assert operator.patch(name, json={"state": "rolled_back"}).json()["state"] == "rolled_back"
    assert [event.what for event in store.events()] == ["rollout rolled back", "rollout stopped", "rollout widened"]


def test_bundle_that_is_not_published_is_not_rolled_out(operator, store):
    answer = operator.post("/rollouts", json={"bundle_id": "student-7"})
    assert (answer.status_code, "no bundle 'student-7' is published" in answer.json()["detail"]) == (404, True)
    assert store.rollouts() == []
