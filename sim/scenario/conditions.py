"""What stands between craft and knowledge: link, byte budget, teacher, operator, and what breaks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cloud.review_shelf import Scope
from edge.config import Settings
from sim.scenario.events import Duration, Moment

Rate = Annotated[float, Field(ge=1_000, le=1e9)]
Label = Annotated[str, Field(min_length=1, max_length=64)]


class LinkProfile(Settings):
    """The link of every craft.

    Attributes:
        edge_to_cloud_bps: bits per second; what follows on the wire counts, encryption included.
        cloud_to_edge_bps: the other way.
        latency_ms: one way.
        jitter_ms: each packet may come so much later, never before an earlier one.
        loss: share of packets that TCP has to send again: they, and all behind them, come later.
        bit_error_rate: share of bits that arrive flipped, unnoticed by TCP.
        windows: seconds of flight during which the link is up, `[[from_s, to_s], ...]`; empty is always.
    """

    edge_to_cloud_bps: Rate = 8_000_000.0
    cloud_to_edge_bps: Rate = 16_000_000.0
    latency_ms: float = Field(default=20.0, ge=0, le=5000)
    jitter_ms: float = Field(default=0.0, ge=0, le=5000)
    loss: float = Field(default=0.0, ge=0, le=0.5)
    bit_error_rate: float = Field(default=0.0, ge=0, le=1e-2)
    windows: tuple[tuple[Moment, Moment], ...] = ()


class Budget(Settings):
    """Bytes of imagery that a craft may spend.

    Attributes:
        bytes_per_s: long-run mean.
        burst_bytes: how much unspent budget may pile up.
    """

    bytes_per_s: float = Field(default=20_000.0, gt=0, le=1e9)
    burst_bytes: float = Field(default=120_000.0, gt=0, le=1e9)


class TeacherChoice(Settings):
    """Who answers cases first.

    Attributes:
        name: `bundled`, or any other teacher of `docs/teachers.md`: a bundle, an ONNX detector, a TOML file, a plug-in.
        delay_s: how long a case waits before the teacher looks, unless a whole batch waits with it.
    """

    name: Annotated[str, Field(min_length=1)] = "bundled"
    delay_s: float = Field(default=0.0, ge=0, le=10)


class OperatorSettings(Settings):
    """A scripted person who answers the cases that the teacher is unsure of.

    Attributes:
        delay_s: from the moment a case is listed to the answer.
        error_rate: share of answers with a wrong label.
        labels: what the person can name, the most interesting first.
        scope: for whom the answer counts.
    """

    delay_s: float = Field(default=3.0, ge=0, le=3600)
    error_rate: float = Field(default=0.0, ge=0, le=1)
    labels: tuple[Label, ...] = Field(min_length=1, max_length=100)
    scope: Scope = "craft"


class CloudRestart(Settings):
    """The cloud is stopped in good order, and started again.

    Attributes:
        at_s: seconds of flight.
        for_s: until it is started again.
    """

    kind: Literal["cloud-restart"]
    at_s: Moment
    for_s: Duration


class CloudKill(Settings):
    """The cloud is killed, and started again.

    Attributes:
        at_s: seconds of flight.
        for_s: until it is started again.
    """

    kind: Literal["cloud-kill"]
    at_s: Moment
    for_s: Duration


class LinkCut(Settings):
    """The link is down, whatever its windows say.

    Attributes:
        at_s: seconds of flight.
        for_s: how long.
        craft: whose; None is everybody's.
    """

    kind: Literal["link-cut"]
    at_s: Moment
    for_s: Duration
    craft: str | None = None


class EdgeRestart(Settings):
    """The edge program is stopped, and started again with the frames of that moment.

    Attributes:
        at_s: seconds of flight.
        for_s: until it is started again.
        craft: whose; None is everybody's.
    """

    kind: Literal["edge-restart"]
    at_s: Moment
    for_s: Duration
    craft: str | None = None


Fault = Annotated[CloudRestart | CloudKill | LinkCut | EdgeRestart, Field(discriminator="kind")]
