"""Tables and JSON of the command line."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from cloud.asking import box_text
from cloud.case_images import open_case_images
from cloud.case_sheets import case_sheet
from cloud.errors import CloudError
from cloud.store import CaseStore, StoredCase
from cloud.target_shelf import StoredTarget
from protocols.errors import ImageryError
from protocols.imagery import encode_image
from protocols.values import Prompt

_SHORT_ID = 12
_ENDLESS = 10_000


def case_record(stored: StoredCase) -> dict[str, Any]:
    """A case as a program may read it."""
    case = stored.case
    return {
        "case_id": case.case_id,
        "craft": stored.craft,
        "state": stored.state,
        "reason": stored.reason,
        "confidence": stored.confidence,
        "hardness": case.hardness,
        "captured_at_s": case.frame.captured_at_s,
        "received_at_s": stored.received_at_s,
        "source_id": case.frame.source_id,
        "frame_index": case.frame.index,
        "region_xyxy": list(case.region_xyxy),
        "regions_xyxy": [list(part.region_xyxy) for part in case.parts],
        "frame_size": [case.frame.width, case.frame.height],
        "labels_on_edge": sorted({detection.label for detection in case.detections}),
    }


def case_table(cases: Iterable[StoredCase]) -> Table:
    """Cases as a person reads them."""
    table = new_table("case", "craft", "received (UTC)", "state", "score", "region x,y,w,h", "why")
    for stored in cases:
        table.add_row(
            stored.case.case_id[:_SHORT_ID],
            stored.craft,
            utc(stored.received_at_s),
            stored.state,
            "-" if stored.confidence is None else f"{stored.confidence:.2f}",
            " + ".join(box_text(part.region_xyxy) for part in stored.case.parts),
            stored.reason,
        )
    return table


def prompt_record(craft: str, prompt: Prompt) -> dict[str, Any]:
    """A prompt as a program may read it, without its vectors and chips."""
    record = prompt.model_dump(exclude={"positives", "negatives", "chips"})
    counts = {"positives": len(prompt.positives), "negatives": len(prompt.negatives), "chips": len(prompt.chips)}
    return {"craft": craft, **record, **counts}


def prompt_table(held: Iterable[tuple[str, Prompt]]) -> Table:
    """Prompts as a person reads them."""
    table = new_table("prompt", "craft", "label", "scope", "confidence", "issued (UTC)")
    for craft, p in held:
        table.add_row(p.prompt_id, craft, p.label, p.scope, f"{p.confidence:.2f}", utc(p.issued_at_s))
    return table


def target_record(target: StoredTarget) -> dict[str, Any]:
    """A target as a program may read it."""
    order, status = target.order, target.status
    return {
        "target": target.key,
        "craft": target.craft,
        "label": order.label,
        "state": target.state,
        "reason": target.reason,
        "is_stopping": target.is_stopping,
        "by": target.by,
        "made_at_s": target.made_at_s,
        "expires_at_s": target.expires_at_s,
        "case_id": order.seen_in.case_id if order.seen_in else None,
        "heard_at_s": target.heard_at_s,
        "target_id": status.target_id if status else None,
        "box_xyxy": list(status.box_xyxy) if status and status.box_xyxy else None,
        "presence": status.presence if status else None,
        "frame_index": status.frame_index if status else None,
    }


def target_table(targets: Iterable[StoredTarget]) -> Table:
    """Targets as a person reads them."""
    table = new_table("target", "craft", "label", "state", "heard (UTC)", "box x,y,w,h", "presence", "why")
    for target in targets:
        status = target.status
        table.add_row(
            target.key,
            target.craft,
            target.order.label,
            f"{target.state}, stopping" if target.is_stopping else target.state,
            "-" if target.heard_at_s is None else utc(target.heard_at_s),
            box_text(status.box_xyxy) if status and status.box_xyxy else "-",
            f"{status.presence:.2f}" if status and status.presence is not None else "-",
            target.reason,
        )
    return table


def print_table(table: Table) -> None:
    """Print every cell whole: a terminal too narrow wraps the line, a pipe has no width to fit."""
    Console(width=_ENDLESS).print(table, highlight=False)


def write_images(store: CaseStore, cases: Iterable[StoredCase], folder: Path) -> tuple[int, list[str]]:
    """Write each case's pictures with rulers in full-frame pixels: `ID.jpg`, and `ID-2.jpg` and so on beside it.

    Returns:
        How many were written, and one line for each case that has no picture.

    Raises:
        CloudError: the folder cannot be written.
    """
    written, problems = 0, []
    for stored in cases:
        try:
            images = open_case_images(stored.case, store.read_imagery(stored))
        except ImageryError as exc:
            problems.append(f"{stored.case.case_id}: {exc}")
            continue
        for number, image in enumerate(images, 1):
            name = f"{stored.case.case_id}-{number}.jpg" if number > 1 else f"{stored.case.case_id}.jpg"
            sheet = encode_image(case_sheet(image, stored.case.detections), "image/jpeg")
            try:
                folder.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(sheet)
            except OSError as exc:
                raise CloudError(f"{folder}: cannot write images ({exc.strerror}); check the folder") from exc
            written += 1
    return written, problems


def new_table(*columns: str) -> Table:
    """A table without lines."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(name, no_wrap=True)
    return table


def utc(wall_s: float) -> str:
    """A wall time as a person reads it."""
    return datetime.fromtimestamp(wall_s, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
