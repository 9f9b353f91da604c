"""One craft of a mission: captures, decisions, the spool, the prompts it holds, its battery and heat."""

from __future__ import annotations

from dataclasses import dataclass

from edge.scheduler import CasePace
from sim.craft.power import PowerState, Work
from sim.mission.agenda import Agenda
from sim.mission.ephemeris import Ephemeris
from sim.mission.events import EventLog
from sim.mission.radio import PromptOnItsWay, Radio
from sim.mission.scene import PLAIN, Captures
from sim.mission.settings import ProfileSettings
from sim.mission.spool import MissionCase, MissionSpool


@dataclass
class CraftCounts:
    """What became of the ticks of a craft's camera; `captures` and the next three add up to them.

    Attributes:
        captures: pictures taken and run through the student.
        dark: not taken for want of light.
        resting: not taken to save the battery, or because the drone had landed.
        skipped: not taken because the inference before was not done.
        hard: captures at or above the scheduler's `min_hardness`.
        explained: captures of a strange kind that a prompt explained.
        cases: made of hard captures.
    """

    captures: int = 0
    dark: int = 0
    resting: int = 0
    skipped: int = 0
    hard: int = 0
    explained: int = 0
    cases: int = 0


@dataclass(frozen=True)
class Sample:
    """One point of a craft's history: seconds, charge and spool."""

    time_s: float
    battery_share: float
    spool_bytes: int
    temperature_deg_c: float


class MissionCraft:
    """A craft that lives through a mission, tick by tick of its camera.

    Attributes:
        name, profile_name, profile, captures, spool, radio, power, pace: its parts.
        counts: see `CraftCounts`.
        held: strange kinds that it has a prompt for.
        latencies_s: from capture to prompt, in order of arrival.
        same_window: prompts that came in the window in which their case left.
        samples: its history, at most about 1,400 points.
        max_temperature_deg_c: of the compute module.
        throttled_s: how long it was throttled.
    """

    def __init__(
        self,
        names: tuple[str, str],
        profile: ProfileSettings,
        ephemeris: Ephemeris,
        captures: Captures,
        clock: tuple[Agenda, EventLog],
    ) -> None:
        """A craft at the start of its first tick.

        Args:
            names: its own and that of its profile.
            profile: what its kind has in common.
            ephemeris: where and in which light each capture is taken.
            captures: what each shows.
            clock: the mission's agenda and log.
        """
        self.name, self.profile_name = names
        self.profile, self.captures = profile, captures
        self._agenda, self._log = clock
        self._ephemeris = ephemeris
        self.spool = MissionSpool(profile.spool)
        self.radio = Radio(self.name, *clock, self.spool)
        self.radio.on_prompt = self._apply
        self.power = PowerState(profile.power)
        # Planned contacts are told in real time, and here the clock is virtual: the orbits tell them.
        self.pace = CasePace(profile.scheduler.model_copy(update={"contacts": ()}))
        self.counts = CraftCounts()
        self.held: set[int] = set()
        self.latencies_s: list[float] = []
        self.same_window = 0
        self.throttled_s = 0.0
        self.samples: list[Sample] = []
        self.max_temperature_deg_c = self.power.temperature_deg_c
        self._asked_s: dict[int, float] = {}
        self._tick = self._frames = 0
        self._stepped_s = self._busy_until_s = 0.0
        self._accounted_bytes = 0
        self._is_resting = self._is_landed = False
        self._sample_every = max(len(ephemeris.can_see) // 720, 1)
        self._agenda.at(0.0, self.tick)

    def tick(self, now_s: float) -> None:
        """Account for the time since the last tick, then take a picture if that can be."""
        index, self._tick = self._tick, self._tick + 1
        self.step_power(now_s, self._ephemeris.is_sunlit[index])
        if index % self._sample_every == 0:
            self.sample(now_s)
        if self._is_resting:
            self.counts.resting += 1
        elif not self._ephemeris.can_see[index]:
            self.counts.dark += 1
        elif self._busy_until_s > now_s:
            self.counts.skipped += 1
        else:
            self._capture(index, now_s)
        if self._tick < len(self._ephemeris.can_see):
            self._agenda.at(self._tick * self.profile.camera.capture_every_s, self.tick)

    def step_power(self, now_s: float, is_sunlit: bool) -> None:
        """Bring battery and heat up to now."""
        dt_s, self._stepped_s = now_s - self._stepped_s, now_s
        if dt_s <= 0 or self._is_landed:
            return
        sent_bytes = self.radio.counts.sent_bytes - self._accounted_bytes
        self._accounted_bytes += sent_bytes
        was_throttled, was_empty = self.power.is_throttled, self.power.charge_wh == 0.0
        self.power.step(dt_s, Work(self._frames, self._frames, sent_bytes, is_sunlit))
        self._frames = 0
        self.throttled_s += dt_s * was_throttled
        self.max_temperature_deg_c = max(self.max_temperature_deg_c, self.power.temperature_deg_c)
        if self.power.is_throttled != was_throttled:
            kind = "throttled" if self.power.is_throttled else "cooled"
            self._log.add(now_s, self.name, kind, temperature_deg_c=self.power.temperature_deg_c)
        if self.power.charge_wh == 0.0 and not was_empty:
            self._log.add(now_s, self.name, "battery_empty")
        self._rest_or_go_on(now_s)

    def sample(self, now_s: float) -> None:
        """Note one point of the history."""
        self.samples.append(Sample(now_s, self.power.share, self.spool.total_bytes, self.power.temperature_deg_c))

    def _rest_or_go_on(self, now_s: float) -> None:
        rest, share = self.profile.rest, self.power.share
        if not self._is_resting and share <= rest.below_share:
            self._is_resting = True
            self._log.add(now_s, self.name, "resting", battery_share=share)
            if rest.swap_s is not None:
                self._is_landed = True
                self._agenda.at(now_s + rest.swap_s, self._take_off)
        elif self._is_resting and not self._is_landed and share >= rest.until_share:
            self._is_resting = False
            self._log.add(now_s, self.name, "working", battery_share=share)

    def _take_off(self, now_s: float) -> None:
        self.power.swap_battery()
        self._is_resting = self._is_landed = False
        self._stepped_s = now_s
        self._log.add(now_s, self.name, "battery_swapped")

    def _capture(self, index: int, now_s: float) -> None:
        self.counts.captures += 1
        self._frames += 1
        self._busy_until_s = now_s + self.power.inference_s
        kind = self.captures.kind[index]
        is_explained = kind in self.held
        hardness = (self.captures.explained_hardness if is_explained else self.captures.hardness)[index]
        self.counts.explained += is_explained
        self.counts.hard += hardness >= self.profile.scheduler.min_hardness
        if self.pace.allows(now_s, hardness, self._is_new(kind, is_explained, now_s)):
            self._make_case(index, now_s, hardness)

    def _is_new(self, kind: int, is_explained: bool, now_s: float) -> bool:
        """The scheduler's cooldown: the same strange kind is not asked about twice within it."""
        asked_s = None if kind == PLAIN or is_explained else self._asked_s.get(kind)
        return asked_s is None or now_s - asked_s >= self.profile.scheduler.cooldown_s

    def _make_case(self, index: int, now_s: float, hardness: float) -> None:
        ttl_s, payload_bytes = self.profile.scheduler.ttl_s, self.captures.payload_bytes[index]
        deadline_s = None if ttl_s is None else now_s + ttl_s
        seq = self.counts.cases
        case = MissionCase(f"{self.name}-{seq:06d}", index, hardness, payload_bytes, now_s, deadline_s, seq)
        self.counts.cases += 1
        self.pace.spend(now_s, payload_bytes)
        self._asked_s[self.captures.kind[index]] = now_s
        track = self._ephemeris.track
        self._log.add(
            now_s, self.name, "case_made", case_id=case.case_id, hardness=hardness, payload_bytes=payload_bytes,
            lat_deg=float(track.lat_deg[index]), lon_deg=float(track.lon_deg[index]),
            gsd_m=self.profile.camera.imager.ground_sample(float(track.height_m[index])).gsd_m,
        )  # fmt: skip
        for late in self.spool.expire(now_s):
            self._log.add(now_s, self.name, "case_expired", case_id=late.case_id)
        for dropped in self.spool.put(case):
            self._log.add(now_s, self.name, "case_dropped", case_id=dropped.case_id, hardness=dropped.value)
        self.radio.next_case(now_s)

    def _apply(self, prompt: PromptOnItsWay, now_s: float) -> None:
        self.held.add(prompt.kind)
        latency_s = now_s - prompt.case.captured_s
        self.latencies_s.append(latency_s)
        is_same = prompt.pass_number == self.radio.pass_number
        self.same_window += is_same
        self._log.add(
            now_s, self.name, "prompt_applied", case_id=prompt.case.case_id, strange_kind=prompt.kind,
            latency_s=latency_s, is_same_window=is_same,
        )  # fmt: skip
