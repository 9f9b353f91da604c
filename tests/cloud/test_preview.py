"""A prompt replayed on recent cases before anybody sends it."""

import pytest

from cloud.config import CloudSettings
from cloud.errors import RequestError
from cloud.preview import Previewer
from cloud.store import Review
from cloud.twins import Twins
from edge.clock import SystemClock

BOX = (142.0, 82.0, 158.0, 98.0)


@pytest.fixture
def previewer(open_store, tiny_bundle):
    return Previewer(open_store, Twins([tiny_bundle.folder], threads=1), CloudSettings().prompts, SystemClock())


@pytest.fixture
def add(open_store, painting):
    def make(*spots, craft="uav", origin=(100, 40), **changes):
        case, payload = painting.make_case(painting.paint(*spots), origin=origin, **changes)
        open_store.add_cases([(craft, case, payload)])
        return case

    return make


def drawn(case, scope="craft", **changes):
    return Review("uav", case.case_id, "debris", (BOX,), scope, "ann", 1.0, **changes)


def test_draft_is_replayed_on_the_crafts_own_cases_or_on_all(previewer, open_store, add, painting):
    open_store.enroll("other", "d" * 40)
    case = add((50, 50, painting.GREEN), (110, 50, painting.BLUE))
    add((90, 90, painting.GREEN), craft="other")
    add((90, 90, painting.BLUE))
    mine = previewer.preview(drawn(case))
    assert (mine.found, mine.drawn, mine.looked, mine.boxes) == (1, 1, 2, 1)
    everywhere = previewer.preview(drawn(case, scope="fleet"))
    assert (everywhere.looked, everywhere.boxes) == (3, 2)
    (firing,) = [f for f in everywhere.firings if f.stored.craft == "other"]
    assert firing.boxes[0].box_xyxy == pytest.approx((182, 122, 198, 138), abs=1)


def test_what_a_person_called_so_agrees(previewer, open_store, add, painting):
    case = add((50, 50, painting.GREEN))
    assert previewer.preview(drawn(case)).agreed == 0
    open_store.add_review(drawn(case))
    assert previewer.preview(drawn(case)).agreed == 1


def test_hard_negatives_are_told(previewer, add, painting):
    case = add((50, 50, painting.GREEN), (110, 50, painting.GREEN))
    found = previewer.preview(drawn(case, negatives_xyxy=((202.0, 82.0, 218.0, 98.0),)))
    assert (found.fooled, found.negatives) == (1, 1)  # the very same: nothing can tell them apart


def test_case_that_does_not_decode_is_left_out(previewer, open_store, add, painting):
    case, broken = add((50, 50, painting.GREEN)), add((50, 50, painting.GREEN))
    open_store._files.path("uav", broken.case_id).unlink()
    found = previewer.preview(drawn(case))
    assert (found.looked, found.boxes) == (2, 1)


def test_refusal_is_told_in_words(previewer, add, painting):
    case = add((50, 50, painting.GREEN), space_id="f" * 16)
    found = previewer.preview(drawn(case))
    assert found.prompt is None
    assert "no bundle here has space ffffffffffff" in found.refusal


def test_prompt_is_made_with_the_student_that_the_craft_flies_by_now(previewer, open_store, add, painting):
    case = add((50, 50, painting.GREEN), space_id="f" * 16)
    open_store.set_craft_profile("uav", "0123456789abcdef", "fp32", ["Red"])
    assert previewer.preview(drawn(case)).prompt.space_id == "0123456789abcdef"


def test_similarity_needs_something_to_compare_with(previewer, open_store, add, painting):
    stored = open_store.load_case(add((50, 50, painting.GREEN)).case_id)
    assert previewer.similarity(stored, 0, [BOX], "").high == pytest.approx(1.0, abs=1e-3)
    for part, boxes, prompt, message in (
        (0, [], "", "draw or choose a box first"),
        (0, [(0.0, 0.0, 9.0, 9.0)], "", "draw or choose a box first"),
        (1, [BOX], "", "has 1 pictures"),
        (0, [], "person-1", "holds no prompt 'person-1'"),
    ):
        with pytest.raises(RequestError, match=message):
            previewer.similarity(stored, part, boxes, prompt)
