"""A scripted person at the cloud's command line: lists the open cases, thinks for a while, and answers.

The person uses the very commands an analyst would; what the person sees in a picture is the truth that was rendered.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import structlog
from typing_extensions import Self

from distill.dataset import LabelledImage
from sim.errors import ProcessError
from sim.processes import ask_program
from sim.scenario.conditions import OperatorSettings
from sim.scripted_answers import Answer, as_decided, decisions, true_answer

log = structlog.get_logger()

LOOK_EVERY_S = 2.0
"""Every look is a program of its own, a second of one core: no more of them than a patient person takes."""

REVIEWER = "scripted-person"
Truth = Callable[[str, Mapping[str, Any]], "LabelledImage | None"]
"""Truth of the frame that a case of a craft shows: (craft, one record of `skyloop-cloud cases --json`)."""


@dataclass(frozen=True)
class Given:
    """One answer as it was given.

    Attributes:
        case_id: of the case.
        craft: who had asked.
        label: as answered.
        boxes: how many.
        is_error: whether the label is wrong on purpose.
        at_s: seconds since the person began.
        outcome: what the cloud said to it.
    """

    case_id: str
    craft: str
    label: str
    boxes: int
    is_error: bool
    at_s: float
    outcome: str


class Operator:
    """The person; `look` is one round, entering the context begins rounds in a thread."""

    def __init__(
        self, settings: OperatorSettings, seed: int, data: Path, truth: Truth, mistakes: tuple[str, ...] = ()
    ) -> None:
        """Sit down.

        Args:
            settings: how fast, how right, what known.
            seed: of the decisions.
            data: the cloud's data folder.
            truth: of every case.
            mistakes: labels that a wrong answer may have, beside the known ones.
        """
        self.given: list[Given] = []
        self._settings, self._data, self._truth = settings, data, truth
        self._mistakes = (*settings.labels, *mistakes)
        self._decisions = decisions(settings, seed)
        self._seen_s: dict[tuple[str, str], float] = {}
        self._settled: set[tuple[str, str]] = set()
        self._begin_s = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="scripted-person", daemon=True)

    def __enter__(self) -> Self:
        """The person at work."""
        self._begin_s = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the person finish the command in hand and go."""
        self._stop.set()
        self._thread.join()

    def look(self, now_s: float) -> None:
        """List the open cases once, and answer those that were listed long enough ago, the oldest first.

        Args:
            now_s: seconds since the person began.

        Raises:
            ProcessError: the cases cannot be listed.
        """
        listed = json.loads(ask_program("skyloop-cloud", "cases", "--json", "--data", str(self._data)))
        for case in reversed(listed):
            key = (case["craft"], case["case_id"])
            since_s = self._seen_s.setdefault(key, now_s)
            if key not in self._settled and now_s - since_s >= self._settings.delay_s and not self._stop.is_set():
                self._settled.add(key)
                self._answer(case, now_s)

    def _work(self) -> None:
        while not self._stop.wait(LOOK_EVERY_S):
            try:
                self.look(time.monotonic() - self._begin_s)
            except ProcessError as exc:
                log.warning("the scripted person cannot list cases", reason=str(exc))

    def _answer(self, case: Mapping[str, Any], now_s: float) -> None:
        truth = self._truth(case["craft"], case)
        labels, on_edge = self._settings.labels, case["labels_on_edge"]
        true = true_answer(truth, case["regions_xyxy"], labels, on_edge) if truth else None
        if true is None:
            return
        decision = next(self._decisions)
        answer = as_decided(true, decision, self._mistakes)
        try:
            outcome = self._review(case["case_id"], answer)
        except ProcessError as exc:  # the answer is kept even where no prompt could be made of it
            outcome = str(exc)
        given = Given(
            case["case_id"], case["craft"], answer.label, len(answer.boxes_xywh), decision.is_error, now_s, outcome
        )
        self.given.append(given)

    def _review(self, case_id: str, answer: Answer) -> str:
        words = ["review", case_id, "--label", answer.label, "--scope", self._settings.scope, "--reviewer", REVIEWER]
        for box in answer.boxes_xywh:
            words += ["--box", ",".join(f"{value:g}" for value in box)]
        return ask_program("skyloop-cloud", *words, "--data", str(self._data)).strip()
