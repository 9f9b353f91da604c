"""Orders between the link's thread and the frame loop; both sides are played here, the pipeline is real."""

import pytest
from builders import scene

from edge.capture import Frame
from edge.pipeline import FramePipeline
from edge.student import Student
from edge.target_orders import LEAST_PAUSE_S, REMEMBERED, TargetOrders
from protocols.limits import MAX_TARGETS
from protocols.messages import TrackTarget
from protocols.values import FrameHeader

RED = (40, 40, 250)
BOX = (22, 52, 38, 68)


class Craft:
    def __init__(self, bundle, clock):
        self.orders, self.clock = TargetOrders(clock), clock
        self.pipeline = FramePipeline(Student.open(bundle, threads=1))
        self.index = 0

    def hear(self, key="t", action="start", **fields):
        self.orders.receive(TrackTarget(target_key=key, action=action, **fields))

    def fly(self, frames=1, spots=((30, 60, RED),)):
        for _ in range(frames):
            header = FrameHeader(index=self.index, source_id="s", captured_at_s=1.0, width=160, height=128)
            self.orders.give(self.pipeline)
            result = self.pipeline.process(Frame(header, scene(*spots), self.index / 30))
            self.orders.note(result, header)
            self.index += 1
        return result

    def told(self):
        return [(status.target_key, status.state) for status in self.orders.due(99)]


@pytest.fixture
def craft(tiny_bundle, fake_clock):
    return Craft(tiny_bundle, fake_clock)


def test_box_begins_with_the_next_frame_and_is_told_with_its_place(craft):
    craft.hear(box_xyxy=BOX, label="boat")
    assert craft.told() == []
    (target,) = craft.fly().targets
    (status,) = craft.orders.due(9)
    assert (status.state, status.target_id, status.frame_index) == ("tentative", 1, 0)
    assert (target.label, status.box_xyxy) == ("boat", tuple(target.box_xyxy.tolist()))
    assert craft.told() == []


def test_changes_are_told_at_most_once_a_pause(craft):
    craft.hear(box_xyxy=BOX)
    craft.fly()
    assert craft.told() == [("t", "tentative")]
    craft.fly(5)
    assert craft.told() == []
    craft.clock.advance(LEAST_PAUSE_S)
    assert craft.told() == [("t", "tracked")]


def test_repeated_start_begins_nothing_twice_and_is_answered_each_time(craft):
    for _ in range(3):
        craft.hear(box_xyxy=BOX)
        assert len(craft.fly().targets) == 1
        assert craft.told() == [("t", "tentative")]


def test_label_is_waited_for_and_begins_when_it_is_seen(craft):
    craft.hear(label="Red", ttl_s=60)
    craft.fly(2, spots=())
    (status,) = craft.orders.due(9)
    assert (status.state, status.reason) == ("waiting", "nothing answers to 'Red' yet")
    craft.clock.advance(2)
    craft.fly()
    assert craft.told() == [("t", "tentative")]


def test_label_that_is_not_seen_in_its_time_expires(craft):
    craft.hear(label="Red", ttl_s=60)
    craft.fly(spots=())
    craft.clock.advance(61)
    assert craft.fly().targets == ()
    assert craft.told() == [("t", "expired")]
    assert craft.fly().targets == ()


def test_place_that_comes_too_late_for_its_time_expires(craft):
    craft.hear(box_xyxy=BOX, ttl_s=1)
    craft.clock.advance(2)
    assert craft.fly().targets == ()
    assert craft.told() == [("t", "expired")]


@pytest.mark.parametrize("fields", [{"box_xyxy": BOX}, {"label": "Blue"}], ids=["followed", "waiting"])
def test_stop_ends_it_and_is_answered_again(craft, fields):
    craft.hear(**fields)
    craft.fly()
    craft.told()
    for _ in range(2):
        craft.hear(action="stop")
        assert craft.fly().targets == ()
        assert craft.told() == [("t", "stopped")]
    craft.hear(**fields)
    assert craft.fly().targets == ()
    assert craft.told() == [("t", "stopped")]


def test_stop_before_the_frame_loop_took_it_begins_nothing(craft):
    craft.hear(box_xyxy=BOX)
    craft.hear(action="stop")
    assert craft.told() == []
    assert craft.fly().targets == ()
    assert craft.told() == [("t", "stopped")]


@pytest.mark.parametrize("action", ["stop", "status"])
def test_what_this_program_never_heard_of_is_unknown(craft, action):
    craft.hear(action=action)
    (status,) = craft.orders.due(9)
    assert (status.state, status.target_id) == ("unknown", None)
    assert "began anew" in status.reason


def test_refused_order_says_why_and_leaves_the_others(craft):
    craft.hear("away", box_xyxy=(300, 10, 340, 50))
    craft.hear("small", box_xyxy=(10, 10, 12, 40))
    craft.hear("good", box_xyxy=BOX)
    assert len(craft.fly().targets) == 1
    told = {status.target_key: status for status in craft.orders.due(9)}
    assert (told["away"].state, told["small"].state, told["good"].state) == ("refused", "refused", "tentative")
    assert "outside the frame of 160x128" in told["away"].reason
    assert "under 4 px" in told["small"].reason


def test_orders_beyond_the_cap_are_refused_at_once_and_nothing_grows(craft):
    for number in range(REMEMBERED + 50):
        craft.hear(f"t{number}", label="Blue")
    craft.fly()
    told = craft.orders.due(9999)
    assert [s.state for s in told[:MAX_TARGETS]] == ["waiting"] * MAX_TARGETS
    assert told[-1].state == "refused"
    assert told[-1].reason == "16 targets are followed or waited for, at most 16; stop one first"
    assert len(told) == REMEMBERED


def test_target_stopped_on_the_craft_is_told(craft):
    craft.hear(box_xyxy=BOX)
    craft.fly()
    craft.told()
    craft.pipeline.stop_all()
    craft.fly()
    craft.clock.advance(2)
    assert craft.told() == [("t", "stopped")]


def test_no_more_is_told_at_a_time_than_there_is_room_for(craft):
    for number in range(5):
        craft.hear(f"t{number}", action="status")
    assert [len(craft.orders.due(2)) for _ in range(4)] == [2, 2, 1, 0]
