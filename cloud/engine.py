"""Cases to answers: waiting cases go through the teacher in batches, and what it finds becomes prompts.

The store is the queue: nothing is lost on a crash, and a case is taken off only when its answer and its prompts are
kept. A case that was answered just before a crash is answered again, to no effect.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor

import numpy as np
import structlog

from cloud.answers import Seen, findings_of, interpretation_of, open_question
from cloud.case_images import CaseImage, open_case_images
from cloud.config import CloudSettings
from cloud.errors import PromptRefused, StoreError, TeacherError
from cloud.evidence import Evidence, look
from cloud.metrics import CloudMetrics
from cloud.prompt_desk import PromptDesk
from cloud.refining import better_picture, joined, shows_same_frame
from cloud.store import CaseState, CaseStore, StoredCase
from cloud.target_answers import answer_of, find_target
from cloud.teachers.teacher import Teacher, TeacherAnswer
from edge.errors import ModelError
from edge.student import Student
from protocols import limits
from protocols.arrays import Boxes
from protocols.errors import ImageryError
from protocols.target_questions import TargetQuestion
from protocols.values import Interpretation

log = structlog.get_logger()

_RETRY_S = 1.0
"""Pause after the store failed: a full disk does not empty itself in milliseconds."""

_LOOK_AGAIN_S = 1.0
"""Waiting cases are looked for this often even if nobody calls `wake`."""


class Interpreter:
    """Answers batches of cases; everything here runs in one worker thread."""

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
        self._store, self._teacher, self._desk, self._settings = store, teacher, desk, settings

    def answer(self, cases: Sequence[StoredCase], notify: Callable[[str], None]) -> None:
        """Answer a batch.

        Args:
            cases: at most one batch of waiting cases.
            notify: called with a craft's name whenever there is something new for it.

        Raises:
            StoreError: the store cannot be written; the cases that remain are still waiting.
        """
        opened: list[tuple[StoredCase, list[CaseImage]]] = []
        for stored in cases:
            images = self._open(stored)
            if stored.case.target is None:
                opened += [(stored, images)] if images else []
                continue
            with self._failing(stored):  # a craft waits for these with its target: they come first
                for image in images:
                    self._find(stored, image, stored.case.target, notify)
        with self.metrics.teacher_s.time():
            answers = iter(self._ask([image for _, images in opened for image in images]))
        for stored, images in opened:
            seen, failures = _told(images, answers)
            if failures:
                self._fail(stored, failures[0])
                continue
            with self._failing(stored):
                self._use(stored, seen, notify)

    def _open(self, stored: StoredCase) -> list[CaseImage]:
        try:
            return open_case_images(stored.case, self._store.read_imagery(stored))
        except (ImageryError, StoreError) as exc:
            self._fail(stored, str(exc))
            return []

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

    def _use(self, stored: StoredCase, seen: Seen, notify: Callable[[str], None]) -> None:
        case, craft = stored.case, stored.craft
        interpretation = interpretation_of(case.case_id, seen, self._teacher.name, self._desk.clock.wall_s())
        if case.refines is not None:
            interpretation = self._stand_in(stored, case.refines, interpretation)
        has_asked = self._ask_again(stored, interpretation)
        if self._store.add_interpretation(craft, interpretation) or has_asked:
            notify(craft)
        views: list[Evidence] = []
        try:
            twin = self._desk.twins.student(case.space_id, case.variant)
            for image, answer in seen:
                views.append(look(twin, image, case.frame.pose.gsd_m if case.frame.pose else None))
                self._teach(stored, twin, views[-1], answer, image.to_frame(answer.boxes_xyxy), notify)
            question = open_question(interpretation, views, self._settings)
        except (PromptRefused, ModelError) as exc:
            question = open_question(interpretation, views, self._settings) or str(exc)
        state: CaseState = "unsure" if question else "interpreted"
        self._store.set_case_state(craft, case.case_id, state, question, interpretation.confidence)
        self.metrics.interpreted.labels(state).inc()

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

    def _find(
        self, stored: StoredCase, image: CaseImage, question: TargetQuestion, notify: Callable[[str], None]
    ) -> None:
        """Answer where a target is."""
        case, craft = stored.case, stored.craft
        twin, evidence = self._desk.view(case, image)
        prompted = None if twin is None or evidence is None else self._desk.matched(craft, evidence, question.label)
        told = find_target(self._teacher, case, image, self._settings.targets, prompted)
        interpretation = Interpretation(
            case_id=case.case_id,
            confidence=told.confidence,
            by="teacher",
            interpreter=self._teacher.name[: limits.MAX_TEXT_CHARS],
            made_at_s=self._desk.clock.wall_s(),
            target=answer_of(question, told, twin, evidence),
        )
        if self._store.add_interpretation(craft, interpretation):
            notify(craft)
        is_open = told.verdict == "unknown"
        reason = (
            f"where is target {question.target_id} ({question.label})? The teacher does not know" if is_open else ""
        )
        state: CaseState = "unsure" if is_open else "interpreted"
        self._store.set_case_state(craft, case.case_id, state, reason, told.confidence)
        self.metrics.interpreted.labels(state).inc()

    def _teach(
        self,
        stored: StoredCase,
        twin: Student,
        evidence: Evidence,
        answer: TeacherAnswer,
        frame_xyxy: Boxes,
        notify: Callable[[str], None],
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
            notify(craft)

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
        self._store.set_case_state(stored.craft, stored.case.case_id, "failed", reason)
        self.metrics.interpreted.labels("failed").inc()


def _told(
    images: Sequence[CaseImage], answers: Iterator[TeacherAnswer | str]
) -> tuple[list[tuple[CaseImage, TeacherAnswer]], list[str]]:
    """The next answers, one for each image, and why some have none."""
    seen, failures = [], []
    for image, answer in zip(images, answers, strict=False):
        if isinstance(answer, str):
            failures.append(answer)
        else:
            seen.append((image, answer))
    return seen, failures


class Engine:
    """Feeds waiting cases to an `Interpreter`, one batch at a time."""

    def __init__(
        self,
        store: CaseStore,
        interpreter: Interpreter,
        settings: CloudSettings,
        worker: Executor,
        notify: Callable[[str], None],
    ) -> None:
        """Prepare.

        Args:
            store: where cases wait.
            interpreter: answers them.
            settings: batch size and waiting time.
            worker: of one thread, which the interpreter runs in.
            notify: called in the event loop with the name of a craft there is something new for.
        """
        self._store, self._interpreter, self._settings = store, interpreter, settings
        self._worker, self._notify = worker, notify
        self._woken = asyncio.Event()
        self._is_stopping = False

    def wake(self) -> None:
        """There may be waiting cases."""
        self._woken.set()

    def stop(self) -> None:
        """Finish the batch in work and no more; what waits stays in the store."""
        self._is_stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Answer cases until `stop`."""
        while not self._is_stopping:
            try:
                busy = await self._step()
            except StoreError as exc:
                log.warning("store failed, trying again", error=str(exc), retry_s=_RETRY_S)
                self._interpreter.metrics.failures.labels("engine").inc()
                await asyncio.sleep(_RETRY_S)
                continue
            if not busy:
                await self._pause()

    async def _pause(self) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._woken.wait(), _LOOK_AGAIN_S)

    async def _step(self) -> bool:
        """Answer one batch; False when nothing waits."""
        self._woken.clear()
        loop, limit = asyncio.get_running_loop(), self._settings.max_batch
        batch = await loop.run_in_executor(None, self._store.waiting_cases, limit)
        if batch and len(batch) < limit and self._settings.max_wait_s > 0:
            await asyncio.sleep(self._settings.max_wait_s)
            batch = await loop.run_in_executor(None, self._store.waiting_cases, limit)
        if not batch or self._is_stopping:
            return False

        def notify(craft: str) -> None:
            loop.call_soon_threadsafe(self._notify, craft)

        await loop.run_in_executor(self._worker, self._interpreter.answer, batch, notify)
        return True
