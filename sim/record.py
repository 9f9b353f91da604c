"""What a flight left behind, read back: the edge's lines, and the truth that was rendered.

A scripted loop only scores what the real programs wrote; nothing here is told by the programs in memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from pydantic import ValidationError

from distill.dataset import DataSet
from edge.outputs import sent_regions
from protocols.values import Detection
from sim.arrays import FloatArray
from sim.errors import RecordError


@dataclass(frozen=True)
class FlownFrame:
    """One line of `detections.jsonl`.

    Attributes:
        index: of the frame in its source.
        time_s: recorded second, since the first frame of the flight.
        bank_revision: prompt bank in force; 0 before the first update.
        hardness: the edge's estimate.
        detections: what it reported, full-frame pixels.
        case_id: set when the frame was sent as a case.
        regions_xyxy: which parts of it were sent.
        clock_s: second of the clock at which it was flown; later than `time_s` where the edge does not keep pace.
        leg: which start of the edge flew it, from 1.
    """

    index: int
    time_s: float
    bank_revision: int
    hardness: float
    detections: tuple[Detection, ...]
    case_id: str | None = None
    regions_xyxy: tuple[tuple[float, float, float, float], ...] = ()
    clock_s: float = 0.0
    leg: int = 1

    @property
    def is_sent(self) -> bool:
        """Whether the cloud has seen this frame."""
        return self.case_id is not None


@dataclass(frozen=True)
class BankSeen:
    """A revision of the craft's prompt bank as it lay on its disk during the flight.

    Attributes:
        revision: of the bank.
        labels: of its prompts.
        case_ids: the cases its prompts answer.
    """

    revision: int
    labels: tuple[str, ...]
    case_ids: tuple[str, ...]


@dataclass(frozen=True)
class BytesSeen:
    """The link's byte counters at one moment; `time_s` of the clock since the first frame."""

    time_s: float
    edge_to_cloud: int
    cloud_to_edge: int


@dataclass(frozen=True)
class FlightRecord:
    """One flight with everything known about it.

    There are two times: recorded seconds, at which frames and the world stand, and seconds of the clock, at which the
    link, faults and people do. They are the same as long as the edge keeps pace; `recorded_s` turns one into the other.

    Attributes:
        frames: in order.
        truth: the rendered images with their boxes; item `i` is the frame of index `i`.
        summary: the edge's `summary.json`, its frame rate and loop times in seconds of flight; see `joined_summary`.
        banks: revisions seen while flying, in order.
        traffic: byte counters seen while flying, in order.
    """

    frames: Sequence[FlownFrame]
    truth: DataSet
    summary: Mapping[str, Any]
    banks: Sequence[BankSeen] = ()
    traffic: Sequence[BytesSeen] = ()

    def __post_init__(self) -> None:
        if not self.frames:
            raise RecordError("the flight has no frame: see the edge's log")
        highest = max(frame.index for frame in self.frames)
        if highest >= len(self.truth):
            raise RecordError(f"frame {highest} has no truth: {len(self.truth)} images were rendered")

    @property
    def prompts_applied(self) -> int:
        """How many banks with prompts came into force; the empty one that every craft is given first does not count."""
        return sum(bool(bank.labels) for bank in self.banks)

    @property
    def slowdown(self) -> float:
        """Seconds the edge took for each it should have taken: 1 when it kept pace, more on a busy machine.

        The time between two starts of the edge counts for neither.
        """
        pairs = [(a, b) for a, b in pairwise(self.frames) if a.leg == b.leg]
        recorded_s = sum(b.time_s - a.time_s for a, b in pairs)
        return max(sum(b.clock_s - a.clock_s for a, b in pairs) / recorded_s, 1.0) if recorded_s > 0 else 1.0

    def recorded_s(self, clock_s: ArrayLike) -> FloatArray:
        """Recorded seconds of the frames that were flown at some seconds of the clock; after the last it runs on."""
        flown_s = np.maximum.accumulate([frame.clock_s for frame in self.frames])
        shown_s = np.maximum.accumulate([frame.time_s for frame in self.frames])
        asked_s = np.asarray(clock_s, np.float64)
        found = np.interp(asked_s, flown_s, shown_s) + np.maximum(asked_s - flown_s[-1], 0.0)
        return np.asarray(found, np.float64)

    def first_revision(self, label: str) -> int | None:
        """The first bank revision that holds a prompt of a label; None when none ever did."""
        return min((bank.revision for bank in self.banks if label in bank.labels), default=None)

    def first_prompted(self, label: str) -> FlownFrame | None:
        """The first frame on which a prompt of a label was in force."""
        revision = self.first_revision(label)
        if revision is None:
            return None
        return next((frame for frame in self.frames if frame.bank_revision >= revision), None)

    def loops(self) -> list[tuple[float, float]]:
        """Per answered case: when its frame was taken (recorded seconds), and the loop as the edge measured it (ms).

        Where the edge was started again in between, it has forgotten when it took the case: such a loop is missing.
        """
        taken = {frame.case_id: frame.time_s for frame in self.frames if frame.case_id}
        found = {loop["case_id"]: loop["ms"] for loop in reversed(self.summary["loops"])}
        return sorted((taken[case_id], float(ms)) for case_id, ms in found.items() if case_id in taken)


def read_frames(path: Path) -> list[FlownFrame]:
    """The frames of a `detections.jsonl`.

    Raises:
        RecordError: the file is missing or damaged.
    """
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        start_s = lines[0]["time_s"] if lines else 0.0
        return [_frame(line, start_s) for line in lines]
    except OSError as exc:
        raise RecordError(f"{path}: cannot be read ({exc.strerror}); see the edge's log") from exc
    except (ValueError, KeyError, TypeError, ValidationError) as exc:
        raise RecordError(f"{path}: not the edge's detections ({exc}); fly again") from exc


def read_summary(path: Path) -> dict[str, Any]:
    """The edge's `summary.json`.

    Raises:
        RecordError: the file is missing or damaged.
    """
    try:
        summary = json.loads(path.read_text())
    except OSError as exc:
        raise RecordError(f"{path}: cannot be read ({exc.strerror}); see the edge's log") from exc
    except ValueError as exc:
        raise RecordError(f"{path}: not JSON ({exc}); fly again") from exc
    if not isinstance(summary, dict):
        raise RecordError(f"{path}: holds no object; fly again")
    return summary


def _frame(line: dict[str, Any], start_s: float) -> FlownFrame:
    return FlownFrame(
        index=int(line["frame"]),
        time_s=float(line["time_s"]) - start_s,
        bank_revision=int(line["bank_revision"]),
        hardness=float(line["hardness"]),
        detections=detections_of(line),
        case_id=line.get("case_id"),
        regions_xyxy=tuple((x1, y1, x2, y2) for x1, y1, x2, y2 in sent_regions(line)),
        clock_s=float(line["clock_s"]),
    )


def detections_of(line: Mapping[str, Any]) -> tuple[Detection, ...]:
    """The detections of one decoded line of `detections.jsonl`."""
    return tuple(Detection.model_validate(row) for row in line["detections"])
