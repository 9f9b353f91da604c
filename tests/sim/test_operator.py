"""The scripted person at the real command line, on a real case store without a server."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from cloud.store import CaseStore
from distill.dataset import LabelledImage
from protocols import Case, FrameHeader, encode_image, new_case_id
from sim.errors import ProcessError
from sim.operator import REVIEWER, Operator
from sim.scenario.conditions import OperatorSettings

REGION = (0, 0, 100, 100)


def case_of(index: int) -> tuple[Case, bytes]:
    payload = encode_image(np.zeros((100, 100, 3), np.uint8), "image/png")
    fields = {
        "case_id": new_case_id(),
        "frame": FrameHeader(index=index, source_id="flight", captured_at_s=1.0, width=640, height=512),
        "region_xyxy": REGION,
        "hardness": 0.5,
        "space_id": "0123456789abcdef",
        "variant": "fp32",
        "media_type": "image/png",
        "payload_bytes": len(payload),
        "payload_sha256": hashlib.sha256(payload).hexdigest(),
    }
    return Case(**fields), payload


@pytest.fixture
def store(tmp_path):
    store = CaseStore(tmp_path / "data")
    store.enroll("uav", "k" * 40)
    yield store
    store.close()


def ask(store: CaseStore, index: int, state: str = "unsure") -> str:
    case, payload = case_of(index)
    store.add_cases([("uav", case, payload)])
    store.set_case_state("uav", case.case_id, state, "low score", 0.3)
    return case.case_id


def truth(craft: str, case) -> LabelledImage | None:
    """Debris on even frames, nothing on odd ones."""
    boxes = np.array([(10, 20, 40, 60)] if case["frame_index"] % 2 == 0 else [], np.float32).reshape(-1, 4)
    kinds, ignore = np.full(len(boxes), -1), np.zeros(len(boxes), bool)
    return LabelledImage(Path("x.jpg"), boxes, ("Debris",) * len(boxes), kinds, ignore, 1)


def person(store: CaseStore, **settings) -> Operator:
    return Operator(OperatorSettings(**{"labels": ("Debris",), "delay_s": 5, **settings}), 1, store.data_dir, truth)


def test_an_open_case_is_answered_once_and_not_before_its_delay(store):
    case_id = ask(store, 0)
    ask(store, 2, state="interpreted")
    operator = person(store, scope="fleet")
    operator.look(1.0)
    assert operator.given == []
    operator.look(6.5)
    operator.look(20.0)
    (given,) = operator.given
    assert (given.case_id, given.label, given.boxes, given.is_error, given.at_s) == (case_id, "Debris", 1, False, 6.5)
    assert "kept" in given.outcome
    (review,) = store.waiting_reviews()
    assert (review.boxes_xyxy, review.scope, review.reviewer) == (((10, 20, 40, 60),), "fleet", REVIEWER)


def test_what_shows_nothing_known_is_left_open(store):
    ask(store, 1)
    operator = person(store, delay_s=0)
    operator.look(0.0)
    operator.look(9.0)
    assert operator.given == []


def test_errors_name_something_else(store):
    ask(store, 0)
    operator = person(store, delay_s=0, error_rate=1, labels=("Debris", "Car"))
    operator.look(0.0)
    assert (operator.given[0].label, operator.given[0].is_error) == ("Car", True)


def test_a_store_that_is_not_there_is_told(tmp_path):
    operator = Operator(OperatorSettings(labels=("Debris",)), 1, tmp_path / "none", truth)
    with pytest.raises(ProcessError, match=r"skyloop-cloud cases: .*no case store"):
        operator.look(0.0)


def test_the_person_goes_when_told_to(store):
    with person(store) as operator:
        assert operator._thread.is_alive()
    assert not operator._thread.is_alive()
