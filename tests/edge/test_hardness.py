import numpy as np
import pytest

from edge.hardness import HardnessSettings, estimate_hardness
from edge.prompting import Match
from edge.runtime import RawOutputs
from edge.student import Known, Perception

EMPTY = np.zeros(0, np.int64)
NO_MATCH = Match(EMPTY, EMPTY, np.zeros(0, np.float32), np.zeros(0, bool))
NO_KNOWN = Known(EMPTY, EMPTY, np.zeros(0, np.float32))
RAW = RawOutputs(*(np.zeros((1, 1, 1), np.float32) for _ in range(4)))


def perception(*candidates):
    """Candidates as (box, objectness, best class probability)."""
    n = len(candidates)
    return Perception(
        np.array([c[0] for c in candidates], np.float32).reshape(n, 4),
        np.array([c[1] for c in candidates], np.float32),
        np.ones(n, bool),
        np.array([[c[2]] for c in candidates], np.float32).reshape(n, 1),
        np.ones((n, 4), np.float32) / 2,
        RAW,
    )


def hardness(seen, known=NO_KNOWN, match=NO_MATCH, flicker=0.0):
    return estimate_hardness(seen, known, match, flicker, (640, 512), HardnessSettings())


THING = ((100.0, 100.0, 150.0, 150.0), 0.9, 0.02)


def test_unexplained_object_is_hard_without_any_detection():
    result = hardness(perception(THING))
    assert result.score > 0.8
    assert list(result.rows) == [0]


def test_empty_frame_is_easy():
    assert hardness(perception()).score == 0.0


@pytest.mark.parametrize("by", ["known", "prompt"])
def test_explained_object_is_no_reason(by):
    row = np.array([0])
    known = Known(row, row, np.ones(1, np.float32)) if by == "known" else NO_KNOWN
    match = Match(row, row, np.ones(1, np.float32), np.ones(1, bool)) if by == "prompt" else NO_MATCH
    result = hardness(perception(THING), known, match)
    assert len(result.rows) == 0
    assert result.reasons["unexplained"] == 0.0


PART = ((104.0, 104.0, 118.0, 118.0), 0.8, 0.02)


def test_part_of_a_prompted_thing_is_no_reason_but_one_on_a_known_thing_is():
    seen, row, one = perception(THING, PART), np.array([0]), np.ones(1, np.float32)
    assert list(hardness(seen).rows) == [0, 1]
    assert len(hardness(seen, match=Match(row, row, one, one > 0)).rows) == 0
    assert list(hardness(seen, known=Known(row, row, one)).rows) == [1]


@pytest.mark.parametrize(
    "box",
    [(0.0, 100.0, 50.0, 150.0), (600.0, 100.0, 639.0, 150.0), (100.0, 100.0, 105.0, 150.0)],
    ids=["left-border", "right-border", "thin"],
)
def test_cut_or_tiny_object_waits(box):
    assert len(hardness(perception((box, 0.9, 0.02))).rows) == 0


def test_doubt_peaks_at_one_half():
    box = THING[0]
    scores = [hardness(perception((box, 0.1, p))).reasons["doubt"] for p in (0.02, 0.5, 0.98)]
    assert scores[1] == pytest.approx(1.0)
    assert max(scores[0], scores[2]) < 0.1


def test_flicker_raises_the_score():
    assert hardness(perception(), flicker=1.0).score > hardness(perception()).score


def test_strongest_surprise_comes_first():
    weak = ((300.0, 300.0, 350.0, 350.0), 0.5, 0.02)
    assert list(hardness(perception(weak, THING)).rows) == [1, 0]
