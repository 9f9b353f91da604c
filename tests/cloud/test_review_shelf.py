"""What a person's answer holds, and who is told that another one came first."""

import pytest

from cloud.errors import ReviewedMeanwhile
from cloud.store import Review

CASE = "a" * 32
BOX, OTHER = (1.0, 2.0, 3.0, 4.0), (5.0, 6.0, 7.0, 8.0)


def answer(**changes):
    fields = {"label": "debris", "boxes_xyxy": (BOX, OTHER), "scope": "craft", "reviewer": "ann", "made_at_s": 7.0}
    return Review("uav", CASE, **{**fields, **changes})


def test_boxes_hold_the_label_unless_each_has_its_own(open_store):
    open_store.add_review(answer())
    open_store.add_review(answer(labels=("Debris", "Car"), negatives_xyxy=(BOX,), makes_prompt=False))
    plain, mixed = open_store.reviews_of("uav", CASE)
    assert plain.named == (("debris", BOX), ("debris", OTHER))
    assert mixed.named == (("Debris", BOX), ("Car", OTHER))
    assert mixed.boxes_of("debris") == (BOX,)
    assert (mixed.negatives_xyxy, mixed.makes_prompt, plain.makes_prompt) == ((BOX,), False, True)


def test_who_has_not_seen_the_newest_answer_is_told(open_store):
    assert open_store.add_review(answer(), seen=0) == 1
    with pytest.raises(ReviewedMeanwhile, match="ann answered this case meanwhile") as told:
        open_store.add_review(answer(reviewer="bob"), seen=0)
    assert (told.value.reviewer, told.value.made_at_s, told.value.count) == ("ann", 7.0, 1)
    assert len(open_store.reviews()) == 1
    assert open_store.add_review(answer(reviewer="bob"), seen=1) == 2
    assert open_store.add_review(answer(reviewer="command line")) == 3
