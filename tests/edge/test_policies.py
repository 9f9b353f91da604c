from dataclasses import replace

import numpy as np
import pytest

from edge.capture import Frame
from edge.hardness import Hardness
from edge.pipeline import FramePipeline
from edge.policies import BudgetQuantile, PolicyScheduler, make_policy, reward_of
from edge.scheduler import SchedulerSettings
from edge.student import Student
from protocols.imagery import decode_image
from protocols.values import FrameHeader

RICH = {"budget_bytes_per_s": 1e9, "burst_bytes": 1e9}


def judged(score: float, reward: float | None = None) -> Hardness:
    return Hardness(score, {"unexplained": 0.0, "doubt": score, "flicker": 0.0}, np.zeros(0, np.int64), reward)


def frame(index: int, width: int = 640, height: int = 512) -> Frame:
    header = FrameHeader(index=index, source_id="test", captured_at_s=1000.0 + index, width=width, height=height)
    return Frame(header, np.zeros((height, width, 3), np.uint8), index / 10)


@pytest.fixture
def fly(tiny_bundle):
    pipeline = FramePipeline(Student.open(tiny_bundle, threads=1))
    empty = pipeline.process(frame(0))

    def run(count, size=(640, 512), **settings):
        scheduler = PolicyScheduler(SchedulerSettings(**settings), "space-id", "fp32")
        return scheduler, [scheduler.consider(frame(i, *size), empty) for i in range(count)]

    run.empty = empty
    return run


def share(planned):
    return sum(case is not None for case in planned) / len(planned)


@pytest.mark.parametrize(
    ("policy", "least", "most"), [("all", 1, 1), ("none", 0, 0), ("random", 0.2, 0.4), ("threshold", 0, 0)]
)
def test_policy_sends_its_share_of_empty_frames(fly, policy, least, most):
    _, planned = fly(200, policy=policy, random_share=0.3, audit_share=0.0, **RICH)
    assert least <= share(planned) <= most


@pytest.mark.parametrize("policy", ["all", "random", "threshold"])
def test_no_policy_spends_more_than_the_budget(fly, policy):
    scheduler, planned = fly(
        100, policy=policy, random_share=0.9, audit_share=0.5, budget_bytes_per_s=200.0, burst_bytes=500.0
    )
    sent = [len(case.payload) for case in planned if case]
    assert sum(sent) <= 500 + 10 * 200 + max(sent)
    assert scheduler.deferred > 0


def test_audit_sends_its_share_beside_any_policy_and_says_so(fly):
    scheduler, planned = fly(2000, policy="none", audit_share=0.05, **RICH)
    cases = [case for case in planned if case]
    assert 0.03 < len(cases) / 2000 < 0.07
    assert all(case.case.reasons["audit"] == 1 and case.value == 1 for case in cases)
    assert scheduler.audit.report().asked == len(cases)


@pytest.mark.parametrize(("size", "media_type"), [((640, 512), "image/webp"), ((1280, 720), "image/jpeg")])
def test_whole_frame_is_what_its_case_says(fly, size, media_type):
    _, (planned,) = fly(1, size, policy="none", audit_share=1.0, **RICH)
    assert (planned.case.media_type, planned.case.region_xyxy) == (media_type, (0, 0, *size))
    assert decode_image(planned.payload, media_type).shape == (*size[::-1], 3)


def test_whole_frame_is_coarser_where_the_budget_is_spent(fly):
    textured = np.random.default_rng(0).integers(60, 120, (512, 640, 3), np.uint8)

    def sent(spent_bytes):
        scheduler, _ = fly(0, policy="all", audit_share=0.0, budget_bytes_per_s=0.0, burst_bytes=80_000.0)
        scheduler.pace.charge(spent_bytes)
        return scheduler.consider(replace(frame(0), image=textured), fly.empty).case

    assert (sent(0).media_type, sent(0).quality) == ("image/jpeg", 85)
    assert sent(79_000).media_type == "image/webp"
    assert sent(79_000).payload_bytes < sent(0).payload_bytes / 3


def values_sent(policy, values, case_bytes=1000, start=0):
    """Of frames a tenth of a second apart."""
    sent = []
    for index, value in enumerate(values, start):
        if policy.wants(judged(value), index / 10):
            policy.sent(case_bytes)
            sent.append(value)
    return sent


def test_budget_quantile_takes_the_best_and_spends_about_its_budget():
    values = np.random.default_rng(0).random(2000)
    sent = values_sent(BudgetQuantile(1000.0, lambda hardness: hardness.score), values)
    assert len(sent) == pytest.approx(200, rel=0.25)  # one a second, of ten
    assert np.mean(sent) > 0.9


def test_budget_quantile_follows_a_scene_that_gets_harder():
    easy, hard = np.random.default_rng(0).random((2, 1500)) * [[0.2], [1.0]]
    policy = BudgetQuantile(1000.0, lambda hardness: hardness.score)
    values_sent(policy, easy)
    sent = values_sent(policy, hard, start=1500)[100:]
    assert np.mean(sent) > 0.9


def test_frame_is_worth_more_the_farther_it_stands_above_the_quantile():
    policy = BudgetQuantile(1000.0, reward_of)
    values_sent(policy, np.linspace(0.1, 1.0, 200))
    assert policy.worth(judged(0.01)) == 1.0
    assert policy.worth(judged(5.0)) > policy.worth(judged(2.0)) > 1.0


def test_budget_quantile_never_sends_what_is_worth_nothing():
    policy = BudgetQuantile(1e9, reward_of)
    assert not any(policy.wants(judged(0.9, reward=-0.1), i / 10) for i in range(100))


def test_budget_quantile_sends_nothing_while_its_clock_stands_before_its_past():
    policy = BudgetQuantile(1000.0, reward_of)
    values_sent(policy, np.ones(100), start=5000)
    assert not policy.wants(judged(1.0), 0.0)


def test_reward_policy_reads_the_fit_and_without_one_the_hardness():
    assert reward_of(judged(0.2, reward=3.0)) == 3.0
    assert reward_of(judged(0.2)) == 0.2


def test_threshold_is_the_schedulers_own():
    assert make_policy(SchedulerSettings()) is None
