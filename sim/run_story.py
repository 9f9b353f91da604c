"""The flight of one craft as a run's report tells it: its record, its poses, and what happened when."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sim.craft.camera import Camera, CameraPose
from sim.craft.power import PowerSettings
from sim.flying import CraftFlight, Mission
from sim.ground_map import pose_of
from sim.operator import Given
from sim.power_curve import PowerCurve, power_curve
from sim.recall_curves import LabelRecall, Stray, label_recalls, learned_labels, strays
from sim.record import BankSeen, FlightRecord
from sim.scenario import Event, Scenario
from sim.scenario.events import Appear, Fog, Hide, Rain
from sim.timetable import link_spans

LANES = ("world", "faults", "link", "cases", "answers", "prompts")
"""What happens, told apart; the order of a timeline from top to bottom."""


@dataclass(frozen=True)
class Happening:
    """One thing that happened.

    Attributes:
        lane: one of `LANES`.
        at_s: seconds of flight.
        end_s: where it lasted.
        words: what it was.
        is_named: whether a timeline has room for its words.
    """

    lane: str
    at_s: float
    end_s: float | None
    words: str
    is_named: bool = False


@dataclass(frozen=True)
class CraftStory:
    """One craft of a run.

    Attributes:
        name: of the craft.
        scenario: that was flown.
        record: what the flight left.
        poses: told pose of each frame by its index, where known.
        answers: of the operator to this craft's cases, with their second of the clock.
    """

    name: str
    scenario: Scenario
    record: FlightRecord
    poses: Mapping[int, CameraPose]
    answers: Sequence[tuple[float, Given]] = ()

    @cached_property
    def camera(self) -> Camera:
        """The craft's camera."""
        seen = next(craft.camera for craft in self.scenario.craft if craft.name == self.name)
        return Camera(seen.focal_px, seen.width, seen.height)

    @property
    def is_pose_noisy(self) -> bool:
        """Whether the craft was told wrong poses on purpose."""
        flight = next(craft.flight for craft in self.scenario.craft if craft.name == self.name)
        return bool(flight.pose_noise_m or flight.pose_noise_deg or flight.pose_latency_ms)

    @cached_property
    def recalls(self) -> list[LabelRecall]:
        """Recall of every label that counts."""
        return label_recalls(self.record)

    @cached_property
    def learned(self) -> list[str]:
        """Labels that a prompt taught, in order."""
        return learned_labels(self.record)

    @cached_property
    def strays(self) -> list[Stray]:
        """Labels reported though nothing of the kind counts."""
        return strays(self.record, [item.label for item in self.recalls])

    @property
    def unscored(self) -> list[str]:
        """Learned labels without a recall: the truth of this craft's frames holds none of them."""
        scored = {item.label for item in self.recalls}
        return [label for label in self.learned if label not in scored]

    @property
    def labels(self) -> list[str]:
        """Every label that the page shows of this craft: those taught first, then the most frequent ones."""
        shown = [*(item.label for item in self.recalls), *(item.label for item in self.strays)]
        return list(dict.fromkeys([*self.learned, *shown]))

    @property
    def power_settings(self) -> PowerSettings:
        """Of the craft's battery and module."""
        return next(craft.power for craft in self.scenario.craft if craft.name == self.name)

    @cached_property
    def power(self) -> PowerCurve:
        """The estimate of its power."""
        return power_curve(self.record, self.scenario.seconds, self.power_settings)

    def link_spans(self, until_s: float | None = None) -> list[tuple[float, float]]:
        """When the link was up, in recorded seconds up to a moment; None is the end of the flight."""
        last_s = self.scenario.seconds if until_s is None else until_s
        found = [
            (self._recorded_s(start), last_s if math.isinf(end) else min(self._recorded_s(end), last_s))
            for start, end in link_spans(self.scenario, self.name)
        ]
        return [(start, end) for start, end in found if start < end]

    def link_words(self) -> str:
        """How long there was a link, as one sentence."""
        spans, seconds = link_spans(self.scenario, self.name), self.scenario.seconds
        if not spans:
            return f"There was no link: the scenario keeps it down for all of its {seconds:g} s."
        if spans == [(0.0, math.inf)]:
            return "The link was up all the time."
        up_s = sum(min(end, seconds) - start for start, end in spans)
        return f"The link was up for {up_s:g} s of {seconds:g} s."

    def _recorded_s(self, clock_s: float) -> float:
        """Where something that follows the clock stands among the frames."""
        return round(float(self.record.recorded_s(clock_s)), 3)

    def happenings(self) -> list[Happening]:
        """Everything worth a mark, by time."""
        found = [*self._world(), *self._faults(), *self._link(), *self._cases(), *self._answers(), *self._prompts()]
        return sorted(found, key=lambda item: (item.at_s, LANES.index(item.lane)))

    def _world(self) -> Iterator[Happening]:
        for event in self.scenario.event:
            length_s = _length_s(event)
            yield Happening("world", event.at_s, length_s and event.at_s + length_s, _words(event), is_named=True)

    def _faults(self) -> Iterator[Happening]:
        for fault in self.scenario.fault:
            if getattr(fault, "craft", None) in (None, self.name):
                words = f"{fault.kind.replace('-', ' ')}, {fault.for_s:g} s"
                begin_s, end_s = self._recorded_s(fault.at_s), self._recorded_s(fault.at_s + fault.for_s)
                yield Happening("faults", begin_s, end_s, words, is_named=True)

    def _link(self) -> Iterator[Happening]:
        for start, end in self.link_spans():
            yield Happening("link", start, end, f"up until {round(end, 1):g} s")

    def _cases(self) -> Iterator[Happening]:
        answered = {case_id for bank in self.record.banks for case_id in bank.case_ids}
        for frame in self.record.frames:
            if frame.case_id is not None:
                ending = "answered with a prompt" if frame.case_id in answered else "no prompt came of it"
                yield Happening("cases", frame.time_s, None, f"case {frame.case_id[:8]} taken, {ending}")

    def _answers(self) -> Iterator[Happening]:
        for at_s, given in self.answers:
            wrong = ", wrong on purpose" if given.is_error else ""
            boxes = "1 box" if given.boxes == 1 else f"{given.boxes} boxes"
            outcome = given.outcome.removeprefix("skyloop-cloud review: ")
            words = f"operator: {given.label} ({boxes}{wrong}) to case {given.case_id[:8]}: {outcome}"
            yield Happening("answers", self._recorded_s(at_s), None, words)

    def _prompts(self) -> Iterator[Happening]:
        seen: set[str] = set()
        for bank in self.record.banks:
            at_s = in_force_s(self.record, bank)
            if at_s is None or not bank.labels:
                continue
            new = [label for label in dict.fromkeys(bank.labels) if label not in seen]
            seen.update(new)
            words = f"first prompt: {', '.join(new)}" if new else f"bank revision {bank.revision} in force"
            yield Happening("prompts", at_s, None, words, is_named=bool(new))


def stories_of(mission: Mission) -> list[CraftStory]:
    """The flights of a mission that is over.

    Raises:
        RecordError: a craft left nothing that can be read.
    """
    return [_story(mission, craft) for craft in mission.craft]


def _story(mission: Mission, craft: CraftFlight) -> CraftStory:
    name = craft.folder.name
    answers = [(mission.flight_s(given), given) for given in mission.given if given.craft == name]
    return CraftStory(name, mission.scenario, craft.record(), read_poses(craft.folder.flight), answers)


def read_poses(flight: Path) -> dict[int, CameraPose]:
    """The told poses of a rendered flight by frame index, where known."""
    poses = {}
    for line in (flight / "frames.jsonl").read_text().splitlines():
        record = json.loads(line)
        if (pose := pose_of(record.get("pose"))) is not None:
            poses[int(record["index"])] = pose
    return poses


def in_force_s(record: FlightRecord, bank: BankSeen) -> float | None:
    """Second of flight from which a bank revision was in force; None where it never was."""
    return next((frame.time_s for frame in record.frames if frame.bank_revision >= bank.revision), None)


def _length_s(event: Event) -> float | None:
    if isinstance(event, Hide):
        return event.for_s
    return event.over_s if isinstance(event, Fog | Rain) else None


def _words(event: Event) -> str:
    if isinstance(event, Appear):
        return f"{event.object} appears, {event.count} of it"
    return {"hide": "vehicle hides", "fog": "fog comes", "rain": "rain sets in"}.get(event.kind, event.kind)
