"""Answers kept many at a time say of a case what one at a time does."""

from cloud.answer_shelf import CaseOutcome
from cloud.case_filter import CaseFilter
from protocols.values import Detection, Interpretation


def told(case_id, label):
    return Interpretation(
        case_id=case_id,
        detections=(Detection(box_xyxy=(1, 2, 30, 40), label=label, score=1),),
        confidence=0.4,
        by="teacher",
        interpreter="t",
        made_at_s=1.0,
    )


def test_value_and_labels_are_the_same_whichever_way_an_answer_is_kept(open_store, painting):
    values, label = [], 'dép"ôt'
    for is_batched in (True, False):
        case, payload = painting.make_case(painting.paint())
        open_store.add_cases([("uav", case, payload)])
        if is_batched:
            outcome = CaseOutcome("uav", case.case_id, "unsure", "why", 0.4)
            open_store.keep_answers([("uav", told(case.case_id, label))], [outcome])
        else:
            open_store.add_interpretation("uav", told(case.case_id, label))
            open_store.set_case_state("uav", case.case_id, "unsure", "why", 0.4)
        values.append(open_store.load_case(case.case_id).value)
    assert values[0] == values[1] > 0
    assert len(open_store.queue(CaseFilter(label=label))) == 2
