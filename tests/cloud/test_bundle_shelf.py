"""Who is offered which bundle, and what is kept of it."""

import time
from dataclasses import replace

import pytest
from bundle_fleet import Signing

from cloud.bundle_shelf import CraftBundle, DueOffer
from cloud.errors import RequestError
from cloud.fleet_bundles import FleetBundles


@pytest.fixture
def store(open_store):
    for number in range(1, 40):
        open_store.enroll(f"c{number}", f"{number:02}" * 20)
    return open_store


def begin(store, bundle_id="b-1", percent=100.0, crafts=(), **options):
    return store.add_rollout(bundle_id, percent=percent, crafts=crafts, by="ann", now_s=1.0, **options)


def told(rollout, state, craft="uav", **changes):
    word = CraftBundle(craft, rollout.rollout_id, rollout.bundle_id, state, "", 0, 0, 2.0)
    return replace(word, **changes)


def test_share_is_stable_grows_and_differs_between_rollouts(store):
    names = [craft.name for craft in store.crafts()]
    rollout = begin(store, percent=30)
    few = {name for name in names if store.due_offer(name)}
    assert 4 <= len(few) <= 20
    assert {name for name in names if store.due_offer(name)} == few
    store.change_rollout(rollout.rollout_id, percent=70)
    more = {name for name in names if store.due_offer(name)}
    assert few < more
    store.change_rollout(rollout.rollout_id, percent=100)
    assert all(store.due_offer(name) for name in names)
    store.change_rollout(rollout.rollout_id, state="stopped")
    begin(store, percent=30)
    assert {name for name in names if store.due_offer(name)} != few


def test_crafts_can_be_named_and_late_ones_are_in_the_fleet(store):
    begin(store, crafts=["uav"])
    assert store.due_offer("uav") is not None
    assert store.due_offer("c1") is None
    rollout = begin(store, "b-2")
    store.enroll("late", "l" * 40)
    assert store.due_offer("late") == DueOffer(rollout.rollout_id, "b-2", "take")


@pytest.mark.parametrize("state", ["in_force", "refused", "gone_back"])
def test_settled_offers_are_not_made_again(store, state):
    rollout = begin(store)
    assert store.note_bundle(told(rollout, "fetching", fetched_bytes=5, total_bytes=10))
    assert store.due_offer("uav").action == "take"
    assert store.craft_bundles(craft="uav")[0].percent == 50
    store.note_bundle(told(rollout, state))
    assert store.due_offer("uav") is None
    assert not store.note_bundle(replace(told(rollout, state), rollout_id="none"))


def test_craft_that_went_back_is_not_offered_the_bundle_again_unless_a_person_says_so(store):
    store.note_bundle(told(begin(store), "gone_back", reason="slow"))
    begin(store)
    assert store.due_offer("uav") is None
    assert store.due_offer("c1") is not None
    begin(store, "b-2")
    assert store.due_offer("uav").bundle_id == "b-2"
    begin(store, again=True)
    assert store.due_offer("uav").bundle_id == "b-1"


def test_rolled_back_rollout_is_taken_back_from_whom_it_reached(store):
    rollout = begin(store)
    store.note_bundle(told(rollout, "in_force"))
    store.note_bundle(told(rollout, "refused", craft="c1"))
    store.change_rollout(rollout.rollout_id, state="rolled_back")
    assert store.due_offer("uav") == DueOffer(rollout.rollout_id, "b-1", "go_back")
    assert store.due_offer("c1") is None
    assert store.due_offer("c2") is None
    store.note_bundle(told(rollout, "gone_back"))
    assert store.craft_bundles(craft="uav")[0].state == "taken_back"
    assert store.due_offer("uav") is None
    begin(store)  # a person may roll it out again
    assert store.due_offer("uav").action == "take"
    with pytest.raises(RequestError, match="was rolled back"):
        store.change_rollout(rollout.rollout_id, percent=100)


def test_wishes_that_make_no_sense_are_refused(store):
    for percent in (0, -1, 101, float("nan")):
        with pytest.raises(RequestError, match="percent of the fleet"):
            begin(store, percent=percent)
    with pytest.raises(RequestError, match="no craft is enrolled as 'nobody'"):
        begin(store, crafts=["nobody"])
    rollout = begin(store, percent=50)
    with pytest.raises(RequestError, match="is at 50 %"):
        store.change_rollout(rollout.rollout_id, percent=10)
    for name in ("", "zzz"):
        with pytest.raises(RequestError, match="no rollout"):
            store.rollout(name)
    assert store.rollout(rollout.rollout_id[:6]) == store.rollouts()[0]


def test_news_tells_of_every_change_of_a_rollout(store):
    seen = [store.news().get("uav")]
    rollout = begin(store, percent=10)
    seen.append(store.news().get("uav"))
    store.change_rollout(rollout.rollout_id, percent=20)
    seen.append(store.news().get("uav"))
    assert len(set(seen)) == 3


def test_flown_bundles_are_kept_by_craft(store):
    store.note_flown("uav", "b-1", 1.0)
    store.note_flown("c1", None, 1.0)
    store.note_flown("uav", "b-2", 2.0)
    assert store.flown_bundles() == {"uav": "b-2", "c1": None}


def test_fleet_notes_who_did_what(store, tiny_bundle, tmp_path):
    signing = Signing(store.data_dir, tmp_path / "signing")
    fleet = FleetBundles(store)
    with pytest.raises(RequestError, match="no bundle 'tiny-1' is published; there are: none"):
        fleet.roll_out("tiny-1", by="ann")
    signing.publish(tiny_bundle.folder)
    rollout = fleet.roll_out("tiny-1", by="ann", percent=10)
    fleet.widen(rollout.rollout_id, 50, by="bob")
    fleet.stop(rollout.rollout_id, by="bob")
    fleet.roll_back(rollout.rollout_id, by="cid")
    done = [(event.who, event.what) for event in store.events(about="tiny-1")]
    assert done == [
        ("cid", "rollout rolled back"),
        ("bob", "rollout stopped"),
        ("bob", "rollout widened"),
        ("ann", "bundle rolled out"),
    ]
    store.note_bundle(told(rollout, "on_trial"))
    (status,) = [status for status in fleet.status() if status.craft == "uav"]
    assert (status.flies, status.newest.state) == (None, "on_trial")
    assert len(fleet.of_rollout(rollout.rollout_id)) == 1


def test_expired_registry_is_not_rolled_out(store, tiny_bundle, tmp_path):
    class Later:
        def wall_s(self):
            return time.time() + 40 * 86400

    Signing(store.data_dir, tmp_path / "signing").publish(tiny_bundle.folder)
    with pytest.raises(RequestError, match="bundles refresh"):
        FleetBundles(store, Later()).roll_out("tiny-1", by="ann")
