"""One box, found again: a chip of a thing from one image, searched for in another view of it that nobody trained on.

The other view of real heat is the same image moved, turned, scaled, relit and blurred; that of a render is another
picture of the same town. Beside the teacher's own answer stand the plain cosine of its features and its detections of
the thing's class, best first, which is all there is without exemplars.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloud.case_images import CaseImage
from cloud.chips import make_chips
from cloud.teachers import BundledTeacher, Exemplar, Places
from cloud.teachers.finding import exemplar_of, find_by_features
from cloud.teachers.matcher import open_matcher
from distill.dataset import DataSet, LabelledImage, read_data_set
from distill.pairs import SCALES, OtherViews, camera, degrade, move_boxes, warp
from edge.bundle import load_bundle
from edge.runtime import Backend, RawOutputs, open_backend
from edge.student import Student, as_bgr
from protocols.arrays import FloatArray, ImageArray
from protocols.boxes import box_inside, box_iou
from sim.display import Display

_FOUND_IOU = 0.5
_RECALL_PLACES = 5
_SMALL_SIDE_PX = 16
_SIDES_PX = (6.0, 200.0)
_MIN_SHOWN = 0.9
_TURN_DEG = 12.0
_TRIES = 20


@dataclass(frozen=True)
class FindBench:
    """What is measured.

    Attributes:
        data: the HIT-UAV folder, of which dev is used.
        renders: folder of renders that nothing was trained on; None leaves them out.
        teacher: bundle with a matching head.
        images: of each set, at most; evenly drawn.
        seed: of the choice of things and views.
    """

    data: Path
    renders: Path | None
    teacher: Path
    images: int = 200
    seed: int = 0


@dataclass(frozen=True)
class Search:
    """One thing to find.

    Attributes:
        chip: what shows it.
        frame: where it is.
        box_xyxy: (4,) where exactly.
        label: what the truth calls it.
    """

    chip: Exemplar
    frame: ImageArray
    box_xyxy: FloatArray
    label: str


class _Remembering:
    """A backend that runs once for images that several ways of searching ask for."""

    def __init__(self, backend: Backend, images: int = 4) -> None:
        self.name = backend.name
        self._backend, self._images = backend, images
        self._known: dict[bytes, RawOutputs] = {}

    def run(self, image: ImageArray) -> RawOutputs:
        """See `Backend`."""
        key = image.tobytes()
        if key not in self._known:
            while len(self._known) >= self._images:
                self._known.pop(next(iter(self._known)))
            self._known[key] = self._backend.run(image)
        return self._known[key]


def bench_find(options: FindBench, display: Display) -> dict[str, Any]:
    """Search and score.

    Returns:
        For each set the number of `searches` and, for `teacher`, `cosine` and `label`, `top1` (the best place overlaps
        the thing by half), `recall5` (one of the best five does) and `top1_small` (of things under 16 x 16 px; None
        without any).

    Raises:
        DataSetError: a folder holds no such data.
        SkyloopError: the teacher's bundle is missing or damaged.
    """
    bundle = load_bundle(options.teacher)
    student = Student(bundle, _Remembering(open_backend(bundle)))
    teacher = BundledTeacher(student, open_matcher(student))
    ways: dict[str, Callable[[Search], Places]] = {
        "teacher": lambda search: teacher.find([search.chip], [search.frame])[0],
        "cosine": lambda search: find_by_features(teacher.dense_features, [search.chip], [search.frame])[0],
        "label": lambda search: _of_its_label(teacher, search),
    }
    sets = [read_data_set(options.data, "dev")]
    if options.renders is not None:
        sets.append(read_data_set(options.renders, "all"))
    return {data.name: _scores(data, ways, options, display) for data in sets}


def _of_its_label(teacher: BundledTeacher, search: Search) -> Places:
    (answer,) = teacher.interpret([search.frame])
    own = np.array([label == search.label for label in answer.labels], bool)
    return Places(answer.boxes_xyxy[own], answer.scores[own])


def _scores(
    data: DataSet, ways: dict[str, Callable[[Search], Places]], options: FindBench, display: Display
) -> dict[str, Any]:
    ranks: dict[str, list[int]] = {name: [] for name in ways}
    is_small: list[bool] = []
    with display.stage(f"{data.name}: searching", min(options.images, len(data))) as advance:
        for done, search in searches(data, options.images, options.seed):
            for name, way in ways.items():
                ranks[name].append(_rank(way(search), search.box_xyxy))
            sides = search.box_xyxy[2:] - search.box_xyxy[:2]
            is_small.append(bool(np.prod(sides) < _SMALL_SIDE_PX**2))
            advance(done, "")
    small = np.array(is_small, bool)
    found = {name: _summary(np.array(ranks[name]), small) for name in ways}
    return {"searches": len(is_small), "small": int(small.sum()), **found}


def _rank(places: Places, box_xyxy: FloatArray) -> int:
    """Which of the places, best first, is the thing; beyond all where none is."""
    hits = np.flatnonzero(box_iou(places.boxes_xyxy, box_xyxy[None])[:, 0] >= _FOUND_IOU)
    return int(hits[0]) if hits.size else 1_000_000


def _summary(ranks: NDArray[np.int64], small: NDArray[np.bool_]) -> dict[str, float | None]:
    top = ranks == 0
    return {
        "top1": round(float(top.mean()), 3),
        "recall5": round(float((ranks < _RECALL_PLACES).mean()), 3),
        "top1_small": round(float(top[small].mean()), 3) if small.any() else None,
    }


def searches(data: DataSet, images: int, seed: int) -> Iterator[tuple[int, Search]]:
    """One search for each of some images that show anything to look for, and how many images were tried.

    Args:
        data: labelled images; where it tells things apart, other views are other images.
        images: how many to draw, evenly.
        seed: of everything else.
    """
    views = OtherViews(data)
    count = min(images, len(data))
    for done in range(count):
        index = done * len(data) // count
        rng = np.random.default_rng((seed, index))
        has_things = bool(data.items[index].things)
        found = _other_view(data, views, index, rng) if has_things else _moved_view(data, index, rng)
        if found is not None:
            yield done + 1, found


def _other_view(data: DataSet, views: OtherViews, index: int, rng: np.random.Generator) -> Search | None:
    other = views.other(index, rng)
    if other is None:
        return None
    first, second = data.items[index], data.items[other]
    there = {second.things[row]: row for row in _usable(second)}
    rows = [row for row in _usable(first) if first.things[row] in there]
    if not rows:
        return None
    row = int(rng.choice(rows))
    chip = _chip(as_bgr(data.image(index)), first.boxes_xyxy[row])
    box = second.boxes_xyxy[there[first.things[row]]]
    return None if chip is None else Search(chip, as_bgr(data.image(other)), box, first.labels[row])


def _moved_view(data: DataSet, index: int, rng: np.random.Generator) -> Search | None:
    item, image = data.items[index], as_bgr(data.image(index))
    rows = _usable(item)
    if not rows:
        return None
    row = int(rng.choice(rows))
    box = item.boxes_xyxy[row]
    height, width = image.shape[:2]
    for _ in range(_TRIES):
        matrix = _camera(width, height, rng)
        moved = move_boxes(box[None], matrix)
        if box_inside(moved, np.array([[0, 0, width, height]], np.float32))[0, 0] >= _MIN_SHOWN:
            frame = degrade(warp(image, matrix, (width, height)), gray=True, rng=rng)
            chip = _chip(image, box)
            return None if chip is None else Search(chip, frame, moved[0], item.labels[row])
    return None


def _usable(item: LabelledImage) -> list[int]:
    sides = item.boxes_xyxy[:, 2:] - item.boxes_xyxy[:, :2]
    fits = (sides >= _SIDES_PX[0]).all(axis=1) & (sides <= _SIDES_PX[1]).all(axis=1)
    return np.flatnonzero(fits & ~item.ignore).tolist()


def _camera(width: int, height: int, rng: np.random.Generator) -> FloatArray:
    """The 2x3 matrix of a camera that has moved, turned and come nearer or gone away."""
    middle = np.asarray((width, height) * rng.uniform(0.25, 0.75, 2), dtype=np.float32)
    return camera(middle, float(np.exp(rng.uniform(*np.log(SCALES)))), float(rng.normal(0, _TURN_DEG)), (width, height))


def _chip(image: ImageArray, box_xyxy: FloatArray) -> Exemplar | None:
    """As the cloud cuts and a prompt carries it."""
    chips = make_chips(CaseImage(image), box_xyxy[None], 32)
    return exemplar_of(chips[0]) if chips else None
