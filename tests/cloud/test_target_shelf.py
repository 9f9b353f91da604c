import pytest

from cloud.errors import RequestError
from cloud.store import CaseStore
from cloud.target_shelf import KEPT_TARGETS
from protocols.limits import MAX_TARGETS
from protocols.messages import TargetStatus, TrackTarget

BOX = (10.0, 20.0, 30.0, 40.0)


def key_of(number):
    return f"{number:012x}"


def add(store, number=1, craft="uav", now_s=1000.0, life_s=60.0):
    order = TrackTarget(target_key=key_of(number), action="start", box_xyxy=BOX)
    store.add_target(craft, order, by="ann", now_s=now_s, expires_at_s=now_s + life_s)
    return order


def say(store, number, state, craft="uav", now_s=1001.0):
    return store.note_target(craft, TargetStatus(target_key=key_of(number), state=state, reason="why"), now_s)


def waiting(store, now_s=1001.0):
    return [target.key for target in store.open_targets("uav", now_s)[0]]


def test_order_waits_until_the_craft_has_answered(open_store):
    order = add(open_store)
    ((target,), followed) = open_store.open_targets("uav", 1001.0)
    assert (target.order, target.state, target.is_sent, followed) == (order, "queued", False, [])
    assert say(open_store, 1, "tentative")
    (unanswered, (target,)) = open_store.open_targets("uav", 1002.0)
    assert (unanswered, target.state, target.reason, target.heard_at_s) == ([], "tentative", "why", 1001.0)


def test_order_and_its_end_are_news_until_the_craft_has_answered(open_store):
    told = [open_store.news().get("uav")]
    add(open_store)
    told.append(open_store.news()["uav"])
    open_store.mark_target_sent("uav", key_of(1), 1001.0)
    say(open_store, 1, "tracked")
    assert open_store.news().get("uav") == told[0]
    open_store.stop_target("uav", key_of(1), 1002.0)
    told.append(open_store.news()["uav"])
    assert len(set(told)) == 3


def test_order_outlives_the_process(open_store):
    add(open_store)
    again = CaseStore(open_store.data_dir)
    assert waiting(again) == [key_of(1)]
    again.close()


def test_order_that_was_never_sent_expires(open_store):
    add(open_store, life_s=60)
    assert open_store.open_targets("uav", 1061.0) == ([], [])
    target = open_store.target("uav", key_of(1), 1061.0)
    assert (target.state, target.reason) == ("expired", "the craft did not answer in time")


def test_order_that_was_sent_and_not_answered_is_asked_after(open_store):
    add(open_store, life_s=60)
    open_store.mark_target_sent("uav", key_of(1), 1001.0)
    assert waiting(open_store, 1061.0) == [key_of(1)]
    say(open_store, 1, "lost")
    assert open_store.target("uav", key_of(1), 1062.0).state == "lost"


def test_stop_of_what_was_never_sent_is_over_at_once(open_store):
    add(open_store)
    target = open_store.stop_target("uav", key_of(1)[:8], 1001.0)
    assert (target.state, target.is_stopping) == ("stopped", False)
    assert waiting(open_store) == []


def test_stop_waits_for_the_crafts_last_word(open_store):
    add(open_store)
    open_store.mark_target_sent("uav", key_of(1), 1001.0)
    say(open_store, 1, "tracked")
    for _ in range(2):
        assert open_store.stop_target("uav", key_of(1), 1002.0).is_stopping
    say(open_store, 1, "lost")  # it had not heard yet
    assert waiting(open_store) == [key_of(1)]
    say(open_store, 1, "stopped")
    assert waiting(open_store) == []
    assert open_store.stop_target("uav", key_of(1), 1003.0).state == "stopped"


def test_word_about_another_crafts_target_changes_nothing(open_store):
    open_store.enroll("mallory", "m" * 40)
    add(open_store)
    assert not say(open_store, 1, "stopped", craft="mallory")
    assert not say(open_store, 2, "tracked")
    assert open_store.target("uav", key_of(1), 1001.0).state == "queued"


def test_targets_beyond_the_cap_are_refused_until_one_is_over(open_store):
    for number in range(MAX_TARGETS):
        add(open_store, number)
    with pytest.raises(RequestError, match="uav has 16 targets, at most 16; stop one"):
        add(open_store, 99)
    open_store.stop_target("uav", key_of(3), 1001.0)
    add(open_store, 99)
    assert key_of(99) in waiting(open_store)


def test_oldest_finished_targets_are_forgotten(open_store):
    add(open_store, 500)
    for number in range(KEPT_TARGETS + 5):
        add(open_store, number)
        say(open_store, number, "refused")
    keys = [target.key for target in open_store.targets(1001.0)]
    assert len(keys) == KEPT_TARGETS + 1
    assert {key_of(500), key_of(KEPT_TARGETS + 4)} <= set(keys)
    assert key_of(0) not in keys


@pytest.mark.parametrize(
    ("craft", "key", "message"),
    [
        ("nobody", key_of(1), "no craft is enrolled as 'nobody'"),
        ("uav", "../../x", "is not 6..32 hex digits"),
        ("uav", "abcdef", "no target of uav start with 'abcdef'"),
        ("uav", "00000000", "several targets of uav start"),
    ],
    ids=["craft", "malformed", "unknown", "ambiguous"],
)
def test_stop_of_an_unknown_target_is_refused(open_store, craft, key, message):
    add(open_store, 1)
    add(open_store, 2)
    with pytest.raises(RequestError, match=message):
        open_store.stop_target(craft, key, 1001.0)
    assert len(waiting(open_store)) == 2


def test_order_for_a_craft_that_is_not_let_in_is_refused(open_store):
    open_store.revoke("uav")
    for craft, message in (("uav", "the key is revoked of 'uav'"), ("nobody", "no craft is enrolled")):
        with pytest.raises(RequestError, match=message):
            add(open_store, craft=craft)
    assert open_store.targets(1001.0) == []
