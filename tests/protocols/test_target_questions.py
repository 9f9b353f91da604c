from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from protocols import (
    Case,
    CaseOffer,
    Chip,
    FrameHeader,
    Interpretation,
    TargetAnswer,
    TargetQuestion,
    Vectors,
    decode,
    encode,
    new_case_id,
)

BOX = (10.0, 10.0, 30.0, 20.0)


def chip(size=100):
    return Chip(jpeg=b"\xff\xd8" + bytes(size - 2), box_xyxy=(2, 2, 6, 6), scale=1)


def question(**changes):
    fields = {"target_id": 1, "label": "car", "box_xyxy": BOX, "presence": 0.5, "why": "audit", "chips": (chip(),)}
    return TargetQuestion(**(fields | changes))


def case(target):
    return Case(
        case_id=new_case_id(),
        frame=FrameHeader(index=1, source_id="s", captured_at_s=1.0, width=100, height=100),
        region_xyxy=(0, 0, 100, 100),
        hardness=0.5,
        space_id="s",
        variant="fp32",
        media_type="image/jpeg",
        payload_bytes=10,
        payload_sha256="ab" * 32,
        target=target,
    )


def test_question_with_the_most_chips_fits_a_message():
    asked = case(question(chips=(chip(4096),) * 4))
    assert decode(encode(CaseOffer(case=asked)))[0].case == asked


@pytest.mark.parametrize(
    ("chips", "told"),
    [((), "at least 1 item"), ((chip(),) * 5, "at most 4"), ((chip(8192),) * 3, "24576 bytes; at most 16384")],
    ids=["none", "too-many", "too-large"],
)
def test_question_with_other_chips_is_refused(chips, told):
    with pytest.raises(ValidationError, match=told):
        question(chips=chips)


@pytest.mark.parametrize("verdict", ["gone", "unknown"])
def test_box_belongs_to_here_alone(verdict):
    assert TargetAnswer(target_id=1, verdict="here", box_xyxy=BOX).box_xyxy == BOX
    for fields in ({"verdict": verdict, "box_xyxy": BOX}, {"verdict": "here"}):
        with pytest.raises(ValidationError, match="belongs to 'here' alone"):
            TargetAnswer(target_id=1, **fields)


def test_vectors_want_a_space_and_are_few():
    vectors = Vectors.from_array(np.eye(9, dtype=np.float32))
    with pytest.raises(ValidationError, match="without space_id"):
        TargetAnswer(target_id=1, verdict="gone", negatives=vectors)
    with pytest.raises(ValidationError, match=r"9 positive vectors; expected 0\.\.8"):
        TargetAnswer(target_id=1, verdict="gone", space_id="s", positives=vectors)


def test_question_and_answer_survive_json_with_their_bytes():
    asked = case(question())
    assert Case.model_validate_json(asked.model_dump_json()) == asked
    vectors = Vectors.from_array(np.array([[1.0, -0.5], [0.3, 1.0]], np.float32))
    answer = TargetAnswer(target_id=1, verdict="gone", space_id="s", negatives=vectors)
    told = Interpretation(
        case_id=new_case_id(), confidence=0.5, by="person", interpreter="me", made_at_s=1.0, target=answer
    )
    assert Interpretation.model_validate_json(told.model_dump_json()) == told


def test_case_without_a_question_says_nothing_of_targets():
    assert "target" not in case(None).model_dump()
    assert "target" not in case(None).model_dump_json()
