"""Reviews over HTTP: kept once, told when somebody was faster, and never beyond what a role may."""

import json

import pytest
from sqlalchemy import event
from structlog.testing import capture_logs

from cloud.errors import StoreError

BOX = {"label": "Debris", "box_xyxy": [110, 70, 150, 90]}


def test_answer_is_kept_used_at_once_and_told_of(analyst, add, store, service):
    case = add()
    body = {"boxes": [BOX, {"label": "Car", "box_xyxy": [200, 100, 230, 120]}], "prompt_label": "debris"}
    answer = analyst.post(f"/cases/{case.case_id}/reviews", json=body | {"hard_negatives_xyxy": [[160, 70, 180, 90]]})
    assert answer.status_code == 201
    told = answer.json()
    assert (told["state"], told["reviewer"], told["makes_prompt"]) == ("waiting", "token:analyst-0", True)
    (review,) = store.waiting_reviews()
    assert review.named == (("Debris", (110, 70, 150, 90)), ("Car", (200, 100, 230, 120)))
    assert review.negatives_xyxy == ((160, 70, 180, 90),)
    assert service.woken == [1]
    (done,) = store.events()
    assert (done.who, done.what, done.about) == ("token:analyst-0", "review", case.case_id)
    store.finish_review(told["review_id"], "failed", "too small")
    again = analyst.get(f"/reviews/{told['review_id']}").json()
    assert (again["state"], again["reason"]) == ("failed", "too small")
    assert analyst.get(f"/cases/{case.case_id}/reviews").json() == [again]
    assert analyst.get("/reviews", params={"state": "failed"}).json()["items"] == [again]


def test_same_key_answers_again_and_does_nothing(analyst, add, store):
    case = add()
    post = {"url": f"/cases/{case.case_id}/reviews", "headers": {"Idempotency-Key": "k1"}}
    first, second = analyst.post(json={"boxes": [BOX]}, **post), analyst.post(json={"boxes": [BOX]}, **post)
    assert (first.status_code, second.status_code, first.json()) == (201, 201, second.json())
    assert second.headers["idempotent-replayed"] == "true"
    assert len(store.reviews()) == 1
    other = analyst.post(json={"boxes": []}, **post)
    assert (other.status_code, "other content" in other.json()["detail"]) == (422, True)


def test_key_of_somebody_else_or_another_case_is_another(client_of, add, store):
    cases = [add(), add()]
    for case, client in zip([*cases, cases[0]], [client_of("analyst")] * 2 + [client_of("analyst")], strict=True):
        answer = client.post(f"/cases/{case.case_id}/reviews", json={"boxes": [BOX]}, headers={"Idempotency-Key": "k1"})
        assert answer.status_code == 201
    assert len(store.reviews()) == 3


def test_refused_call_may_be_made_again_with_its_key(analyst, add):
    post = {"url": f"/cases/{add().case_id}/reviews", "headers": {"Idempotency-Key": "k1"}}
    outside = {"boxes": [{"label": "Debris", "box_xyxy": [0, 0, 50, 30]}]}
    assert analyst.post(json=outside, **post).status_code == 422
    assert analyst.post(json={"boxes": [BOX]}, **post).status_code == 201


def test_call_whose_end_is_not_known_is_not_made_twice(analyst, add, store, monkeypatch):
    case = add()
    post = {"url": f"/cases/{case.case_id}/reviews", "headers": {"Idempotency-Key": "k1"}}
    monkeypatch.setattr(store, "finish_request", lambda *_: 1 / 0)
    with capture_logs(), pytest.raises(ZeroDivisionError):
        analyst.post(json={"boxes": [BOX]}, **post)
    answer = analyst.post(json={"boxes": [BOX]}, **post)
    assert (answer.status_code, "its end is not known" in answer.json()["detail"]) == (409, True)
    assert len(store.reviews()) == 1


def test_second_analyst_is_told_of_the_first(client_of, add, store):
    case = add()
    bodies = [{"boxes": [BOX], "seen": 0}, {"boxes": [], "seen": 0}, {"boxes": [], "seen": 1}]
    answers = [client_of("analyst").post(f"/cases/{case.case_id}/reviews", json=body) for body in bodies]
    assert [answer.status_code for answer in answers] == [201, 409, 201]
    assert "token:analyst-0 answered this case meanwhile" in answers[1].json()["detail"]


def test_answer_for_classes_that_changed_is_told_so(analyst, viewer, add, store):
    case = add()
    before = viewer.get("/craft/uav").json()["labels_digest"]
    store.set_craft_profile("uav", "space", "fp32", ("Person", "Debris"))
    body, url = {"boxes": [BOX], "labels_digest": before}, f"/cases/{case.case_id}/reviews"
    told = analyst.post(url, json=body)
    assert (told.status_code, store.reviews()) == (409, [])
    assert "uav flies another bundle meanwhile and knows Person, Debris" in told.json()["detail"]
    now = viewer.get("/craft/uav").json()["labels_digest"]
    assert analyst.post(url, json=body | {"labels_digest": now}).status_code == 201


def test_full_disk_says_come_back_and_keeps_nothing_half(analyst, add, store):
    case = add()
    analyst.get("/cases")  # a token's first use is written, too
    with store._db.reading() as session:
        pages = session.connection().exec_driver_sql("PRAGMA page_count").scalar_one()
    event.listen(store._db._engine, "connect", lambda c, _: c.execute(f"PRAGMA max_page_count={pages}"))
    store._db._engine.dispose()
    long = {"boxes": [{"label": "x" * 64, "box_xyxy": [110, 70, 150, 90]}] * 200}
    answers = [analyst.post(f"/cases/{case.case_id}/reviews", json=long) for _ in range(4)]
    refused = answers[-1]
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert "disk is full; check disk space" in refused.json()["detail"]
    assert len(store.reviews()) == sum(answer.status_code == 201 for answer in answers)
    assert analyst.get(f"/cases/{case.case_id}").status_code == 200


def test_call_that_broke_off_after_its_change_is_not_carried_out_twice(analyst, add, store, monkeypatch):
    post = {"url": f"/cases/{add().case_id}/reviews", "json": {"boxes": [BOX]}, "headers": {"Idempotency-Key": "k1"}}

    def full_disk(*_):
        raise StoreError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(store, "note_event", full_disk)
        assert analyst.post(**post).status_code == 503
    again = analyst.post(**post)
    assert (again.status_code, "its end is not known" in again.json()["detail"]) == (409, True)
    assert len(store.reviews()) == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"boxes": [{"label": "x", "box_xyxy": [0, 0, 50, 30]}]}, "outside the picture"),
        ({"boxes": [{"label": "x", "box_xyxy": [110, 70, 110, 90]}]}, "no area"),
        ({"boxes": [{"label": "x\x00", "box_xyxy": [110, 70, 150, 90]}]}, "body.boxes.0.label"),
        ({"boxes": [{"label": "x" * 65, "box_xyxy": [110, 70, 150, 90]}]}, "body.boxes.0.label"),
        ({"boxes": [BOX] * 201}, "body.boxes"),
        ({"boxes": [BOX], "prompt_label": "Car"}, "no box is called so"),
        ({"boxes": [BOX], "scope": "world"}, "body.scope"),
        ({"boxes": [BOX], "what": 1}, "body.what"),
        ({"boxes": [{"label": "x", "box_xyxy": [1e999, 70, 150, 90]}]}, "body.boxes.0.box_xyxy"),
    ],
)
def test_what_cannot_be_meant_is_explained_and_not_kept(analyst, add, store, body, message):
    content = json.dumps(body)
    answer = analyst.post(
        f"/cases/{add().case_id}/reviews", content=content, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert message in answer.json()["detail"]
    assert store.reviews() == []


def test_labels_that_look_like_sql_or_html_are_kept_as_they_are(analyst, add, store):
    case = add()
    for label in ("'; DROP TABLE reviews;--", "<img src=x onerror=alert(1)>", "{{7*7}}", "ÅÄÖ ‮txt"[:4]):
        body = {"boxes": [{**BOX, "label": label}]}
        answer = analyst.post(f"/cases/{case.case_id}/reviews", json=body)
        assert (answer.status_code, answer.json()["boxes"][0]["label"]) == (201, label)
    assert len(store.reviews()) == 4


def test_wider_scope_takes_an_operator(analyst, operator, add):
    case = add()
    body = {"boxes": [BOX], "prompt_label": "Debris", "scope": "fleet"}
    refused = analyst.post(f"/cases/{case.case_id}/reviews", json=body)
    assert (refused.status_code, "takes operator" in refused.json()["detail"]) == (403, True)
    assert operator.post(f"/cases/{case.case_id}/reviews", json=body).status_code == 201


def test_label_alone_without_a_wish_makes_no_prompt(analyst, add, store):
    assert analyst.post(f"/cases/{add().case_id}/reviews", json={"boxes": []}).json()["makes_prompt"] is False
    (review,) = store.reviews()
    assert (review.label, review.boxes_xyxy, review.makes_prompt) == ("", (), False)
