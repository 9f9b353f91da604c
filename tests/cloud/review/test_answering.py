"""Answering cases in the console: what is kept, what is refused, and who is told."""

import re

import pytest
from console_people import words

from cloud.errors import StoreError
from cloud.watcher import Watcher
from protocols.values import Detection, Interpretation

GREEN = ("debris", 142, 82, 158, 98)
BLUE = ("thing", 202, 82, 218, 98)


def test_answer_holds_every_box_with_its_label(console, open_store, seen_case):
    answer = console("ann").review(seen_case, GREEN, BLUE, ("debris", 202, 120, 218, 130, "negative"))
    assert answer.status_code == 200, answer.text
    (review,) = open_store.reviews()
    assert review.named == (("debris", (142, 82, 158, 98)), ("thing", (202, 82, 218, 98)))
    assert review.negatives_xyxy == ((202, 120, 218, 130),)
    assert (review.makes_prompt, review.reviewer) == (False, "ann")
    assert open_store.events()[0].what == "review"
    assert open_store.events()[0].detail == "1 debris, 1 thing; 1 hard negatives"


def test_prompt_is_made_of_one_label_and_comes_into_force(console, open_store, seen_case, desk, metrics):
    person = console("ann")
    answer = person.review(seen_case, GREEN, BLUE, makes_prompt="on", prompt_label="debris", scope="craft")
    assert "being put to use" in words(answer)
    assert Watcher(open_store, desk, metrics).look() == ["uav"]
    (prompt,) = open_store.bank("uav").prompts
    assert (prompt.label, prompt.origin) == ("debris", "person")
    (told,) = open_store.undelivered("uav", 9)
    assert sorted(d.label for d in told.detections) == ["debris", "thing"]
    address = re.search(r'hx-get="([^"]+)"', answer.text)[1].replace("&amp;", "&")
    assert "The prompt debris is issued. uav offline: with its next connection" in words(person.get(address))


def test_answer_that_nothing_is_there(console, open_store, seen_case, desk, metrics):
    person = console("ann")
    assert "no box is drawn or confirmed" in words(person.review(seen_case))
    assert "a box is drawn, and you say" in words(person.review(seen_case, GREEN, not_there="yes"))
    assert person.review(seen_case, not_there="yes").status_code == 200
    Watcher(open_store, desk, metrics).look()
    (told,) = open_store.undelivered("uav", 9)
    assert told.detections == ()
    assert open_store.case_state("uav", seen_case.case_id)[1] == "reviewed"


def test_second_analyst_is_told_and_nothing_is_lost(console, open_store, seen_case):
    first, second = console("ann"), console("olga")
    page = second.get(f"/review/cases/uav/{seen_case.case_id}").text
    assert first.review(seen_case, GREEN).status_code == 200
    seen = re.search(r'name="seen"[^>]*value="(\d+)"', page)[1]
    told = second.review(seen_case, BLUE, seen=seen)
    assert (told.status_code, told.headers.get("HX-Trigger")) == (200, None)
    assert told.headers["HX-Retarget"] == "#notices"
    assert "ann answered this case meanwhile" in words(told)
    assert "debris at 142, 82, 16" in words(told)
    assert len(open_store.reviews()) == 1
    now_seen = re.search(r'id="seen" value="(\d+)"', told.text)[1]
    assert second.review(seen_case, BLUE, seen=now_seen).status_code == 200
    assert [review.reviewer for review in open_store.reviews()] == ["ann", "olga"]


def test_label_set_that_changed_is_told_and_the_answer_can_be_sent_again(console, open_store, seen_case):
    person = console("ann")
    open_store.set_craft_profile("uav", "0123456789abcdef", "fp32", ["Red"])
    told = person.review(seen_case, GREEN, labels_digest="of another time")
    assert (told.status_code, told.headers.get("HX-Trigger")) == (200, None)
    assert "uav flies another bundle meanwhile and knows Red" in words(told)
    assert open_store.reviews() == []
    digest = re.search(r'id="labels-digest" value="(\w+)"', told.text)[1]
    assert person.review(seen_case, GREEN, labels_digest=digest).status_code == 200


def test_replayed_form_does_nothing_twice_and_says_so(console, open_store, seen_case):
    person = console("ann")
    assert person.review(seen_case, GREEN, nonce="n" * 22).status_code == 200
    again = person.review(seen_case, GREEN, nonce="n" * 22)
    assert again.status_code == 409
    assert "this form was sent already, and is not carried out twice: answer 1 is kept" in words(again)
    assert len(open_store.reviews()) == 1


def test_refused_form_may_be_sent_again(console, open_store, seen_case):
    person = console("ann")
    assert person.review(seen_case, GREEN, nonce="n" * 22, seen="x").status_code == 422
    assert person.review(seen_case, GREEN, nonce="n" * 22).status_code == 200
    assert len(open_store.reviews()) == 1


def test_form_that_broke_off_after_its_change_is_not_carried_out_twice(console, open_store, seen_case, monkeypatch):
    person = console("ann")

    def full_disk(*_):
        raise StoreError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(open_store, "note_event", full_disk)
        assert person.review(seen_case, GREEN, nonce="n" * 22).status_code == 503
    again = person.review(seen_case, GREEN, nonce="n" * 22, seen="1")
    assert (again.status_code, "its end is not known" in words(again)) == (409, True)
    assert len(open_store.reviews()) == 1


@pytest.mark.parametrize(
    ("boxes", "fields", "message"),
    [
        ([("debris", 0, 0, 20, 20)], {}, "box 1 (debris) reaches outside the picture"),
        ([("debris", 142, 82, 142, 98)], {}, "has no area"),
        ([("debris", 158, 82, 142, 98)], {}, "turned inside out"),
        ([("x" * 65, 142, 82, 158, 98)], {}, "box cannot be read"),
        ([("a\nb", 142, 82, 158, 98)], {}, "box cannot be read"),
        ([GREEN] * 201, {}, "201 boxes, at most 200"),
        ([], {"boxes": "[{"}, "box cannot be read"),
        ([], {"boxes": '[{"box":[1,2,3,1e999],"label":"x"}]'}, "box cannot be read"),
        ([GREEN], {"makes_prompt": "on", "prompt_label": "ship"}, "no box is called 'ship'"),
        ([GREEN], {"makes_prompt": "on", "prompt_label": "debris", "scope": "world"}, "scope 'world' is not one of"),
        ([GREEN], {"makes_prompt": "on", "prompt_label": "debris", "scope": "fleet"}, "for the whole fleet takes"),
        ([GREEN], {"nonce": "short"}, "no number of its own"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(console, open_store, seen_case, boxes, fields, message):
    answer = console("ann").review(seen_case, *boxes, **fields)
    assert answer.status_code == 422, answer.text
    assert message in words(answer)
    assert open_store.reviews() == []


def test_wider_prompts_take_an_operator(console, open_store, seen_case):
    fields = {"makes_prompt": "on", "prompt_label": "debris", "scope": "fleet"}
    assert console("olga").review(seen_case, GREEN, **fields).status_code == 200
    assert open_store.reviews()[0].scope == "fleet"


def test_preview_shows_what_a_prompt_would_find_and_changes_nothing(console, open_store, seen_case, painting):
    for x in (50, 90):
        other, payload = painting.make_case(painting.paint((x, 50, painting.GREEN)))
        open_store.add_cases([("uav", other, payload)])
        found = Detection(box_xyxy=(x - 8, 42, x + 8, 58), label="debris", score=0.9, provenance="cloud")
        told = Interpretation(
            case_id=other.case_id, detections=(found,), confidence=0.9, by="teacher", interpreter="t", made_at_s=1.0
        )
        open_store.add_interpretation("uav", told)
    before = open_store.bank("uav")
    person = console("ann")
    fields = {"boxes": '[{"box":[142,82,158,98],"label":"debris"}]', "makes_prompt": "on", "prompt_label": "debris"}
    answer = person.post(f"/review/cases/uav/{seen_case.case_id}/preview", **fields)
    assert answer.status_code == 200, answer.text
    assert "1 of 1 drawn 3 boxes in 3 of 3 recent cases of this craft 2 of these" in words(answer)
    assert open_store.bank("uav") == before
    assert open_store.reviews() == []


def test_preview_says_why_a_prompt_would_be_refused(console, seen_case):
    fields = {"boxes": '[{"box":[110,50,111,51],"label":"dark"}]', "makes_prompt": "on", "prompt_label": "dark"}
    answer = console("ann").post(f"/review/cases/uav/{seen_case.case_id}/preview", **fields)
    assert "It would be refused" in words(answer)


def test_better_picture_is_asked_for_once(console, open_store, seen_case):
    person = console("ann")
    answer = person.post(f"/review/cases/uav/{seen_case.case_id}/refine", margin="wider", nonce="n" * 22)
    assert "asked uav for a better picture" in words(answer)
    (asked,) = open_store.refinements_of("uav", seen_case.case_id)
    assert (asked.by, asked.request.region_xyxy) == ("ann", (20.0, 0.0, 340.0, 280.0))
    assert person.post(f"/review/cases/uav/{seen_case.case_id}/refine", nonce="n" * 22).status_code == 409
    assert len(open_store.refinements_of("uav", seen_case.case_id)) == 1
