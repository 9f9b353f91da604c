"""The diagrams and annotated frames of a report."""

from __future__ import annotations

import cv2
import numpy as np
from matplotlib.axes import Axes

from edge.outputs import draw
from sim.flight_curves import LOOP_CAPTION, draw_bytes, draw_loops, draw_recall
from sim.plotting import BLUE, GREY, ORANGE, png_picture, time_axes
from sim.record import FlightRecord, FlownFrame
from sim.report import Picture
from sim.score import FrameTally, recall_over_time

_TRUTH_BGR = (255, 255, 255)
_JPEG_QUALITY = 82
_BIN_S = 1.0


def recall_figure(record: FlightRecord, tallies: list[FrameTally], label: str) -> Picture:
    """Recall of the unfamiliar label over time, with the moment of the first prompt."""
    figure, axes = time_axes("share found")
    draw_recall(axes, recall_over_time(tallies, _BIN_S), _BIN_S, BLUE)
    _mark_prompt(axes, record, label)
    caption = (
        f"Recall of {label} by the craft itself, per second of flight. Seconds without a visible instance are left "
        "out, and so are frames that were sent as cases."
    )
    return png_picture(figure, "recall.png", caption)


def bytes_figure(record: FlightRecord, label: str) -> Picture:
    """Cumulative bytes in both directions over time, and when cases were taken."""
    figure, axes = time_axes("kB since the start")
    draw_bytes(axes, record)
    sent = [frame.time_s for frame in record.frames if frame.is_sent]
    axes.plot(sent, np.zeros(len(sent)), "|", color=GREY, markersize=11, label="case taken", clip_on=False)
    axes.set_ylim(bottom=0)
    _mark_prompt(axes, record, label)
    axes.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1.0, 0.98), ncols=3)
    caption = "Bytes on the wire, encryption and heartbeats included, counted by the link four times a second."
    return png_picture(figure, "bytes.png", caption)


def loop_figure(record: FlightRecord) -> Picture:
    """How long each answered case took, from its frame to its prompt in force."""
    figure, axes = time_axes("ms")
    draw_loops(axes, record)
    axes.axhline(1000, color=GREY, linestyle="--", linewidth=1)
    axes.annotate("limit for the median", (1, 1000), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                  fontsize=8, color=GREY)  # fmt: skip
    axes.set_xlim(0, record.frames[-1].time_s)
    return png_picture(figure, "loop.png", LOOP_CAPTION)


def _mark_prompt(axes: Axes, record: FlightRecord, label: str) -> None:
    axes.set_xlim(0, max(record.frames[-1].time_s, 0.1))
    first = record.first_prompted(label)
    if first is None:
        return
    axes.axvline(first.time_s, color=ORANGE, linestyle="--", linewidth=1.3)
    axes.annotate(
        f"first prompt, {first.time_s:.1f} s",
        (first.time_s, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(5, 2),
        textcoords="offset points",
        fontsize=8,
        color=ORANGE,
    )


def stills(record: FlightRecord, tallies: list[FrameTally], label: str) -> list[Picture]:
    """Annotated frames that tell the story: before, the case, right after, late; fewer where it did not happen."""
    chosen = {
        "before": _before(record, tallies),
        "case": _first_case(record, label),
        "after": _first_found(record, label),
        "late": _late(record, tallies),
    }
    said = {
        "before": f"Before: {label} is in view and the craft has no word for it.",
        "case": "The hard case: the yellow region went to the cloud.",
        "after": "Right after: the first boxes that a prompt put there.",
        "late": "Late in the flight: the craft finds and follows by itself.",
    }
    return [
        Picture(f"{name}.jpg", f"{said[name]} Frame {frame.index}, {frame.time_s:.1f} s.", _still(record, frame, label))
        for name, frame in chosen.items()
        if frame is not None
    ]


def _before(record: FlightRecord, tallies: list[FrameTally]) -> FlownFrame | None:
    """The frame without a prompt that shows most, the last of them; one before the first case where there is one."""
    first_s = min((frame.time_s for frame in record.frames if frame.is_sent), default=float("inf"))
    waiting = [t for t in tallies if not t.is_after and t.truths]
    shown = [t for t in waiting if t.time_s < first_s] or waiting
    best = max(shown, key=lambda t: (t.truths - t.recalled, t.index), default=None)
    return None if best is None else _frame(record, best.index)


def _first_case(record: FlightRecord, label: str) -> FlownFrame | None:
    answered = next((bank.case_ids for bank in record.banks if label in bank.labels), ())
    sent = [frame for frame in record.frames if frame.is_sent]
    return next((f for f in sent if f.case_id in answered), sent[0] if sent else None)


def _first_found(record: FlightRecord, label: str) -> FlownFrame | None:
    found = (f for f in record.frames if not f.is_sent)
    return next((f for f in found if any(d.provenance.startswith("prompt:") and d.label == label
                                         for d in f.detections)), None)  # fmt: skip


def _late(record: FlightRecord, tallies: list[FrameTally]) -> FlownFrame | None:
    """Of the last quarter, the frame with most instances found."""
    last = [t for t in tallies if t.is_after and t.recalled and t.time_s > 0.75 * record.frames[-1].time_s]
    best = max(last, key=lambda t: (t.recalled, t.index), default=None)
    return None if best is None else _frame(record, best.index)


def _frame(record: FlightRecord, index: int) -> FlownFrame:
    return next(frame for frame in record.frames if frame.index == index)


def _still(record: FlightRecord, frame: FlownFrame, label: str) -> bytes:
    canvas = draw(record.truth.image(frame.index), frame.detections, frame.regions_xyxy)
    item = record.truth.items[frame.index]
    for box, name, ignored in zip(item.boxes_xyxy, item.labels, item.ignore, strict=True):
        if name == label and not ignored:
            x1, y1, x2, y2 = (round(float(v)) for v in box)
            cv2.rectangle(canvas, (x1 - 2, y1 - 2), (x2 + 2, y2 + 2), _TRUTH_BGR, 1)
    _, encoded = cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return encoded.tobytes()
