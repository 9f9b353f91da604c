"""Battery, sun and heat of one craft, stepped through simulated time.

Energy goes to the craft itself (`base_w`: hovering or the satellite bus), to the compute module (idle, and busy for the
seconds an inference takes), to each frame and to each byte sent. The module's heat goes through one heat capacity and
one conductance to surroundings of constant temperature; above a limit it is throttled: slower, and drawing less.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from edge.config import Settings
from sim.craft.jetson import POWER_MODES, PowerMode

J_PER_WH = 3600.0


class ComputeSettings(Settings):
    """The module that runs the student.

    Attributes:
        mode: a name in `jetson.POWER_MODES`.
        idle_w: drawn between inferences; measure it on the module.
        load_share: share of the mode's budget drawn during an inference; the budget is a cap, not a measurement.
        inference_s: of one frame when cool.
        frame_j: camera and decoding, for each frame.
    """

    mode: str = "orin-nano-15w"
    idle_w: float = Field(default=4.0, ge=0)
    load_share: float = Field(default=0.8, gt=0, le=1)
    inference_s: float = Field(default=0.05, gt=0, le=3600)
    frame_j: float = Field(default=0.5, ge=0)

    @field_validator("mode")
    @classmethod
    def _known(cls, mode: str) -> str:
        if mode not in POWER_MODES:
            raise ValueError(f"unknown power mode; choose one of {', '.join(POWER_MODES)}")
        return mode

    @model_validator(mode="after")
    def _busy_is_more(self) -> Self:
        if self.idle_w > self.busy_w:
            raise ValueError(f"idle_w {self.idle_w:g} is above the {self.busy_w:g} W of an inference; lower it")
        return self

    @property
    def power_mode(self) -> PowerMode:
        """What the vendor says of the mode."""
        return POWER_MODES[self.mode]

    @property
    def busy_w(self) -> float:
        """Drawn during an inference when cool."""
        return self.load_share * self.power_mode.budget_w


class BatterySettings(Settings):
    """The battery and what fills and empties it besides the module.

    Attributes:
        capacity_wh: when full.
        start_share: charge at the start, of the capacity.
        base_w: drawn by everything else all the time: hovering, or the satellite bus.
        byte_j: radio energy for each byte sent.
        solar_w: of the panels in sunlight; 0 is none.
        charge_efficiency: share of the panels' energy that arrives in the battery.
    """

    capacity_wh: float = Field(default=80.0, gt=0)
    start_share: float = Field(default=1.0, ge=0, le=1)
    base_w: float = Field(default=10.0, ge=0)
    byte_j: float = Field(default=2e-6, ge=0)
    solar_w: float = Field(default=0.0, ge=0)
    charge_efficiency: float = Field(default=0.9, gt=0, le=1)


class ThermalSettings(Settings):
    """A first-order model of the module's heat, and when it is throttled.

    Attributes:
        heat_capacity_j_per_k: of module and heat sink together.
        conductance_w_per_k: to the surroundings.
        ambient_deg_c: of the surroundings; for a satellite, of the structure the module is bolted to.
        limit_deg_c: throttled from here up; take it from the module's thermal design guide.
        hysteresis_k: released so far below the limit.
        slowdown: an inference takes so many times longer when throttled.
        power_share: and draws this share of its power, but never less than idle.
    """

    heat_capacity_j_per_k: float = Field(default=250.0, gt=0)
    conductance_w_per_k: float = Field(default=0.35, gt=0)
    ambient_deg_c: float = 25.0
    limit_deg_c: float = 85.0
    hysteresis_k: float = Field(default=8.0, ge=0)
    slowdown: float = Field(default=2.0, ge=1)
    power_share: float = Field(default=0.5, gt=0, le=1)

    @model_validator(mode="after")
    def _can_cool(self) -> Self:
        if self.ambient_deg_c >= self.limit_deg_c - self.hysteresis_k:
            raise ValueError(
                f"ambient_deg_c {self.ambient_deg_c:g} is not below limit_deg_c - hysteresis_k "
                f"{self.limit_deg_c - self.hysteresis_k:g}: a throttled module would never be released"
            )
        return self


class PowerSettings(Settings):
    """Everything `PowerState` needs."""

    compute: ComputeSettings = ComputeSettings()
    battery: BatterySettings = BatterySettings()
    thermal: ThermalSettings = ThermalSettings()


@dataclass(frozen=True)
class Work:
    """What a craft did in one step.

    Attributes:
        frames: captured.
        inferences: run.
        sent_bytes: by radio.
        is_sunlit: whether the panels saw the sun.
    """

    frames: int = 0
    inferences: int = 0
    sent_bytes: int = 0
    is_sunlit: bool = False


class PowerState:
    """Charge and temperature of one craft, and sums since the start.

    What fills the battery is what it took: `used_wh` = `start_wh` - `charge_wh` + `charged_wh` + `unmet_wh`.

    Attributes:
        charge_wh: in the battery now, 0 to its capacity.
        least_wh: least there was.
        used_wh: consumed, with what could not be met.
        charged_wh: taken in from the sun or by a change of battery.
        spilled_wh: offered by the panels to a full battery.
        unmet_wh: asked of an empty battery.
        temperature_deg_c: of the module.
        is_throttled: whether it runs slower now.
    """

    def __init__(self, settings: PowerSettings) -> None:
        """A craft at the temperature of its surroundings."""
        self.settings = settings
        self.start_wh = settings.battery.start_share * settings.battery.capacity_wh
        self.charge_wh = self.least_wh = self.start_wh
        self.used_wh = self.charged_wh = self.spilled_wh = self.unmet_wh = 0.0
        self.temperature_deg_c = settings.thermal.ambient_deg_c
        self.is_throttled = False

    @property
    def share(self) -> float:
        """Charge of the capacity, 0 to 1."""
        return self.charge_wh / self.settings.battery.capacity_wh

    @property
    def inference_s(self) -> float:
        """Seconds that an inference takes now."""
        thermal = self.settings.thermal
        return self.settings.compute.inference_s * (thermal.slowdown if self.is_throttled else 1.0)

    @property
    def busy_w(self) -> float:
        """Power of the module during an inference now."""
        compute, thermal = self.settings.compute, self.settings.thermal
        if not self.is_throttled:
            return compute.busy_w
        return max(compute.busy_w * thermal.power_share, compute.idle_w)

    def step(self, dt_s: float, work: Work) -> None:
        """Let time pass.

        Args:
            dt_s: seconds, > 0. The inferences of the step are charged to it even where the last one runs on.
            work: what was done meanwhile.
        """
        compute, battery = self.settings.compute, self.settings.battery
        module_j = compute.idle_w * dt_s + (self.busy_w - compute.idle_w) * self.inference_s * work.inferences
        other_j = battery.base_w * dt_s + compute.frame_j * work.frames + battery.byte_j * work.sent_bytes
        offered_j = battery.solar_w * battery.charge_efficiency * dt_s if work.is_sunlit else 0.0
        self._balance((module_j + other_j) / J_PER_WH, offered_j / J_PER_WH)
        self._heat(module_j / dt_s, dt_s)

    def swap_battery(self) -> None:
        """Put in a full battery; the difference counts as charged."""
        self.charged_wh += self.settings.battery.capacity_wh - self.charge_wh
        self.charge_wh = self.settings.battery.capacity_wh

    def _balance(self, used_wh: float, offered_wh: float) -> None:
        wanted = self.charge_wh + offered_wh - used_wh
        self.charge_wh = min(max(wanted, 0.0), self.settings.battery.capacity_wh)
        spilled_wh = max(wanted - self.charge_wh, 0.0)
        self.used_wh += used_wh
        self.charged_wh += offered_wh - spilled_wh
        self.spilled_wh += spilled_wh
        self.unmet_wh += max(self.charge_wh - wanted, 0.0)
        self.least_wh = min(self.least_wh, self.charge_wh)

    def _heat(self, module_w: float, dt_s: float) -> None:
        """The exact solution of C dT/dt = P - G (T - ambient) for constant P, stable for any step."""
        thermal = self.settings.thermal
        settled = thermal.ambient_deg_c + module_w / thermal.conductance_w_per_k
        decay = math.exp(-dt_s * thermal.conductance_w_per_k / thermal.heat_capacity_j_per_k)
        self.temperature_deg_c = settled + (self.temperature_deg_c - settled) * decay
        if self.temperature_deg_c >= thermal.limit_deg_c:
            self.is_throttled = True
        elif self.temperature_deg_c <= thermal.limit_deg_c - thermal.hysteresis_k:
            self.is_throttled = False
