"""What a satellite's day has to reach, and whether it did."""

from __future__ import annotations

from sim.day.flight import CASE, DayRecord, PassRecord
from sim.day.score import UNFAMILIAR, DayScore
from sim.day.settings import Wanted
from sim.report import Requirement


def checks_of(record: DayRecord, score: DayScore, wanted: Wanted) -> list[Requirement]:
    """Every check of a day, in the order of its hours.

    Args:
        record: what happened.
        score: what was found at the second overpass.
        wanted: of the day's file.
    """
    spooled, kept = len(record.spooled), record.kept
    in_first = sum(what == CASE for _, what in record.passes[0].news)
    lost = len(set(record.spooled) - set(kept))
    twice = len(kept) - len(set(kept))
    recall, offset = score.recall, score.offset_px
    return [
        Requirement("Cases in the spool after the first overpass", f"{spooled}", "≥ 1", spooled >= 1),
        Requirement(
            "Bytes on the link out of contact", f"{record.bytes_out_of_contact}", "0", not record.bytes_out_of_contact
        ),
        Requirement("Of these cases kept by the cloud in pass 1", f"{in_first}", f"{spooled}", in_first == spooled),
        Requirement("Cases lost, kept twice", f"{lost}, {twice}", "0, 0", not lost and not twice),
        *(_within(number, done) for number, done in enumerate(record.passes, 1)),
        Requirement(
            f"Prompt for {UNFAMILIAR} on board before the second overpass",
            "no" if UNFAMILIAR not in record.labels else f"since pass {record.prompted_in}", "yes",
            UNFAMILIAR in record.labels,
        ),
        Requirement(
            f"Recall of {UNFAMILIAR} at the second overpass, by prompts", "nothing to find" if recall is None else
            f"{recall:.2f}", f"≥ {wanted.recall:.2f}", recall is not None and recall >= wanted.recall,
        ),
        Requirement(
            "Offset on the map, median (px)", "nothing found" if offset is None else f"{offset:.2f}",
            f"≤ {wanted.offset_px:g}", offset is not None and offset <= wanted.offset_px,
        ),
        Requirement("CRS of detections.geojson", score.crs, score.crs_of_truth, score.crs == score.crs_of_truth),
    ]  # fmt: skip


def _within(number: int, done: PassRecord) -> Requirement:
    """Both directions of a pass within what its link could carry."""
    carried = (done.edge_to_cloud_bytes, done.cloud_to_edge_bytes)
    able = (done.plan.edge_to_cloud_bytes(), done.plan.cloud_to_edge_bytes())
    return Requirement(
        f"kB up and down in pass {number}, of what the link could carry",
        " and ".join(f"{value / 1000:.0f}" for value in carried),
        "≤ " + " and ".join(f"{value / 1000:,.0f}" for value in able),
        all(value <= limit for value, limit in zip(carried, able, strict=True)) and carried[0] > 0,
    )
