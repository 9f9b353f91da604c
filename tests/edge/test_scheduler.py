import hashlib

import numpy as np
import pytest

from edge.capture import Frame
from edge.pipeline import FramePipeline
from edge.scheduler import CasePace, Outlook, Scheduler, SchedulerSettings
from edge.student import Student
from protocols.imagery import decode_image
from protocols.values import FrameHeader

GREEN, BLUE = (60, 220, 60), (250, 120, 60)


def frame(index, spots=(((162, 162), GREEN),), *, time_s=None):
    image = np.zeros((512, 640, 3), np.uint8)
    for (x, y), colour in spots:
        image[y - 8 : y + 8, x - 8 : x + 8] = colour
    header = FrameHeader(index=index, source_id="test", captured_at_s=1000.0 + index, width=640, height=512)
    return Frame(header, image, index / 15 if time_s is None else time_s)


@pytest.fixture
def craft(tiny_bundle):
    student = Student.open(tiny_bundle, threads=1)

    class Craft:
        pipeline = FramePipeline(student)

        def __init__(self, **settings):
            self.scheduler = Scheduler(SchedulerSettings(**settings), "space-id", "fp32")

        def fly(self, frames):
            return [self.scheduler.consider(f, self.pipeline.process(f)) for f in frames]

    return Craft


def test_consider_waits_until_the_thing_has_stayed(craft):
    planned = craft(patience_frames=4).fly(frame(i) for i in range(4))
    assert [p is not None for p in planned] == [False, False, False, True]


def test_consider_empty_frames_send_nothing(craft):
    assert craft().fly(frame(i, ()) for i in range(20)) == [None] * 20


def test_consider_same_thing_is_asked_once_within_the_cooldown(craft):
    planned = craft(cooldown_s=100.0).fly(frame(i) for i in range(60))
    assert sum(p is not None for p in planned) == 1


def test_consider_same_thing_is_asked_again_after_the_cooldown(craft):
    planned = craft(cooldown_s=1.0).fly(frame(i) for i in range(60))
    assert sum(p is not None for p in planned) >= 3


def test_consider_another_thing_is_asked_at_once(craft):
    both = (((162, 162), GREEN), ((402, 302), BLUE))
    planned = craft(min_interval_s=0.0).fly([*(frame(i) for i in range(5)), *(frame(i, both) for i in range(5, 12))])
    assert sum(p is not None for p in planned) == 2


def test_consider_empty_budget_defers_and_counts(craft):
    flier = craft(burst_bytes=0.0, budget_bytes_per_s=0.0)
    assert flier.fly(frame(i) for i in range(10)) == [None] * 10
    assert flier.scheduler.deferred > 0


def test_consider_budget_limits_the_bytes_sent(craft):
    flier = craft(budget_bytes_per_s=2000.0, burst_bytes=4000.0, cooldown_s=0.0, min_interval_s=0.0, patience_frames=1)
    sent = [len(p.payload) for p in flier.fly(frame(i, time_s=i / 15) for i in range(150)) if p]
    assert sum(sent) <= 10 * 2000 + 4000 + max(sent)


def test_case_describes_its_imagery(craft):
    planned = craft(patience_frames=1).fly([frame(0)])[0]
    case = planned.case
    x1, y1, x2, y2 = (int(v) for v in case.region_xyxy)
    assert hashlib.sha256(planned.payload).hexdigest() == case.payload_sha256
    assert decode_image(planned.payload, case.media_type).shape[:2] == (y2 - y1, x2 - x1)
    assert x1 <= 154
    assert x2 >= 170
    assert x1 % 32 == 0


def test_pace_waits_for_patience_and_for_the_interval():
    pace = CasePace(SchedulerSettings(patience_frames=2, min_interval_s=5.0))
    allowed = []
    for now_s in range(10):
        allowed.append(pace.allows(float(now_s), 0.9, is_new=True))
        if allowed[-1]:
            pace.spend(float(now_s), 100)
    assert [i for i, ok in enumerate(allowed) if ok] == [1, 6]


def test_pace_starts_anew_after_an_easy_or_known_frame():
    pace = CasePace(SchedulerSettings(patience_frames=2))
    told = [
        pace.allows(float(i), hardness, new)
        for i, (hardness, new) in enumerate([(0.9, 1), (0.1, 1), (0.9, 0), (0.9, 1)])
    ]
    assert told == [False] * 4


def test_pace_spends_and_earns_bytes():
    pace = CasePace(SchedulerSettings(patience_frames=1, min_interval_s=0.0, budget_bytes_per_s=100, burst_bytes=100))
    assert pace.allows(0.0, 0.9, is_new=True)
    pace.spend(0.0, 600)
    assert [pace.allows(t, 0.9, is_new=True) for t in (1.0, 5.0, 6.0)] == [False, False, True]
    assert pace.deferred == 2


def test_case_of_many_bands_shows_the_first_three(craft):
    flown = craft(patience_frames=1)
    three = frame(0)
    many = np.concatenate([three.image, 255 - three.image], axis=2)
    six = Frame(three.header.model_copy(update={"bands": 6}), many, three.captured_s)
    planned = flown.scheduler.consider(six, flown.pipeline.process(three))
    assert decode_image(planned.payload, "image/jpeg").max() > 200
    assert planned.case.frame.bands == 6


APART = (((82, 82), GREEN), ((562, 432), BLUE))


def test_things_far_apart_travel_as_parts_of_one_case(craft):
    (planned,) = craft(patience_frames=1, region_side_px=96).fly([frame(0, APART)])
    pictures = planned.case.cut(planned.payload)
    assert len(pictures) == 2
    for part, data in pictures:
        x1, y1, x2, y2 = (int(v) for v in part.region_xyxy)
        shown = decode_image(data, planned.case.media_type)
        assert shown.shape[:2] == (y2 - y1, x2 - x1)
        assert shown.max() > 200  # one of the spots


def test_neither_is_asked_about_again(craft):
    flown = craft(patience_frames=1, min_interval_s=0.0, cooldown_s=100.0, region_side_px=96)
    assert [p is not None for p in flown.fly(frame(i, APART) for i in range(5))] == [True, False, False, False, False]


def test_one_crop_alone_travels_where_more_are_not_wanted_or_not_paid_for(craft):
    for settings in ({"max_regions": 1}, {"burst_bytes": 100.0, "budget_bytes_per_s": 0.0}):
        (planned,) = craft(patience_frames=1, region_side_px=96, **settings).fly([frame(0, APART)])
        assert planned.case.further == ()


def test_picture_is_coarser_while_the_budget_is_nearly_spent(craft):
    textured = frame(0)
    textured.image[:] += np.random.default_rng(0).integers(0, 30, textured.image.shape, np.uint8)

    def first(**settings):
        (planned,) = craft(patience_frames=1, **settings).fly([textured])
        return planned.case

    assert (first().media_type, first().quality) == ("image/jpeg", 85)
    assert (first(jpeg_quality=50).media_type, first(jpeg_quality=50).quality) == ("image/jpeg", 50)
    flown = craft(patience_frames=1, budget_bytes_per_s=0.0, burst_bytes=20_000.0)
    flown.scheduler.pace.charge(19_000)
    (coarse,) = flown.fly([textured])
    assert coarse.case.quality <= 60
    assert coarse.case.payload_bytes < first().payload_bytes / 4


def test_case_that_cannot_be_through_within_its_time_is_not_made(craft):
    flown = craft(patience_frames=1, ttl_s=60.0)
    flown.scheduler.outlook = Outlook(bytes_per_s=100.0, bytes_before=lambda worth: 10_000)
    assert flown.fly([frame(0)]) == [None]
    assert flown.scheduler.too_late == 1
    flown.scheduler.outlook = Outlook(bytes_per_s=1e6, bytes_before=lambda worth: 10_000)
    assert flown.fly([frame(1)])[0] is not None


def test_survey_case_is_made_however_slow_the_link(craft):
    flown = craft(patience_frames=1, ttl_s=None)
    flown.scheduler.outlook = Outlook(bytes_per_s=1.0, bytes_before=lambda worth: 10**9)
    assert flown.fly([frame(0)])[0] is not None


def test_picture_is_coarser_where_the_link_is_slow(craft):
    textured = frame(0)
    textured.image[:] += np.random.default_rng(0).integers(0, 30, textured.image.shape, np.uint8)

    def sent(bytes_per_s):
        flown = craft(patience_frames=1)
        flown.scheduler.outlook = Outlook(bytes_per_s=bytes_per_s)
        return flown.fly([textured])[0].case

    assert sent(1e6).quality > sent(600.0).quality
    assert sent(600.0).payload_bytes < sent(1e6).payload_bytes / 3
