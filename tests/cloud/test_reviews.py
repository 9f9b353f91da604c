"""A person's answer put to use."""

import pytest

from cloud.reviews import use_review
from cloud.store import Review


@pytest.fixture
def review(open_store, desk, painting):
    """The outcome of a review of one green thing in the middle of a picture at (100, 40)."""

    def use(*boxes):
        case, payload = painting.make_case(painting.paint((50, 50, painting.GREEN)), origin=(100, 40))
        open_store.add_cases([("uav", case, payload)])
        return use_review(Review("uav", case.case_id, "debris", boxes, "craft", "ann", 1.0), open_store, desk)

    return use


def test_box_in_the_picture_makes_a_prompt(review):
    assert review((142.0, 82.0, 158.0, 98.0)).state == "issued"


def test_review_that_is_used_again_after_a_kill_changes_nothing(open_store, desk, painting, monkeypatch):
    used = []
    for number, spot in enumerate((50, 60)):  # the second is merged into the first
        case, payload = painting.make_case(painting.paint((spot, spot, painting.GREEN)), origin=(100, 40))
        open_store.add_cases([("uav", case, payload)])
        box = (92.0 + spot, 32.0 + spot, 108.0 + spot, 48.0 + spot)
        used.append(Review("uav", case.case_id, "debris", (box,), "craft", "ann", 1.0 + number))
        assert use_review(used[-1], open_store, desk).state == "issued"
        open_store.mark_delivered("uav", case.case_id)
    before = open_store.bank("uav")
    monkeypatch.setattr(desk.clock, "wall_s", lambda: 1060.0)
    assert use_review(used[-1], open_store, desk).state == "issued"
    assert open_store.bank("uav").ref == before.ref
    assert before.revision == 2
    assert open_store.undelivered("uav", 9) == []


def test_box_outside_every_picture_is_refused_in_one_line(review, open_store):
    outcome = review((500.0, 400.0, 540.0, 440.0))
    assert outcome.state == "refused"
    assert outcome.reason == "no box lies within the picture: draw at least 80% of one inside it"
    (told,) = open_store.undelivered("uav", 9)
    assert told.by == "person"
