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
    lost, twice = len(set(record.spooled) - set(kept)), len(kept) - len(set(kept))
    quiet_bytes, recall, offset = record.bytes_out_of_contact, score.recall, score.offset_px
    has_prompt, came_in = UNFAMILIAR in record.labels, record.prompted_in(UNFAMILIAR)
    told = "-" if recall is None else f"{recall:.2f}"
    off = "-" if offset is None else f"{offset:.2f}"
    crs, true_crs = (name.removeprefix("urn:ogc:def:crs:") for name in (score.crs, score.crs_of_truth))
    return [
        Requirement("Cases spooled out of contact", f"{spooled}", "≥ 1", spooled >= 1),
        Requirement("Bytes carried out of contact", f"{quiet_bytes}", "0", quiet_bytes == 0),
        Requirement("Of the cases kept in pass 1", f"{in_first}", f"{spooled}", in_first == spooled),
        Requirement("Cases lost, kept twice", f"{lost}, {twice}", "0, 0", not lost and not twice),
        *(_within(number, done) for number, done in enumerate(record.passes, 1)),
        Requirement(
            f"Prompt for {UNFAMILIAR} on board", f"since pass {came_in}" if has_prompt else "no", "yes",
            has_prompt,
        ),
        Requirement(
            f"Recall of {UNFAMILIAR}, second overpass", told, f"≥ {wanted.recall:.2f}",
            recall is not None and recall >= wanted.recall,
        ),
        Requirement(
            "Offset on the map, median px", off, f"≤ {wanted.offset_px:g}",
            offset is not None and offset <= wanted.offset_px,
        ),
        Requirement("CRS of detections.geojson", crs, true_crs, crs == true_crs),
    ]  # fmt: skip


def _within(number: int, done: PassRecord) -> Requirement:
    """Both directions of a pass within what its link could carry."""
    carried = (done.edge_to_cloud_bytes, done.cloud_to_edge_bytes)
    able = (done.plan.edge_to_cloud_bytes(), done.plan.cloud_to_edge_bytes())
    return Requirement(
        f"kB up, down in pass {number}",
        ", ".join(f"{value / 1000:.0f}" for value in carried),
        "≤ " + ", ".join(f"{value / 1000:.0f}" for value in able),
        all(0 < value <= limit for value, limit in zip(carried, able, strict=True)),
    )
