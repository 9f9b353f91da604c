"""The cloud of a mission: it stores cases, answers them after a while, and issues prompts."""

from __future__ import annotations

from sim.mission.agenda import Agenda
from sim.mission.craft import MissionCraft
from sim.mission.events import EventLog
from sim.mission.radio import PromptOnItsWay
from sim.mission.scene import PLAIN
from sim.mission.settings import CloudSettings
from sim.mission.spool import MissionCase


class MissionCloud:
    """Answers every case once; a kind that the craft was already sent a prompt for gives no second one.

    Attributes:
        answered: cases, by anyone.
        by_person: of them, those that a person looked at.
    """

    def __init__(self, settings: CloudSettings, agenda: Agenda, log: EventLog) -> None:
        self.answered = self.by_person = 0
        self._settings, self._agenda, self._log = settings, agenda, log
        self._issued: set[tuple[str, int]] = set()

    def serve(self, craft: MissionCraft) -> None:
        """Take this craft's cases from now on."""
        craft.radio.on_stored = lambda case, now_s: self._store(craft, case, now_s)

    def _store(self, craft: MissionCraft, case: MissionCase, now_s: float) -> None:
        self._log.add(now_s, craft.name, "case_stored", case_id=case.case_id, after_s=now_s - case.captured_s)
        number = craft.radio.pass_number
        answer_s = now_s + craft.captures.answer_s[case.capture]
        self._agenda.at(answer_s, lambda at_s: self._answer(craft, case, number, at_s))

    def _answer(self, craft: MissionCraft, case: MissionCase, pass_number: int, now_s: float) -> None:
        drawn, kind = craft.captures, craft.captures.kind[case.capture]
        is_person = drawn.is_person[case.capture]
        is_known = (craft.name, kind) in self._issued
        gives_prompt = kind != PLAIN and drawn.gives_prompt[case.capture] and not is_known
        self.answered += 1
        self.by_person += is_person
        self._log.add(
            now_s, craft.name, "case_answered", case_id=case.case_id, origin="person" if is_person else "teacher",
            gives_prompt=gives_prompt,
        )  # fmt: skip
        if gives_prompt:
            self._issued.add((craft.name, kind))
            prompt = PromptOnItsWay(case, kind, self._settings.prompt_bytes, pass_number)
            craft.radio.queue_prompt(prompt, now_s)
