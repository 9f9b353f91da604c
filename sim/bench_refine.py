"""What a better picture brings: cases that left the teacher unsure, seen again as the cloud asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from cloud.answers import interpretation_of
from cloud.case_images import open_case_image
from cloud.config import CloudSettings
from cloud.refining import better_picture
from cloud.store import StoredCase
from cloud.teachers import Teacher, open_teacher
from distill.dataset import DataSet, read_data_set
from distill.evaluate import ImageTruth, truths_of
from edge.regions import Region, choose_regions
from edge.student import as_picture
from protocols.arrays import Boxes, ImageArray
from protocols.boxes import box_inside, box_iou
from protocols.fields import MediaType
from protocols.imagery import encode_image
from protocols.values import Case, FrameHeader, Interpretation, new_case_id
from sim.display import Display

_CROP_PX = 320
_RIGHT_IOU = 0.5


@dataclass(frozen=True)
class RefineBench:
    """What is measured.

    Attributes:
        data: a folder with labels.
        split: of HIT-UAV.
        quality: of the WebP in which cases are sent first.
        images: the first ones by a stride; None takes all.
    """

    data: Path
    split: str = "dev"
    quality: int = 20
    images: int | None = None


@dataclass
class _Tally:
    """Of all cases that were asked for again, at one time of asking.

    Attributes:
        sure: detections of the score from which nobody is asked.
        right: of those, the ones that are true.
        sent_bytes: of imagery.
    """

    sure: int = 0
    right: int = 0
    sent_bytes: int = 0


def bench_refine(options: RefineBench, display: Display) -> dict[str, Any]:
    """Send a crop around the things in each image, coarsely coded, and again what the cloud asks for.

    Returns:
        `cases` sent, `asked` for again, and for those `before` and `after`: detections with a score of `unsure_below`
        or above (`sure`), how many of them are `right`, and `bytes`.

    Raises:
        DataSetError: the folder holds no labelled images.
        ModelError: the teacher is missing or damaged.
    """
    teacher, settings = open_teacher("bundled", threads=1), CloudSettings()
    data = read_data_set(options.data, options.split)
    step = max(len(data) // options.images, 1) if options.images else 1
    data = DataSet(data.name, data.items[::step][: options.images])
    count, asked, before, after = 0, 0, _Tally(), _Tally()
    with display.stage("crops", len(data)) as advance:
        for index, truth in enumerate(truths_of(data)):
            image = as_picture(data.image(index))
            for region in _regions(image, truth):
                count += 1
                first = _answered(teacher, image, region, "image/webp", options.quality)
                request = better_picture(first[0], first[1], settings.unsure_below, settings.refine, 0.0)
                if request is None or request.region_xyxy is None:
                    continue
                asked += 1
                x1, y1, x2, y2 = (int(value) for value in request.region_xyxy)
                second = _answered(teacher, image, (x1, y1, x2, y2), "image/jpeg", request.quality)
                for tally, (stored, answer) in ((before, first), (after, second)):
                    _count(tally, stored, answer, truth, settings.unsure_below)
            advance(index + 1, f"{asked} asked for again")
    result = {name: vars(tally) for name, tally in (("before", before), ("after", after))}
    return {"cases": count, "asked": asked, **result}


def _regions(image: ImageArray, truth: ImageTruth) -> Iterator[Region]:
    """Crops as the craft makes them, each around one thing that is shown in none before."""
    shown: list[Region] = []
    for box in truth.boxes_xyxy[~np.asarray(truth.ignore, np.bool_)]:
        if not shown or box_inside(box[None], np.asarray(shown, np.float32)).max() < 1:
            shown += choose_regions(box[None], (image.shape[1], image.shape[0]), _CROP_PX, 1)
            yield shown[-1]


def _answered(
    teacher: Teacher, image: ImageArray, region: Region, media_type: MediaType, quality: int
) -> tuple[StoredCase, Interpretation]:
    """A case as the cloud would store it, and what the teacher says of it."""
    x1, y1, x2, y2 = region
    payload = encode_image(np.ascontiguousarray(image[y1:y2, x1:x2]), media_type, quality)
    height, width = image.shape[:2]
    case = Case(
        case_id=new_case_id(),
        frame=FrameHeader(index=0, source_id="bench", captured_at_s=0.0, width=width, height=height),
        region_xyxy=region,
        hardness=0.5,
        space_id="none",
        variant="none",
        media_type=media_type,
        payload_bytes=len(payload),
        payload_sha256=sha256(payload).hexdigest(),
        quality=quality,
    )
    picture = open_case_image(case, payload)
    (answer,) = teacher.interpret([picture.image])
    told = interpretation_of(case.case_id, [(picture, answer)], teacher.name, 0.0)
    return StoredCase("bench", case, "stored", "", None, 0.0), told


def _count(tally: _Tally, stored: StoredCase, answer: Interpretation, truth: ImageTruth, floor: float) -> None:
    tally.sent_bytes += stored.case.payload_bytes
    for found in answer.detections:
        if found.score >= floor:
            of_label = [i for i, label in enumerate(truth.labels) if label == found.label]
            boxes: Boxes = np.asarray([found.box_xyxy], np.float32)
            tally.sure += 1
            tally.right += bool(box_iou(boxes, truth.boxes_xyxy[of_label]).max(initial=0.0) >= _RIGHT_IOU)
