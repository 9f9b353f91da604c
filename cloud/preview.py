"""What a prompt would find, before anybody sends it: the draft replayed on recent cases by the craft's own student."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cloud.case_images import CaseImage, open_case_images
from cloud.config import PromptSettings
from cloud.errors import PromptRefused, RequestError, StoreError
from cloud.evidence import Evidence, look, pool_things
from cloud.prompt_desk import PromptDesk
from cloud.prompting import replay
from cloud.reviews import as_boxes, finding_in, flown_twin, pictures_of
from cloud.similarity import SimilarityMap, cosines, draw_map
from cloud.store import CaseStore, Review, StoredCase
from cloud.twins import Twins
from edge.clock import Clock
from edge.prompting import PromptMatcher
from edge.student import NO_MAPS, Student
from protocols.arrays import FloatArray
from protocols.boxes import box_inside, box_iou, clip_boxes
from protocols.errors import ImageryError
from protocols.values import Detection, Prompt, PromptBank

RECENT_CASES = 24
"""Cases that a draft is replayed on: on two cores a first look at so many takes a second or two, the next none."""

_KEPT_LOOKS = 512
"""About 100 kB each."""

_KEPT_WHOLE = 4
"""With the network's maps, about 8 MB each: the case that somebody is drawing in."""

_AGREES_IOU = 0.3


@dataclass(frozen=True)
class Firing:
    """What a draft finds in one recent case.

    Attributes:
        stored: the case.
        boxes: full-frame pixels, with the match's score.
        agreed: for each box whether teacher or person called something of the label there.
    """

    stored: StoredCase
    boxes: tuple[Detection, ...]
    agreed: tuple[bool, ...]


@dataclass(frozen=True)
class Preview:
    """What a prompt would do.

    Attributes:
        prompt: as it would be sent; None where it would be refused.
        refusal: why it would.
        found: of the drawn things how many it finds in their own pictures.
        drawn: how many are drawn there.
        fooled: of the hard negatives how many it takes for the thing.
        negatives: how many there are.
        looked: how many recent cases it was replayed on.
        firings: those of them in which it finds anything, most boxes first.
    """

    prompt: Prompt | None
    refusal: str = ""
    found: int = 0
    drawn: int = 0
    fooled: int = 0
    negatives: int = 0
    looked: int = 0
    firings: tuple[Firing, ...] = ()

    @property
    def boxes(self) -> int:
        """How many boxes it would draw in the recent cases."""
        return sum(len(firing.boxes) for firing in self.firings)

    @property
    def agreed(self) -> int:
        """How many of these teacher or person named likewise."""
        return sum(sum(firing.agreed) for firing in self.firings)


class Previewer:
    """Makes drafts and replays them; not for several threads at a time."""

    def __init__(self, store: CaseStore, twins: Twins, settings: PromptSettings, clock: Clock) -> None:
        """Look at cases with students of its own.

        Args:
            store: holds cases and banks.
            twins: used by nobody else.
            settings: how prompts are made.
            clock: for stamps.
        """
        self._store, self._twins, self._settings, self._clock = store, twins, settings, clock
        self._looks: OrderedDict[tuple[str, ...], list[Evidence]] = OrderedDict()
        self._whole: OrderedDict[tuple[str, ...], list[Evidence]] = OrderedDict()

    def preview(self, review: Review, recent: int = RECENT_CASES) -> Preview:
        """What the prompt of a review that nobody has sent would do.

        Args:
            review: what is drawn now.
            recent: cases to replay on: the craft's newest, of a wider scope the newest of all craft.

        Raises:
            SkyloopError: the case is gone, or its imagery or bundle damaged.
        """
        stored = self._store.load_case(review.case_id, review.craft)
        try:
            twin = flown_twin(stored, self._store, self._twins)
            views = self._shown(review, stored, twin)
            prompt = self._draft(review, views, twin)
        except PromptRefused as exc:
            return Preview(None, exc.reason)
        told = [replay((prompt,), view, finding_in(review, view)) for view in views]
        craft = review.craft if review.scope == "craft" else None
        cases = self._store.newest_cases(craft, recent)
        firings = [fired for case in cases if (fired := self._fires(prompt, twin, case))]
        return Preview(
            prompt,
            found=sum(int(found.found.sum()) for found in told),
            drawn=sum(len(found.found) for found in told),
            fooled=sum(int(found.fooled.sum()) for found in told),
            negatives=sum(len(found.fooled) for found in told),
            looked=len(cases),
            firings=tuple(sorted(firings, key=lambda firing: -len(firing.boxes))),
        )

    def similarity(
        self, stored: StoredCase, part: int, boxes_xyxy: Sequence[tuple[float, float, float, float]], prompt_id: str
    ) -> SimilarityMap:
        """Where the craft's student sees what is like drawn things, or like what a prompt knows.

        Args:
            stored: the case.
            part: which of its pictures, from 0.
            boxes_xyxy: of the things, full-frame pixels.
            prompt_id: of the craft's bank; empty goes by the boxes.

        Raises:
            RequestError: there is nothing to compare with, or no such picture.
            SkyloopError: no twin, or imagery that does not decode.
        """
        twin = flown_twin(stored, self._store, self._twins)
        views = self._seen_whole(stored, twin)
        if not 0 <= part < len(views):
            raise RequestError(f"case {stored.case.case_id[:12]} has {len(views)} pictures; choose 1..{len(views)}")
        stride = twin.manifest.stride_px
        if prompt_id:
            vectors = self._held(stored.craft, prompt_id, twin).positives.to_array()
        else:
            pooled = [_pooled(view, boxes_xyxy, stride) for view in views]
            vectors = np.concatenate(pooled)
        if not len(vectors):
            raise RequestError("nothing is drawn in this picture: draw or choose a box first, or choose a prompt")
        return draw_map(cosines(views[part], vectors, stride))

    def _held(self, craft: str, prompt_id: str, twin: Student) -> Prompt:
        for prompt in self._store.bank(craft).prompts:
            if prompt.prompt_id == prompt_id and prompt.space_id == twin.manifest.space_id:
                return prompt
        raise RequestError(f"{craft} holds no prompt {prompt_id[:40]!r} that its student can use; choose another")

    def _shown(self, review: Review, stored: StoredCase, twin: Student) -> list[Evidence]:
        """What the twin sees in the pictures that show what a prompt is made of."""
        views = self._seen_whole(stored, twin)
        shown = {image.origin_xy for image in pictures_of(review, [view.image for view in views])}
        return [view for view in views if view.image.origin_xy in shown]

    def _draft(self, review: Review, views: Sequence[Evidence], twin: Student) -> Prompt:
        """The prompt of all pictures, each merged with those before; refused where all are."""
        desk = PromptDesk(self._store, self._twins, self._settings, self._clock)
        drafts: list[Prompt] = []
        refusals: list[PromptRefused] = []
        for view in views:
            try:
                drafts.append(desk.draft(twin, review.craft, view, finding_in(review, view), drafts[-1:]))
            except PromptRefused as exc:
                refusals.append(exc)
        if not drafts:
            raise refusals[-1]
        return drafts[-1]

    def _fires(self, prompt: Prompt, twin: Student, stored: StoredCase) -> Firing | None:
        matcher = PromptMatcher(PromptBank(epoch="preview", revision=0, prompts=(prompt,)), prompt.space_id)
        boxes: list[Detection] = []
        for view in self._seen(stored, twin):
            match = matcher.match(view.seen, prompt.issued_at_s, view.gsd_m, view.known)
            match = match.only(match.sure)
            places = view.image.to_frame(view.seen.boxes_xyxy[match.rows])
            boxes += [
                Detection(box_xyxy=tuple(place), label=prompt.label, score=float(score))
                for place, score in zip(places.tolist(), match.scores, strict=True)
            ]
        if not boxes:
            return None
        return Firing(stored, tuple(boxes), self._agreed(stored, boxes, prompt.label))

    def _agreed(self, stored: StoredCase, boxes: Sequence[Detection], label: str) -> tuple[bool, ...]:
        reviews = self._store.reviews_of(stored.craft, stored.case.case_id)
        by_person = reviews[-1].boxes_of(label) if reviews else ()
        by_teacher = [
            d.box_xyxy
            for d in self._store.teacher_detections(stored)
            if not reviews and d.label.casefold() == label.casefold()
        ]
        overlap = box_iou(as_boxes([d.box_xyxy for d in boxes]), as_boxes([*by_person, *by_teacher]))
        return tuple(bool(best >= _AGREES_IOU) for best in overlap.max(axis=1, initial=0.0))

    def _seen(self, stored: StoredCase, twin: Student) -> list[Evidence]:
        """What a twin sees in every picture of a case, without its maps; nothing where they do not decode."""
        key = _key(stored, twin)
        kept = self._looks.pop(key, None)
        if kept is None:
            try:
                kept = [_light(view) for view in self._look(stored, twin)]
            except (ImageryError, StoreError):  # a damaged case is no reason to show nothing of the others
                kept = []
        self._looks[key] = kept
        if len(self._looks) > _KEPT_LOOKS:
            self._looks.popitem(last=False)
        return kept

    def _seen_whole(self, stored: StoredCase, twin: Student) -> list[Evidence]:
        key = _key(stored, twin)
        kept = self._whole.pop(key, None) or self._look(stored, twin)
        self._whole[key] = kept
        if len(self._whole) > _KEPT_WHOLE:
            self._whole.popitem(last=False)
        return kept

    def _look(self, stored: StoredCase, twin: Student) -> list[Evidence]:
        pose = stored.case.frame.pose
        images = open_case_images(stored.case, self._store.read_imagery(stored))
        return [look(twin, image, pose.gsd_m if pose else None) for image in images]


def _key(stored: StoredCase, twin: Student) -> tuple[str, ...]:
    return stored.craft, stored.case.case_id, twin.manifest.space_id, twin.bundle.variant


def _light(view: Evidence) -> Evidence:
    """The same without pixels and maps."""
    image = CaseImage(np.zeros((0, 0, 3), np.uint8), view.image.scale_xy, view.image.origin_xy)
    return replace(view, image=image, seen=replace(view.seen, raw=NO_MAPS))


def _pooled(view: Evidence, boxes_xyxy: Sequence[tuple[float, float, float, float]], stride_px: int) -> FloatArray:
    """(K, D) what a picture shows of some boxes that lie in it."""
    drawn = as_boxes(boxes_xyxy)
    drawn = drawn[box_inside(drawn, view.image.region_xyxy)[:, 0] > 0.5]
    height, width = view.image.image.shape[:2]
    inside = clip_boxes(view.image.from_frame(drawn), width, height)
    if not len(inside):
        return view.seen.embeddings[:0]
    return pool_things(view, inside, None, stride_px)
