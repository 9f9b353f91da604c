import math

from tiny_run import tiny_scenario

from sim.timetable import Step, link_spans, steps_of


def test_faults_become_steps_in_order():
    faults = [
        {"kind": "edge-restart", "at_s": 6, "for_s": 1},
        {"kind": "cloud-kill", "at_s": 1, "for_s": 2},
        {"kind": "cloud-restart", "at_s": 4, "for_s": 1},
        {"kind": "link-cut", "at_s": 2, "for_s": 1},
    ]
    assert steps_of(tiny_scenario(seconds=10, fault=faults)) == [
        Step(1, "kill-cloud"),
        Step(3, "start-cloud"),
        Step(4, "end-cloud"),
        Step(5, "start-cloud"),
        Step(6, "end-edge", "tiny"),
        Step(7, "start-edge", "tiny"),
    ]


def test_a_link_up_at_the_end_stays_up():
    assert link_spans(tiny_scenario(), "tiny") == [(0, math.inf)]
    windows = {"windows": [[1, 3], [8, 10]]}
    assert link_spans(tiny_scenario(seconds=10, link=windows), "tiny") == [(1, 3), (8, math.inf)]
