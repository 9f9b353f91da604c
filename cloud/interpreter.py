"""From a case to its answer and its prompts, in three steps that run side by side: open, ask, keep.

While the teacher looks at one batch, the pictures of the next are decoded, and the answers to the last one become
durable, go out, and become prompts. The store knows what was not kept: it waits, and is answered again, to no effect
where its answer was kept just before a crash.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import structlog

from cloud.agreement import case_agreement, sample_of
from cloud.answer_shelf import CaseOutcome, CaseState
from cloud.answers import findings_of, interpretation_of, open_question
from cloud.case_images import CaseImage, open_case_images
from cloud.config import CloudSettings
from cloud.errors import PromptRefused, StoreError, TeacherError
from cloud.evidence import Evidence, look
from cloud.metrics import CloudMetrics
from cloud.opened import Knocking, OpenedCase, Postman
from cloud.prompt_desk import PromptDesk
from cloud.refining import better_picture, joined, shows_same_frame
from cloud.store import CaseStore, StoredCase
from cloud.target_answers import answer_of, find_target
from cloud.teachers.taking_turns import TakingTurns
from cloud.teachers.teacher import Teacher, TeacherAnswer
from cloud.waiting import WaitingCase
from edge.errors import ModelError
from edge.student import Student
from protocols import limits
from protocols.arrays import Boxes
from protocols.errors import ImageryError
from protocols.target_questions import TargetQuestion
from protocols.values import Interpretation

log = structlog.get_logger()


@dataclass
class _Draft:
    """An answer on its way to the store, and what is to be done with it once it is durable."""

    opened: OpenedCase
    answer: Interpretation
    has_asked: bool
    twin: Student | None
    question: str
    """Where there is no twin: what is left to a person."""

    @property
    def outcome(self) -> CaseOutcome:
        stored = self.opened.stored
        state: CaseState = "unsure" if self.question else "interpreted"
        return CaseOutcome(stored.craft, stored.case.case_id, state, self.question, self.answer.confidence)


class Interpreter:
    """Answers cases; `open`, `ask` and `keep` may each run in a thread of their own.

    Attributes:
        metrics: counted into.
        give_way: called in the thread of `keep` between two cases: a person who waits comes first.
    """

    def __init__(
        self,
        store: CaseStore,
        teacher: Teacher,
        desk: PromptDesk,
        settings: CloudSettings,
        metrics: CloudMetrics,
    ) -> None:
        """Use these; the desk brings the twins and the clock."""
        self.metrics = metrics
        self.give_way: Callable[[], None] = _go_on
        self._store, self._teacher, self._desk, self._settings = store, TakingTurns(teacher), desk, settings

    def answer(self, cases: Sequence[StoredCase], notify: Callable[[str], None]) -> None:
        """All three steps with a batch, one after the other.

        Args:
            cases: at most one batch of waiting cases.
            notify: called with a craft's name whenever there is something new for it.

        Raises:
            StoreError: the store cannot be written; the cases that remain are still waiting.
        """
        opened = self.open([WaitingCase(stored, 0.0) for stored in cases])
        self.ask(opened)
        self.keep(opened, Knocking(notify))

    def open(self, cases: Sequence[WaitingCase]) -> list[OpenedCase]:
        """Cases with their pictures decoded."""
        return [self._open(case) for case in cases]

    def _open(self, waiting: WaitingCase) -> OpenedCase:
        stored, payload = waiting.stored, waiting.payload
        waiting.payload = None
        try:
            payload = self._store.read_imagery(stored) if payload is None else payload
            return OpenedCase(waiting, open_case_images(stored.case, payload))
        except (ImageryError, StoreError) as exc:
            return OpenedCase(waiting, fault=str(exc))

    def ask(self, cases: Sequence[OpenedCase]) -> None:
        """Let the teacher look at a batch; questions about targets are left to `keep`, for they need the store."""
        asked = [opened for opened in cases if opened.stored.case.target is None and not opened.fault]
        images = [image for opened in asked for image in opened.images]
        with self.metrics.teacher_s.time():
            answers = iter(self._ask(images))
        for opened in asked:
            told = [next(answers) for _ in opened.images]
            opened.answers = [answer for answer in told if isinstance(answer, TeacherAnswer)]
            opened.fault = next((answer for answer in told if isinstance(answer, str)), "")

    def _ask(self, images: Sequence[CaseImage]) -> list[TeacherAnswer | str]:
        """An answer or a reason for each image: a batch that fails is tried again one by one."""
        if len(images) > (most := self._settings.max_batch):  # cases of several pictures
            return self._ask(images[:most]) + self._ask(images[most:])
        try:
            answers = self._teacher.interpret([image.image for image in images]) if images else []
            if len(answers) != len(images):
                raise TeacherError(f"{len(answers)} answers to {len(images)} images")
            # A teacher may be another package's, which no type checker has seen.
            strange = [type(answer).__name__ for answer in answers if not isinstance(answer, TeacherAnswer)]
            if strange:
                raise TeacherError(f"an answer is a {strange[0]}, TeacherAnswer wanted")
            return [*answers]
        except Exception as exc:
            if len(images) > 1:
                return [answer for image in images for answer in self._ask([image])]
            log.warning("teacher failed", teacher=self._teacher.name, exc_info=not isinstance(exc, TeacherError))
            return [f"the teacher failed: {exc}"]

    def keep(self, cases: Sequence[OpenedCase], postman: Postman) -> None:
        """Make a batch's answers durable, send them out, and make prompts of them.

        Raises:
            StoreError: the store cannot be written; the cases that remain are still waiting.
        """
        drafts: list[_Draft] = []
        for opened in cases:
            stored = opened.stored
            if opened.fault:
                self._fail(stored, opened.fault)
                continue
            with self._failing(stored):
                if stored.case.target is None:
                    drafts.append(self._draft(opened))
                else:  # a craft waits for it with its target
                    self._find(stored, opened.images[0], stored.case.target, postman)
        if drafts:
            self._send(drafts, postman)
            self._teach_all([draft for draft in drafts if draft.twin is not None], postman)

    def _draft(self, opened: OpenedCase) -> _Draft:
        stored, case = opened.stored, opened.stored.case
        answer = interpretation_of(case.case_id, opened.seen, self._teacher.name, self._desk.clock.wall_s())
        self.metrics.agreement.labels(sample_of(case)).observe(case_agreement(case, answer))
        if case.refines is not None:
            answer = self._stand_in(stored, case.refines, answer)
        has_asked = self._ask_again(stored, answer)
        try:
            return _Draft(opened, answer, has_asked, self._desk.twins.student(case.space_id, case.variant), "")
        except (PromptRefused, ModelError) as exc:
            question = open_question(answer, (), self._settings) or str(exc)
            return _Draft(opened, answer, has_asked, None, question)

    def _send(self, drafts: Sequence[_Draft], postman: Postman) -> None:
        """Make answers durable in one go; with those that no twin is to look at, all that will become of them."""
        settled = [draft.outcome for draft in drafts if draft.twin is None]
        answers = [(draft.opened.stored.craft, draft.answer) for draft in drafts]
        kept = self._store.keep_answers(answers, settled)
        self._count(settled)
        postman.deliver([answer for answer, is_new in zip(answers, kept, strict=True) if is_new])
        for craft in {draft.opened.stored.craft for draft in drafts if draft.has_asked}:
            postman.notify(craft)

    def _teach_all(self, drafts: Sequence[_Draft], postman: Postman) -> None:
        outcomes = []
        for draft in drafts:
            self.give_way()
            with self._failing(draft.opened.stored):
                draft.question = self._teach(draft, postman)
                outcomes.append(draft.outcome)
        if outcomes:
            self._store.settle_cases(outcomes)
            self._count(outcomes)

    def _count(self, outcomes: Sequence[CaseOutcome]) -> None:
        for outcome in outcomes:
            self.metrics.interpreted.labels(outcome.state).inc()

    def _stand_in(self, stored: StoredCase, first_id: str, answer: Interpretation) -> Interpretation:
        """The answer to a better picture, in place of the first one's; as it is where nobody asked for the picture."""
        known = self._store.case_state(stored.craft, first_id)
        if known is None or not shows_same_frame(stored.case, self._store.load_case(first_id, stored.craft).case):
            log.warning("case refines none of its frame", craft=stored.craft, case_id=stored.case.case_id)
            return answer
        if not self._store.supersede(stored.craft, first_id, stored.case.case_id):
            log.warning("better picture that nobody asked for", craft=stored.craft, case_id=stored.case.case_id)
            return answer
        return joined(answer, stored.case, self._store.teacher_answer(stored.craft, first_id))

    def _ask_again(self, stored: StoredCase, answer: Interpretation) -> bool:
        """Whether the craft is asked for a better picture now."""
        settings, case_id, now_s = self._settings.refine, stored.case.case_id, self._desk.clock.wall_s()
        request = better_picture(stored, answer, self._settings.unsure_below, settings, now_s)
        if request is None or len(self._store.refinements_of(stored.craft, case_id)) >= settings.most:
            return False
        self._store.add_refinement(stored.craft, request, by="teacher", now_s=now_s)
        log.info("asking for a better picture", craft=stored.craft, case_id=case_id, confidence=answer.confidence)
        return True

    def _find(self, stored: StoredCase, image: CaseImage, question: TargetQuestion, postman: Postman) -> None:
        """Answer where a target is."""
        case, craft = stored.case, stored.craft
        twin, evidence = self._desk.view(case, image)
        prompted = None if twin is None or evidence is None else self._desk.matched(craft, evidence, question.label)
        told = find_target(self._teacher, case, image, self._settings.targets, prompted)
        answer = Interpretation(
            case_id=case.case_id,
            confidence=told.confidence,
            by="teacher",
            interpreter=self._teacher.name[: limits.MAX_TEXT_CHARS],
            made_at_s=self._desk.clock.wall_s(),
            target=answer_of(question, told, twin, evidence),
        )
        is_open = told.verdict == "unknown"
        reason = (
            f"where is target {question.target_id} ({question.label})? The teacher does not know" if is_open else ""
        )
        state = CaseOutcome(craft, case.case_id, "unsure" if is_open else "interpreted", reason, told.confidence)
        if self._store.keep_answers([(craft, answer)], [state])[0]:
            postman.deliver([(craft, answer)])
        self._count([state])

    def _teach(self, draft: _Draft, postman: Postman) -> str:
        """Prompts for a case; what is left to a person, in words."""
        stored, twin = draft.opened.stored, draft.twin
        assert twin is not None
        views: list[Evidence] = []
        gsd_m = stored.case.frame.pose.gsd_m if stored.case.frame.pose else None
        try:
            for image, answer in draft.opened.seen:
                views.append(look(twin, image, gsd_m))
                self._teach_one(stored, twin, views[-1], answer, image.to_frame(answer.boxes_xyxy), postman)
            return open_question(draft.answer, views, self._settings)
        except (PromptRefused, ModelError) as exc:
            return open_question(draft.answer, views, self._settings) or str(exc)

    def _teach_one(
        self,
        stored: StoredCase,
        twin: Student,
        evidence: Evidence,
        answer: TeacherAnswer,
        frame_xyxy: Boxes,
        postman: Postman,
    ) -> None:
        """Prompts for what the craft cannot name, and corrections of those it has."""
        craft, boxes = stored.craft, evidence.image.from_frame(frame_xyxy)
        known = self._known_labels(craft, twin)
        findings = findings_of(answer, boxes, known, stored.case.case_id, self._settings.prompts.min_score)
        names = np.asarray(answer.labels, dtype=object)
        changed = self._desk.correct(craft, evidence, {name: boxes[names == name] for name in set(answer.labels)})
        for finding in findings:
            outcome = self._desk.answer(twin, craft, evidence, finding)
            self.metrics.prompts.labels("teacher", outcome.state).inc()
            changed = changed or bool(outcome.crafts)
        unfamiliar = np.asarray([name not in known for name in answer.labels], dtype=bool)
        self._desk.remember(twin, craft, evidence, boxes[unfamiliar])
        if changed:
            postman.notify(craft)

    def _known_labels(self, craft: str, twin: Student) -> tuple[str, ...]:
        profile = self._store.craft(craft)
        return twin.manifest.labels if profile.space_id is None else profile.labels

    @contextlib.contextmanager
    def _failing(self, stored: StoredCase) -> Iterator[None]:
        """Mark a case failed when it, not the store, is at fault: it must not come back for ever."""
        try:
            yield
        except StoreError:
            raise
        except Exception as exc:
            log.warning("case failed", craft=stored.craft, case_id=stored.case.case_id, exc_info=True)
            self.metrics.failures.labels("interpret").inc()
            self._fail(stored, f"{type(exc).__name__}: {exc}")

    def _fail(self, stored: StoredCase, reason: str) -> None:
        log.warning("case cannot be interpreted", craft=stored.craft, case_id=stored.case.case_id, reason=reason)
        self._store.settle_cases([CaseOutcome(stored.craft, stored.case.case_id, "failed", reason)])
        self.metrics.interpreted.labels("failed").inc()


def _go_on() -> None:
    """Nobody waits."""
