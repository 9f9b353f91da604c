"""A person's answer put to use: an interpretation for the craft, and a prompt."""

from __future__ import annotations

import numpy as np
import structlog

from cloud.case_images import LEAST_SHOWN, open_case_image, open_case_images
from cloud.errors import PromptRefused
from cloud.evidence import Evidence, look
from cloud.prompt_desk import Outcome, PromptDesk
from cloud.prompting import Finding
from cloud.store import CaseStore, Review, StoredCase
from cloud.target_answers import Told, answer_of
from protocols.arrays import Boxes
from protocols.boxes import box_inside
from protocols.target_questions import TargetQuestion
from protocols.values import Detection, Interpretation

log = structlog.get_logger()


def use_review(review: Review, store: CaseStore, desk: PromptDesk) -> Outcome:
    """Answer a case as a person said, and make the prompt.

    The answer itself is kept even where no good prompt can be made of it.

    Args:
        review: what the person said.
        store: holds the case.
        desk: makes prompts.

    Raises:
        SkyloopError: the case is gone, its imagery does not decode, or the store fails.
    """
    stored = store.load_case(review.case_id, review.craft)
    if stored.case.target is not None:
        return _place(review, stored, stored.case.target, store, desk)
    store.add_interpretation(review.craft, _interpretation(review, desk.clock.wall_s()))
    outcome = _prompt(review, stored, store, desk)
    store.set_case_state(review.craft, review.case_id, "reviewed", outcome.reason)
    log.info("review used", craft=review.craft, case_id=review.case_id, label=review.label, outcome=outcome.state)
    return outcome


def _place(review: Review, stored: StoredCase, question: TargetQuestion, store: CaseStore, desk: PromptDesk) -> Outcome:
    """Tell a craft where its target is: a place, and no prompt."""
    box = review.boxes_xyxy[0] if review.boxes_xyxy else None
    told = Told("gone" if box is None else "here", box, 1.0)
    twin, evidence = desk.view(stored.case, open_case_image(stored.case, store.read_imagery(stored)))
    answer = answer_of(question, told, twin, evidence)
    interpretation = _interpretation(review, desk.clock.wall_s()).model_copy(update={"target": answer})
    store.add_interpretation(review.craft, interpretation)
    store.set_case_state(review.craft, review.case_id, "reviewed", "")
    log.info("target placed", craft=review.craft, case_id=review.case_id, target_id=question.target_id)
    return Outcome("enough", "the craft is told where its target is")


def _prompt(review: Review, stored: StoredCase, store: CaseStore, desk: PromptDesk) -> Outcome:
    case, drawn = stored.case, _boxes(review)
    try:
        twin = desk.twins.student(case.space_id, case.variant)
    except PromptRefused as exc:
        return Outcome("refused", exc.reason)
    outcomes = []
    images = open_case_images(case, store.read_imagery(stored))
    is_shown = box_inside(drawn, np.asarray([part.region_xyxy for part in case.parts], np.float32)) >= LEAST_SHOWN
    if len(drawn) and not is_shown.any():
        return Outcome("refused", f"no box lies within the picture: draw at least {LEAST_SHOWN:.0%} of one inside it")
    for column, image in enumerate(images):
        shown = drawn[is_shown[:, column]]
        if len(shown) or not len(drawn):
            evidence = look(twin, image, case.frame.pose.gsd_m if case.frame.pose else None)
            outcomes.append(desk.answer(twin, review.craft, evidence, _finding(review, evidence, shown)))
    issued = [outcome for outcome in outcomes if outcome.state != "refused"]
    return (issued or outcomes)[-1]


def _finding(review: Review, evidence: Evidence, shown_xyxy: Boxes) -> Finding:
    """What a person found in one picture, given in pixels of the frame."""
    return Finding(
        label=review.label,
        boxes_xyxy=evidence.image.from_frame(shown_xyxy),
        ignore_xyxy=np.zeros((0, 4), np.float32),
        origin="person",
        confidence=1.0,
        scope=review.scope,
        case_id=review.case_id,
    )


def _boxes(review: Review) -> Boxes:
    return np.asarray(review.boxes_xyxy, np.float32).reshape(-1, 4)


def _interpretation(review: Review, now_s: float) -> Interpretation:
    return Interpretation(
        case_id=review.case_id,
        detections=tuple(
            Detection(box_xyxy=box, label=review.label, score=1.0, provenance="person") for box in review.boxes_xyxy
        ),
        confidence=1.0,
        by="person",
        interpreter=review.reviewer,
        made_at_s=now_s,
    )
