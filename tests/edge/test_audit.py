import numpy as np
import pytest
from builders import make_case

from edge.audit import Audit, agreement_of, put_right
from protocols.values import Detection, Interpretation

CAR = Detection(box_xyxy=(0, 0, 10, 10), label="Car", score=0.9)
FAR = Detection(box_xyxy=(30, 30, 40, 40), label="Car", score=0.9)
PERSON = Detection(box_xyxy=(0, 0, 10, 10), label="Person", score=0.9)


def answer(case, *detections):
    return Interpretation(
        case_id=case.case_id, detections=detections, confidence=0.9, by="teacher", interpreter="test", made_at_s=0.0
    )


@pytest.mark.parametrize(
    ("edge", "cloud", "agreement"),
    [
        ((), (), 1.0),
        ((CAR,), (CAR,), 1.0),
        ((CAR,), (), 0.0),
        ((CAR,), (PERSON,), 0.0),
        ((CAR, FAR), (CAR,), 2 / 3),
        ((CAR, CAR), (CAR,), 2 / 3),
    ],
    ids=["nothing", "same", "cloud sees nothing", "another label", "one more", "one twice"],
)
def test_agreement_is_f1_of_pairs(edge, cloud, agreement):
    assert agreement_of(edge, cloud) == pytest.approx(agreement)


def test_audit_draws_its_share_and_the_same_frames_from_the_same_seed():
    drawn = [[audit.is_due() for _ in range(5000)] for audit in (Audit(0.01, 3), Audit(0.01, 3))]
    assert drawn[0] == drawn[1]
    assert np.mean(drawn[0]) == pytest.approx(0.01, abs=0.005)


def test_answers_to_other_cases_do_not_count_and_missing_answers_show():
    audit, case = Audit(0.01, 0), make_case(detections=(CAR,))
    audit.asked(case)
    audit.asked(make_case())
    audit.answered(answer(make_case(), CAR))
    audit.answered(answer(case, CAR))
    audit.answered(answer(case, CAR))
    report = audit.report()
    assert (report.asked, report.answered, report.agreement, report.has_drifted) == (2, 1, 1.0, False)


def test_agreement_that_falls_is_called_drift_and_steady_disagreement_is_not():
    falling, steady = Audit(0.01, 0), Audit(0.01, 0)
    for index in range(60):
        case = make_case(detections=(CAR,))
        for audit, said in ((falling, (CAR,) if index < 40 else ()), (steady, (CAR,) if index % 2 else ())):
            audit.asked(case)
            audit.answered(answer(case, *said))
    assert falling.report().has_drifted
    assert not steady.report().has_drifted


@pytest.mark.parametrize(
    ("edge", "cloud", "gain"),
    [
        ((), (), 0.0),
        ((CAR,), (CAR,), 0.0),
        ((CAR,), (), 0.65),
        ((), (CAR,), 1.35),
        ((CAR,), (PERSON,), 0.65 + 3 * 1.35),
        ((CAR, FAR), (FAR, PERSON), 0.65 + 3 * 1.35),
    ],
    ids=["nothing", "same", "one gone", "one found", "another label", "one of two"],
)
def test_what_is_put_right_counts_by_label(edge, cloud, gain):
    assert put_right(edge, cloud, {"Person": 3.0}) == pytest.approx(gain)


def test_each_change_gives_one_lesson_of_the_newest_answers():
    audit, lessons = Audit(0.01, 0), []
    for index in range(120):
        case = make_case(detections=(CAR,))
        audit.asked(case, np.array([index], np.float32))
        audit.answered(answer(case, *((CAR,) if index < 40 or index >= 80 else ())))
        if (lesson := audit.lesson()) is not None:
            lessons.append((index, lesson))
    (fog, (features, gains)), (clear, _) = lessons
    assert 40 < fog < 60 < 80 < clear < 100
    assert features[:, 0].tolist() == list(range(fog - 19, fog + 1))
    assert gains.tolist() == pytest.approx([0.65 if index >= 40 else 0 for index in range(fog - 19, fog + 1)])
    assert audit.report().refits == 2


def test_without_a_fit_there_is_no_lesson():
    audit = Audit(0.01, 0)
    for index in range(80):
        case = make_case(detections=(CAR,))
        audit.asked(case)
        audit.answered(answer(case, *((CAR,) if index < 40 else ())))
        assert audit.lesson() is None
    assert audit.report().has_drifted


def test_waiting_cases_are_bounded():
    audit = Audit(1.0, 0)
    cases = [make_case() for _ in range(100)]
    for case in cases:
        audit.asked(case)
    audit.answered(answer(cases[0]))
    audit.answered(answer(cases[-1]))
    assert audit.report().answered == 1
