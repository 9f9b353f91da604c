"""A person's answer put to use: an interpretation for the craft, and a prompt where the person wants one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import structlog

from cloud.case_images import LEAST_SHOWN, CaseImage, open_case_image, open_case_images
from cloud.errors import PromptRefused
from cloud.evidence import Evidence, look
from cloud.prompt_desk import Outcome, PromptDesk, prompt_id_of
from cloud.prompting import Finding
from cloud.review_shelf import BoxXyxy
from cloud.store import CaseStore, Review, StoredCase
from cloud.target_answers import Told, answer_of
from cloud.twins import Twins
from edge.student import Student
from protocols.arrays import Boxes
from protocols.boxes import box_inside
from protocols.target_questions import TargetQuestion
from protocols.values import Detection, Interpretation

log = structlog.get_logger()


def use_review(review: Review, store: CaseStore, desk: PromptDesk) -> Outcome:
    """Answer a case as a person said, and make the prompt.

    The answer itself is kept even where no good prompt can be made of it. To use one again changes nothing: a server
    that was killed before it noted the use does so.

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
    is_new = store.add_interpretation(review.craft, _interpretation(review))
    outcome = None if is_new or not review.makes_prompt else _issued_before(review, desk)
    outcome = outcome or _prompt(review, stored, store, desk)
    store.set_case_state(review.craft, review.case_id, "reviewed", outcome.reason)
    log.info("review used", craft=review.craft, case_id=review.case_id, label=review.label, outcome=outcome.state)
    return outcome


def _place(review: Review, stored: StoredCase, question: TargetQuestion, store: CaseStore, desk: PromptDesk) -> Outcome:
    """Tell a craft where its target is: a place, and no prompt."""
    box = review.boxes_xyxy[0] if review.boxes_xyxy else None
    told = Told("gone" if box is None else "here", box, 1.0)
    twin, evidence = desk.view(stored.case, open_case_image(stored.case, store.read_imagery(stored)))
    answer = answer_of(question, told, twin, evidence)
    interpretation = _interpretation(review).model_copy(update={"target": answer})
    store.add_interpretation(review.craft, interpretation)
    store.set_case_state(review.craft, review.case_id, "reviewed", "")
    log.info("target placed", craft=review.craft, case_id=review.case_id, target_id=question.target_id)
    return Outcome("enough", "the craft is told where its target is")


def _issued_before(review: Review, desk: PromptDesk) -> Outcome | None:
    """What became of a review whose prompt a server issued before it was killed; None where it issued none."""
    prompt_id = prompt_id_of(review.craft, review.label, "person", review.scope)
    return desk.issue_again(review.craft, prompt_id, review.case_id, review.made_at_s)


def _prompt(review: Review, stored: StoredCase, store: CaseStore, desk: PromptDesk) -> Outcome:
    if not review.makes_prompt:
        return Outcome("kept", "no prompt was asked for")
    images = open_case_images(stored.case, store.read_imagery(stored))
    try:
        twin = flown_twin(stored, store, desk.twins)
        shown = pictures_of(review, images)
    except PromptRefused as exc:
        return Outcome("refused", exc.reason)
    outcomes = []
    for image in shown:
        evidence = look(twin, image, stored.case.frame.pose.gsd_m if stored.case.frame.pose else None)
        outcomes.append(desk.answer(twin, review.craft, evidence, finding_in(review, evidence)))
    issued = [outcome for outcome in outcomes if outcome.state != "refused"]
    return (issued or outcomes)[-1]


def flown_twin(stored: StoredCase, store: CaseStore, twins: Twins) -> Student:
    """The student that a case's craft flies now, or that it flew then where the new one is not known here.

    Raises:
        PromptRefused: neither is known here, or its bands do not fit into a case.
        ModelError: the bundle is damaged.
    """
    profile = store.craft(stored.craft)
    if profile.space_id in twins.space_ids and profile.variant is not None:
        return twins.student(profile.space_id, profile.variant)
    return twins.student(stored.case.space_id, stored.case.variant)


def pictures_of(review: Review, images: Sequence[CaseImage]) -> list[CaseImage]:
    """The pictures of a case that show any box of the thing that a prompt is made of.

    Raises:
        PromptRefused: none does.
    """
    drawn = as_boxes(review.boxes_of(review.label))
    if not len(drawn):
        return list(images)
    shown = [image for image in images if (box_inside(drawn, image.region_xyxy)[:, 0] >= LEAST_SHOWN).any()]
    if not shown:
        raise PromptRefused(f"no box lies within the picture: draw at least {LEAST_SHOWN:.0%} of one inside it")
    return shown


def finding_in(review: Review, evidence: Evidence) -> Finding:
    """What a person found in one picture; boxes that another picture shows are left to it."""
    image = evidence.image

    def within(boxes: Sequence[BoxXyxy]) -> Boxes:
        drawn = as_boxes(boxes)
        return image.from_frame(drawn[box_inside(drawn, image.region_xyxy)[:, 0] >= LEAST_SHOWN])

    return Finding(
        label=review.label,
        boxes_xyxy=within(review.boxes_of(review.label)),
        ignore_xyxy=np.zeros((0, 4), np.float32),
        origin="person",
        confidence=1.0,
        scope=review.scope,
        case_id=review.case_id,
        negatives_xyxy=within(review.negatives_xyxy),
        said_at_s=review.made_at_s,
    )


def as_boxes(boxes: Sequence[BoxXyxy]) -> Boxes:
    """(N, 4) float32."""
    return np.asarray(boxes, np.float32).reshape(-1, 4)


def _interpretation(review: Review) -> Interpretation:
    return Interpretation(
        case_id=review.case_id,
        detections=tuple(
            Detection(box_xyxy=box, label=label, score=1.0, provenance="person") for label, box in review.named
        ),
        confidence=1.0,
        by="person",
        interpreter=review.reviewer,
        made_at_s=review.made_at_s,
    )
