"""Where findings become prompts in force: built, merged with what the craft holds, issued.

Not for several threads at a time: all prompts of a service are made one after the other.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import structlog

from cloud import banks
from cloud.case_images import CaseImage
from cloud.config import PromptSettings
from cloud.errors import PromptRefused
from cloud.evidence import Evidence, background_of, look
from cloud.merging import add_negatives, merge_prompts, shun
from cloud.prompting import Finding, Replay, build_prompt, false_rows, negative_views, replay
from cloud.store import CaseStore
from cloud.twins import Twins
from edge.clock import Clock
from edge.errors import ModelError
from edge.prompting import PromptMatcher, contradicted_by, contradiction
from edge.student import Student
from protocols.arrays import Boxes, FloatArray
from protocols.boxes import box_iou
from protocols.values import Case, Prompt, PromptBank

log = structlog.get_logger()

_MAX_CRAFTS = 256
_NAMED_IOU = 0.4


@dataclass(frozen=True)
class Outcome:
    """What became of one finding.

    Attributes:
        state: `issued`, `enough` (the craft's prompts already find all of it), `refused`, or `kept` (no prompt was
            asked for).
        reason: for refused why, for issued which prompts gave way to it and what it still mistakes; readable.
        crafts: whose bank changed.
    """

    state: Literal["issued", "enough", "refused", "kept"]
    reason: str = ""
    crafts: tuple[str, ...] = ()


class PromptDesk:
    """Makes prompts for all crafts of one service and remembers their recent background."""

    def __init__(self, store: CaseStore, twins: Twins, settings: PromptSettings, clock: Clock) -> None:
        """Make prompts for the crafts in `store`, with their students among `twins`."""
        self.twins, self.clock = twins, clock
        self._store, self._settings = store, settings
        self._background: dict[tuple[str, str], deque[FloatArray]] = {}

    def answer(self, twin: Student, craft: str, evidence: Evidence, finding: Finding) -> Outcome:
        """Turn a finding into a prompt in force, unless it would not help.

        Args:
            twin: the craft's student.
            craft: whose case it was.
            evidence: what the twin sees in it.
            finding: what is there.

        Raises:
            StoreError: the bank could not be kept.
        """
        prompt_id = prompt_id_for(craft, finding)
        try:
            if finding.origin == "person":
                self._store.allow_prompt(prompt_id)
            elif self._store.is_forbidden(prompt_id):
                raise PromptRefused(f"a person took prompt {prompt_id} back; review a case to teach it anew")
            return self._issue(twin, craft, evidence, finding)
        except PromptRefused as exc:
            log.info("prompt refused", craft=craft, label=finding.label, case_id=finding.case_id, reason=exc.reason)
            return Outcome("refused", exc.reason)

    def issue_again(self, craft: str, prompt_id: str, case_id: str, said_at_s: float) -> Outcome | None:
        """Finish issuing the prompt that a person's answer became before; the bank that has it stays as it is.

        Args:
            craft: whose case it was.
            prompt_id: of the prompt.
            case_id: which case.
            said_at_s: when the person answered.

        Returns:
            None where the craft holds no prompt of that answer.

        Raises:
            StoreError: the bank could not be kept.
        """
        for prompt in self._store.bank(craft).prompts:
            if (prompt.prompt_id, prompt.case_id, prompt.issued_at_s) == (prompt_id, case_id, said_at_s):
                return self._put_in_force(craft, prompt, self.clock.wall_s())
        return None

    def view(self, case: Case, image: CaseImage) -> tuple[Student | None, Evidence | None]:
        """What the craft's own student sees in a case; twice None where it is not known here, or fails."""
        try:
            twin = self.twins.student(case.space_id, case.variant)
            return twin, look(twin, image, case.frame.pose.gsd_m if case.frame.pose else None)
        except (PromptRefused, ModelError) as exc:
            log.info("no twin", case_id=case.case_id, reason=str(exc))
            return None, None

    def matched(self, craft: str, evidence: Evidence, label: str) -> Boxes | None:
        """(N, 4) full-frame pixels of what a craft's prompts of a label match; None where it has none."""
        prompts = tuple(prompt for prompt in self._store.bank(craft).prompts if prompt.label == label)
        if not prompts:
            return None
        matcher = PromptMatcher(PromptBank(epoch="target", revision=0, prompts=prompts), prompts[0].space_id)
        match = matcher.match(evidence.seen, self.clock.wall_s(), evidence.gsd_m, evidence.known)
        return evidence.image.to_frame(evidence.seen.boxes_xyxy[match.rows[match.sure]])

    def remember(self, twin: Student, craft: str, evidence: Evidence, named_xyxy: Boxes) -> None:
        """Keep the background of a case for the next prompts of its craft, durably.

        Args:
            twin: the craft's student.
            craft: whose case it was.
            evidence: what the twin sees in it.
            named_xyxy: (N, 4) everything named in it that no prompt may take for background.

        Raises:
            StoreError: it could not be kept.
        """
        space, keep = twin.manifest.space_id, self._settings.background_cases
        seen = background_of(evidence, named_xyxy)
        self._recent(craft, space).append(seen)
        self._store.add_background(craft, space, seen, keep)

    def _recent(self, craft: str, space_id: str) -> deque[FloatArray]:
        """The background of a craft's recent cases, one array each; read from the store when first asked for."""
        key = (craft, space_id)
        if key not in self._background:
            if len(self._background) == _MAX_CRAFTS:
                self._background.pop(next(iter(self._background)))
            kept = self._store.background(craft, space_id)
            self._background[key] = deque(kept, maxlen=self._settings.background_cases)
        return self._background[key]

    def correct(self, craft: str, evidence: Evidence, named: dict[str, Boxes]) -> bool:
        """Teach the teacher's prompts what they mistake for their label: things that the teacher calls otherwise.

        Args:
            craft: whose case it was.
            evidence: what the twin sees in it.
            named: the teacher's boxes by label, pixels of the evidence's image.

        Returns:
            Whether the craft's bank changed.
        """
        now_s = self.clock.wall_s()
        better: list[Prompt] = []
        for prompt in self._store.bank(craft).prompts:
            others = [boxes for label, boxes in named.items() if label != prompt.label]
            if prompt.origin != "teacher" or not others:
                continue
            mistaken = _mistaken(prompt, evidence, named.get(prompt.label), np.concatenate(others))
            taught = add_negatives(prompt, mistaken, now_s) if len(mistaken) else prompt
            if taught is not prompt:
                better.append(taught)
        if better:
            banks.upsert(self._store, craft, better, now_s)
        return bool(better)

    def _issue(self, twin: Student, craft: str, evidence: Evidence, finding: Finding) -> Outcome:
        space = twin.manifest.space_id
        bank = self._store.bank(craft).prompts
        held = [p for p in bank if p.label == finding.label and p.space_id == space]
        if finding.origin == "teacher" and held and replay(tuple(held), evidence, finding).is_perfect:
            return Outcome("enough")
        prompt = self.draft(twin, craft, evidence, finding)
        outcome = self._put_in_force(craft, prompt, self.clock.wall_s())
        told = _doubts(replay((prompt,), evidence, finding), finding)
        return replace(outcome, reason="; ".join(filter(None, (outcome.reason, *told))))

    def draft(
        self, twin: Student, craft: str, evidence: Evidence, finding: Finding, before: Sequence[Prompt] = ()
    ) -> Prompt:
        """The prompt that a finding would become, merged with what the craft holds; in force nowhere.

        Args:
            twin: the craft's student.
            craft: whose case it was.
            evidence: what the twin sees in it.
            finding: what is there.
            before: further prompts to take for held, such as the draft of the same case's picture before.

        Raises:
            PromptRefused: it would not help, or contradicts one in force.
        """
        prompt_id, now_s = prompt_id_for(craft, finding), self.clock.wall_s()
        issued_at_s = now_s if finding.said_at_s is None else finding.said_at_s
        bank = {p.prompt_id: p for p in (*self._store.bank(craft).prompts, *before)}
        background = tuple(self._recent(craft, twin.manifest.space_id))
        shunned = negative_views(twin, evidence, finding)

        def made(settings: PromptSettings) -> Prompt:
            prompt = build_prompt(twin, evidence, finding, background, (prompt_id, issued_at_s), settings)
            old = bank.get(prompt_id)
            if old is not None and (old.label, old.space_id) == (prompt.label, prompt.space_id):
                near = evidence.seen.embeddings[false_rows(evidence, finding)]
                prompt = merge_prompts(old, prompt, (*background, near), settings)
            return shun(prompt, shunned, issued_at_s) if len(shunned) else prompt

        prompt = made(self._settings) if not len(shunned) else self._least_fooled(made, evidence, finding)
        _check_consistent(prompt, [p for p in bank.values() if p.expires_at_s is None or p.expires_at_s > now_s])
        return prompt

    def _least_fooled(self, made: Callable[[PromptSettings], Prompt], evidence: Evidence, finding: Finding) -> Prompt:
        """Of both forms of a prompt the one that hard negatives fool less, then that which finds more."""
        forms: tuple[Literal["prototypes", "direction"], ...] = ("prototypes", "direction")
        tried: list[tuple[int, int, Prompt]] = []
        refusals: list[PromptRefused] = []
        for form in forms if self._settings.form == "replayed" else (self._settings.form,):
            try:
                prompt = made(self._settings.model_copy(update={"form": form}))
            except PromptRefused as exc:
                refusals.append(exc)
                continue
            told = replay((prompt,), evidence, finding)
            tried.append((int(told.found.sum()) - int(told.fooled.sum()), -len(told.false_rows), prompt))
        if not tried:
            raise refusals[0]
        return max(tried, key=lambda found: found[:2])[2]

    def _put_in_force(self, craft: str, prompt: Prompt, now_s: float) -> Outcome:
        """Issue a prompt; a full bank says which one gave way, if it is not this one."""
        before = self._store.bank(craft).prompts
        if prompt.scope == "craft":
            crafts = [craft] if banks.holds(banks.upsert(self._store, craft, [prompt], now_s), prompt) else []
        else:
            crafts = banks.share(self._store, prompt, now_s)
        after = {p.prompt_id for p in self._store.bank(craft).prompts}
        if not crafts:
            raise PromptRefused(
                f"the bank of {craft} is full with {len(after)} prompts that are worth more (alive, of higher "
                "priority, a person's, surer, newer): take one back (skyloop-cloud prompts revoke)"
            )
        gone = [f"{p.prompt_id} ({p.label})" for p in before if p.prompt_id not in after]
        reason = f"the bank of {craft} is full: {', '.join(gone)} gave way" if gone else ""
        return Outcome("issued", reason, tuple(crafts))


def prompt_id_for(craft: str, finding: Finding) -> str:
    """The id of the one prompt that a label has per origin and craft, or per origin and wider scope."""
    return prompt_id_of(craft, finding.label, finding.origin, finding.scope)


def prompt_id_of(craft: str, label: str, origin: str, scope: str) -> str:
    """The same of a finding that is not at hand."""
    owner = craft if scope == "craft" else f"/{scope}"
    digest = hashlib.sha256(f"{owner}\n{label}".encode()).hexdigest()
    return f"{origin}-{digest[:16]}"


def _check_consistent(prompt: Prompt, held: list[Prompt]) -> None:
    """Refuse what another label's prompt says of the same vectors; a person may, and silences the teacher's."""
    rival = contradicted_by(prompt, held)
    if rival is not None and (prompt.origin, rival.origin) != ("person", "teacher"):
        raise PromptRefused(contradiction(prompt, rival))


def _mistaken(prompt: Prompt, evidence: Evidence, own: Boxes | None, others: Boxes) -> FloatArray:
    """(K, D) embeddings of what a prompt finds where the teacher names something else."""
    none = np.zeros((0, 4), np.float32)
    finding = Finding(prompt.label, none, none if own is None else own, "teacher", 0.0, "craft", "")
    rows = replay((prompt,), evidence, finding).false_rows
    overlap = box_iou(evidence.seen.boxes_xyxy[rows], others)
    confused = rows[overlap.max(axis=1, initial=0.0) >= _NAMED_IOU]
    return np.asarray(evidence.seen.embeddings[confused], dtype=np.float32)


def _doubts(found: Replay, finding: Finding) -> list[str]:
    """What a person should know of a prompt that is issued all the same."""
    told = []
    if len(finding.boxes_xyxy) and not found.found.any() and not found.relevant:
        told.append("it finds nothing yet: the craft sees no object in what you drew, box one where it is larger")
    if fooled := int(found.fooled.sum()):
        told.append(f"{fooled} of {len(finding.negatives_xyxy)} hard negatives still look like it")
    return told
