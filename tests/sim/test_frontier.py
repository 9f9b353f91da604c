import numpy as np
import pytest

from distill.evaluate import ImageDetections, ImageTruth
from distill.matches import Judged, judge
from sim.frontier import BUDGETS, OURS, Frontier, Stream, chosen_by
from sim.frontier_report import frontier_picture, frontier_tables

ONE_BOX = np.array([[0, 0, 9, 9]], np.float32)
TRUTH = ImageTruth(ONE_BOX, ["Car"], [False])


POINT = {"budget": 0.1, "bytes": 9, "prompt_bytes": 1, "cases": 1, "f1": 0.5, "set_right": 1, "set_wrong": 0}
PROMPTED = {"images": 40, "edge_only": {"f1": 0.4}, "policies": {"ours": [POINT | {"right_per_kb": 0.1}]}}


def judged(score: float, *, is_right: bool) -> Judged:
    boxes = ONE_BOX if is_right else ONE_BOX + 50
    return judge(TRUTH, ImageDetections(boxes, ["Car"], np.array([score], np.float32)), ("Car",))


def stream(helped: np.ndarray, ours: np.ndarray, *, audited: int = 0) -> Stream:
    """Images of one car each, which the student misses and the teacher finds where it helps."""
    count = len(helped)
    wrong, right = judged(0.4, is_right=False), judged(0.9, is_right=True)
    both = [right if helps else wrong for helps in helped]
    return Stream(
        edge=[wrong] * count,
        both=both,
        cloud=both,
        case_bytes=np.full(count, 1000.0),
        cloud_bytes=np.full(count, 2000.0),
        scores={OURS: ours, "constant": np.zeros(count)},
        audited=np.arange(count) < audited,
    )


def test_budget_pays_in_order_and_passes_over_what_is_too_dear():
    assert chosen_by([2, 0, 1], np.array([5.0, 4.0, 8.0]), 13).tolist() == [True, False, True]
    assert chosen_by([2, 0, 1], np.array([5.0, 4.0, 8.0]), 12).tolist() == [False, True, True]


def test_g_is_one_where_ours_knows_what_helps_and_about_zero_where_it_does_not():
    helped = np.arange(200) % 4 == 0
    knowing = Frontier(stream(helped, helped.astype(float)), 0).gains(20)
    guessing = Frontier(stream(helped, np.random.default_rng(1).random(200)), 0).gains(20)
    assert knowing["g"]["0.1"] == pytest.approx(1)
    assert abs(guessing["g"]["0.1"]) < 0.25
    assert knowing["f1_ahead"]["constant"]["0.1"][1] > 0


def test_g_is_undefined_where_the_cloud_is_not_surely_better():
    found = Frontier(stream(np.zeros(60, bool), np.zeros(60)), 0).gains(20)
    assert set(found["g"].values()) == {None}


def test_curves_end_within_their_budget_and_audits_come_first():
    found = Frontier(stream(np.arange(100) % 2 == 0, np.arange(100.0), audited=3), 0)
    ends, curves = found.ends(), found.curves()
    assert (ends["edge_only"]["bytes"], ends["cloud_only"]["bytes"]) == (0, 200_000)
    for name, points in curves.items():
        assert [p["budget"] for p in points] == list(BUDGETS), name
        assert all(p["bytes"] <= p["budget"] * 200_000 for p in points), name
    assert found.chosen[OURS][0.05][0][:3].all()
    assert ends["cloud_only"]["map50"] >= curves["oracle"][-1]["map50"] - 1e-9


def test_report_shows_every_split(tmp_path):
    names = ("sedna_ibt", "sedna_threshold", "axonmesh_margin", "difficult_case", "entropy_sum")
    helped = np.arange(40) % 2 == 0
    made = stream(helped, helped.astype(float))
    made = Stream(**(vars(made) | {"scores": {OURS: helped.astype(float), **dict.fromkeys(names, np.zeros(40))}}))
    frontier = Frontier(made, 0)
    split = {"images": 40, **frontier.ends(), "policies": frontier.curves(), **frontier.gains(20)}
    result = {"val": split, "dev": split, "cloud_only_sends": "webp 70", "with_prompts": PROMPTED}
    assert frontier_picture(result).startswith(b"\x89PNG")
    assert [table.row_count for table in frontier_tables(result)] == [11, 11, 1]
