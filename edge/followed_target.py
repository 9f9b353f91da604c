"""One target that is followed: its state and the reason for it, what is known of it, and what each frame makes of that.

It is looked for by its own short-term tracker around the place that its motion and the camera's make likely. Out of
what is seen there comes its presence; only where that is high anything is learnt, and where it stays low the target
is called lost. From then on it is searched in the whole frame, among what the student sees but did not see beside it
before, and taken for the same one only where two agree, in two looks: the first template with the prompt, or, where no
prompt answers for it, with the short-term tracker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edge.bystanders import Bystanders
from edge.camera_motion import move_boxes
from edge.config import Settings
from edge.presence import MOST_SURPRISE, Evidence, Presence, PresenceSettings, Usual
from edge.recent_frames import RecentFrame
from edge.short_term import Follower, ShortTermTracker, Sighting, checked_target
from edge.student import Perception
from edge.target_looks import TargetLooks, embedding_at
from edge.target_motion import TargetMotion
from protocols.arrays import FloatArray, ImageArray
from protocols.boxes import box_inside, box_iou
from protocols.limits import MAX_TARGETS
from protocols.target_questions import TargetAnswer

TargetState: TypeAlias = Literal["tentative", "tracked", "lost", "re_found"]
Answering: TypeAlias = Mapping[str, NDArray[np.int64]]
"""By label, the candidates of a perception that surely answer to it; a label that nothing could answer is not there."""

JUST_BEGUN = "just begun"

_LEAST_VISIBLE = 0.3
"""Share of the expected box within the frame; of what shows less, most of the window would be made up."""
_FAR = 3.0
"""Mahalanobis distance from the expected place beyond which hardly a sighting of the target itself lies."""
_WORSE, _ODDS_GAIN = 2.0, 0.1
"""Log odds below the usual ones at which a look still found the target, if these are low, and share of the newest in
them: what changes fast is never sure, but on renders what took its place is less so by more."""
_SURPRISE_GAIN = 0.2
"""Share of the newest surprise in the usual one: targets change how they move within a second."""
_LOOKED_FOR_EVERY = 2
"""Frames, for a lost target that the student never saw: where it may be is looked at twice, and a guess followed beside
that, which together would cost three times as much as following it did."""
_SAME_PLACE_IOU = 0.3
"""A look that was to try a place and ended farther away tells of another place."""


class TargetSettings(Settings):
    """How targets are followed; chosen on rendered sequences in which they leave and return (docs/tracking.md).

    Attributes:
        tracker: the short-term one, see `edge.opencv_trackers.open_short_term`.
        presence: what a frame's evidence weighs.
        sure_above: presence of a sure frame; only in those the student's view of the target is learnt.
        learn_above: presence from which the short-term tracker learns likely looks. What changes its looks quickly is
            never sure, and lost for good if that is not learnt.
        doubt_below: presence under which nobody claims any more to track the target: it is tentative again, and still
            followed. Presence has a memory of its own: to wait for 3 such frames made 2.7 % of the frames of rendered
            disappearances falsely claimed instead of 1.2, and not more of the others rightly.
        patience: frames in a row that are not sure after which one that was just found again is lost: it must prove
            itself.
        lost_below: presence that, `patience` frames in a row, means lost.
        doubted: frames in a row in doubt after which it is lost, too.
        confirm: sure frames until a tentative or re-found target is tracked.
        template_at_least: likeness with the first template from which a candidate may be the target again.
        tried: candidates of one frame at which a lost target is looked for.
        reach, reach_per_frame: how far over the ground from where it was lost, in units of its size, it is looked for
            at first, and how much farther with each frame: what is alike and too far away is another.
        most: targets at one time; more are refused.
        looks: of short-term trackers in one frame, for all targets together, where some of them catch up with the
            present; the loop keeps its rate then. At least two are left for those, or they would never arrive.
    """

    tracker: str = "correlation"
    presence: PresenceSettings = PresenceSettings()
    sure_above: float = 0.6
    learn_above: float = 0.2
    doubt_below: float = 0.3
    patience: int = 3
    lost_below: float = 0.1
    doubted: int = 10
    confirm: int = 3
    template_at_least: float = 0.6
    tried: int = 3
    reach: float = 1.0
    reach_per_frame: float = 0.2
    most: int = Field(default=MAX_TARGETS, ge=1)
    looks: int = 8


@dataclass(frozen=True)
class Target:
    """What is known of one target in one frame.

    Attributes:
        target_id: from 1, never used again.
        label: what it is called; a prompt or known class of that label answers for it.
        state: `tentative` until it was surely seen a few times, `tracked`, `lost`, and `re_found` until sure again.
        reason: of the state, in words.
        box_xyxy: (4,) float32 pixels of the frame; of a target in doubt, or lost, the best guess: where a follower that
            believes whatever it sees has it, else where it would be, had it stayed on the ground.
        presence: probability that it is there, 0 to 1.
        evidence: what that rests on in this frame; None where nothing was looked at.
    """

    target_id: int
    label: str
    state: TargetState
    reason: str
    box_xyxy: FloatArray
    presence: float
    evidence: Evidence | None = None


@dataclass(frozen=True)
class View:
    """One frame as all targets see it."""

    image: ImageArray
    motion: FloatArray
    seen: Perception | None
    answering: Answering


class FollowedTarget:
    """One target with all that is known of it."""

    def __init__(
        self, target_id: int, label: str, tracker: ShortTermTracker, settings: TargetSettings, stride_px: int
    ) -> None:
        self._id, self._label, self._tracker = target_id, label, tracker
        self._settings, self._stride_px = settings, stride_px
        self._state: TargetState = "tentative"
        self._reason = JUST_BEGUN
        self._presence = Presence(settings.presence)
        self._usual = Usual()
        self._usual_surprise, self._usual_odds = 1.0, 0.0
        self._looks, self._bystanders = TargetLooks(), Bystanders()
        self._hint: FloatArray | None = None  # where a lost target was seen in the last look
        self._evidence: Evidence | None = None
        self._sure = self._doubtful = self._absent = self._gone = 0
        self._is_at_rest = False
        self._guess: Follower | None = None
        self._guess_xyxy: FloatArray | None = None

    def start(self, image: ImageArray, box_xyxy: FloatArray, seen: Perception | None, reason: str = JUST_BEGUN) -> None:
        """Begin at a box, (4,) pixels of a frame.

        Raises:
            TargetError: see `edge.short_term.checked_target`.
        """
        box = checked_target(image, box_xyxy)
        self._reason = reason
        self._tracker.start(image, box)
        self._begin_at(box)
        if seen is not None:
            self._looks.learn(seen, box, embedding_at(seen, box, self._stride_px))

    def _begin_at(self, box: FloatArray) -> None:
        self._motion = TargetMotion(box)
        self._box = self.first_xyxy = box
        # What cannot be copied learns wherever it looks: of several places it would know them all for the target.
        self._learns_looking = self._tracker.copied() is None

    def begun_anew(self, image: ImageArray, box_xyxy: FloatArray) -> FollowedTarget:
        """The same target, begun at a box that somebody else vouches for; what the student knows of it stays.

        Raises:
            TargetError: see `edge.short_term.checked_target`.
        """
        box = checked_target(image, box_xyxy)
        tracker = self._tracker.restarted(image, box)
        anew = FollowedTarget(self._id, self._label, tracker, self._settings, self._stride_px)
        anew._begin_at(box)
        anew._looks = self._looks
        is_lost = self._state == "lost"
        anew._state, anew._reason = ("re_found", "shown by the cloud") if is_lost else (self._state, self._reason)
        return anew

    def stand_in_for(self, old: FollowedTarget) -> None:
        """Take over what was seen beside the target by another one of it, which has seen the same newest frame.

        Where that followed something else, the target itself may be among it: who is at its place now is left out, and
        where it is lost nobody knows which that is.
        """
        if self._state != "lost":
            self._bystanders = old._bystanders.apart_from(self._box)

    def see(self, frame: RecentFrame) -> None:
        """One frame of the past, of which nobody remembers what the student saw."""
        self.update(View(frame.image, frame.motion, None, {}))

    def teach(self, answer: TargetAnswer) -> None:
        """Looks of the target, and of what it may be confused with, that somebody vouches for."""
        if answer.positives is not None:
            self._looks.show(answer.positives.to_array())
        if answer.negatives is not None:
            self._looks.warn(answer.negatives.to_array())

    def see_anew(self, stride_px: int, template: FloatArray | None) -> None:
        """Another student looks from now on: what the last one made of the target means nothing to it.

        Args:
            stride_px: of its maps.
            template: (D,) what it makes of the first look, where that is known.
        """
        self._stride_px = stride_px
        self._looks.begin_anew(template)

    def lose(self, reason: str) -> None:
        """Believe somebody else that the target is not there."""
        self._presence.deny()
        self._turn("lost", reason)

    @property
    def target(self) -> Target:
        """What is said of it in the newest frame."""
        box = self._box if self._guess_xyxy is None else self._guess_xyxy
        return Target(self._id, self._label, self._state, self._reason, box, self._presence.value, self._evidence)

    def update(self, view: View) -> None:
        """Look for it in the next frame."""
        self._evidence = None
        self._guess_on(view)
        self._bystanders.carry(view.motion)
        # What the student never saw cannot be searched by its looks: it is looked for where it is expected.
        if self._state == "lost" and self._looks.template is not None:
            self._box = self._motion.rest(view.motion)
            self._hint = None if self._hint is None else move_boxes(self._hint[None], view.motion)[0]
            self._gone += 1
            if view.seen is not None:
                self._search(view, view.seen)
        else:
            self._follow(view)
            if view.seen is not None:
                is_sure = self._state == "tracked" and self._presence.value > self._settings.sure_above
                self._bystanders.see(view.seen.boxes_xyxy, self._box, is_sure=is_sure)

    def _follow(self, view: View) -> None:
        is_lost = self._state == "lost"
        self._box = self._motion.rest(view.motion) if self._is_at_rest else self._motion.predict(view.motion)
        if _visible(self._box, view.image) < _LEAST_VISIBLE:
            self._presence.deny()
            self._turn("lost", "left the frame")
            return
        sighting = self._look(view, is_lost=is_lost)
        if sighting is None:
            return
        embedding = self._embedding(view.seen, sighting)
        evidence = self._told_by(sighting, embedding)
        if is_lost:
            evidence = replace(evidence, surprise=0.0)  # nothing was expected
        self._evidence = evidence
        presence = self._presence.weigh(evidence, is_lost=is_lost)
        is_likely = evidence.odds > min(self._usual_odds - _WORSE, 0)
        if is_likely:
            self._usual_odds += _ODDS_GAIN * (evidence.odds - self._usual_odds)
            self._learn_surprise(evidence.surprise)
        # What is far from the expected place and unlike the target is another thing: it is no reason to expect the
        # target there, too.
        if is_likely or (not is_lost and evidence.surprise < _FAR):
            self._motion.correct(sighting.box_xyxy)
        # Lost by mistake, a target is still followed; gone, it stays with the ground on which it was seen last.
        self._is_at_rest = is_lost and not is_likely
        if not self._is_at_rest:
            self._box = sighting.box_xyxy
        if is_likely and presence > self._settings.learn_above:
            self._tracker.learn(view.image, sighting)
            self._usual.learn(sighting)
        elif self._guess is None:
            self._begin_guess(view, sighting)
        if presence > self._settings.sure_above:
            self._be_sure(view.seen, sighting, embedding)
        self._judge(presence)

    def _look(self, view: View, *, is_lost: bool) -> Sighting | None:
        sighting = None
        self._gone += is_lost
        if not is_lost or self._gone % _LOOKED_FOR_EVERY == 0:
            sighting = self._tracker.look(view.image, self._box)
        if is_lost and sighting is not None:
            # Whatever is there is judged in the middle of a window, as a target that is followed is.
            sighting = self._tracker.look(view.image, sighting.box_xyxy)
        return sighting

    def _be_sure(self, seen: Perception | None, sighting: Sighting, embedding: FloatArray | None) -> None:
        self._end_guess()
        if seen is not None:
            self._looks.learn(seen, sighting.box_xyxy, embedding)

    def _begin_guess(self, view: View, sighting: Sighting) -> None:
        """From now on, until the target is sure again, it is shown where it is if whatever is seen is believed.

        What is claimed rests on a tracker that does not learn in doubt; but what changes its looks faster than that
        allows is still there, and a follower that learns on stays with it.
        """
        tracker = self._tracker.copied()
        if tracker is None:
            return
        tracker.learn(view.image, sighting)
        self._guess, self._guess_xyxy = Follower(tracker), sighting.box_xyxy
        self._guess.go_on(sighting.box_xyxy)

    def _guess_on(self, view: View) -> None:
        if self._guess is None:
            return
        self._guess_xyxy = self._guess.update(view.image, view.motion).box_xyxy
        if _visible(self._guess_xyxy, view.image) < _LEAST_VISIBLE:
            self._end_guess()

    def _end_guess(self) -> None:
        self._guess = self._guess_xyxy = None

    def _learn_surprise(self, surprise: float) -> None:
        """What moves by jerks, or is seen a few times a second, is always somewhat elsewhere."""
        newest = min(surprise * self._usual_surprise, MOST_SURPRISE)
        self._usual_surprise = max(self._usual_surprise + _SURPRISE_GAIN * (newest - self._usual_surprise), 1.0)

    def _embedding(self, seen: Perception | None, sighting: Sighting) -> FloatArray | None:
        return None if seen is None else embedding_at(seen, sighting.box_xyxy, self._stride_px)

    def _told_by(self, sighting: Sighting, embedding: FloatArray | None) -> Evidence:
        return Evidence(
            odds=self._usual.odds(sighting),
            surprise=self._motion.surprise(sighting.box_xyxy) / self._usual_surprise,
            looks=float("nan") if embedding is None else float(self._looks.likeness(embedding[None])[0]),
        )

    def _judge(self, presence: float) -> None:
        """What the newest presence makes of the state."""
        settings, state = self._settings, self._state
        least = settings.sure_above if state == "re_found" else settings.doubt_below
        self._sure = self._sure + 1 if presence > settings.sure_above else 0
        self._doubtful = self._doubtful + 1 if presence < least else 0
        self._absent = self._absent + 1 if presence < settings.lost_below else 0
        if state == "lost":
            if self._sure >= settings.confirm:
                self._turn("re_found", f"short-term tracker alone is sure in {self._sure} frames; there is no template")
        elif self._absent >= settings.patience:
            self._turn("lost", f"presence under {settings.lost_below:g} for {self._absent} frames")
        elif self._doubtful >= (settings.patience if state == "re_found" else settings.doubted):
            self._turn("lost", f"presence under {least:g} for {self._doubtful} frames")
        elif state == "tracked" and self._doubtful:
            self._state, self._reason = "tentative", f"doubted: presence under {least:g}"
        elif state != "tracked" and self._sure >= settings.confirm:
            self._gone = 0
            self._turn("tracked", f"surely seen in {self._sure} frames")

    def _turn(self, state: TargetState, reason: str) -> None:
        self._state, self._reason = state, reason
        self._sure = self._doubtful = self._absent = 0

    def _search(self, view: View, seen: Perception) -> None:
        """Look for a lost target wherever the student sees something like it, and where it was lost.

        What is likeliest must be so in two looks in a row at one place: of what is mistaken for the target most is not.
        """
        is_bystander = self._bystanders.see(seen.boxes_xyxy, self._box, is_sure=False)
        rows = view.answering.get(self._label)
        is_prompted = rows is not None
        rows = self._in_reach(seen, np.flatnonzero(seen.is_object) if rows is None else rows)
        rows = rows[~is_bystander[rows]]
        likeness = self._looks.likeness(seen.embeddings[rows])
        order = np.argsort(-likeness, kind="stable")[: self._settings.tried]
        alike = rows[order[likeness[order] >= self._settings.template_at_least]]
        places = [self._at(seen.boxes_xyxy[row]) for row in alike] + ([] if is_prompted else [self._box])
        if self._learns_looking:
            places = places[:1]
        found = [found for place in places if (found := self._try(view, place, is_prompted=is_prompted))]
        hint, self._hint = self._hint, None
        if found:
            odds, self._hint = max(found, key=lambda each: each[0])
            if hint is not None and _is_near(hint, self._hint):
                self._find(self._hint, odds)
                by = f"prompt {self._label!r}" if is_prompted else "short-term tracker"
                self._turn("re_found", f"first template and {by} agree")
                return
        self._presence.deny()

    def _find(self, box_xyxy: FloatArray, odds: float) -> None:
        """Follow it from a place on, as surely as it was seen there."""
        self._box = box_xyxy
        self._hint = None
        self._end_guess()
        self._motion.restart(box_xyxy)
        self._presence = Presence(self._settings.presence, odds)

    def _try(self, view: View, place_xyxy: FloatArray, *, is_prompted: bool) -> tuple[float, FloatArray] | None:
        """Log odds that the target is at a place, and its box there; None where it is not."""
        if _visible(place_xyxy, view.image) < _LEAST_VISIBLE:
            return None
        sighting = self._tracker.look(view.image, place_xyxy)
        evidence = self._told_by(sighting, self._embedding(view.seen, sighting))
        if not _is_near(sighting.box_xyxy, place_xyxy):
            return None
        if not evidence.looks >= self._settings.template_at_least:  # nan is not
            return None
        odds = self._presence.odds_of(replace(evidence, surprise=0.0), is_lost=True)  # nothing was expected
        # Many things answer to one prompt: what is unlike the target to its short-term tracker is lost again at once.
        is_it = odds > 0 and (is_prompted or evidence.odds > 0)
        return (odds, sighting.box_xyxy) if is_it else None

    def _in_reach(self, seen: Perception, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those candidates to which the target may have come since it was lost."""
        boxes = seen.boxes_xyxy[rows]
        apart = (boxes[:, :2] + boxes[:, 2:] - self._box[:2] - self._box[2:]) / 2
        reach = self._settings.reach + self._settings.reach_per_frame * self._gone
        limit_px = reach * float(np.sqrt(np.prod(self._box[2:] - self._box[:2])))
        return np.asarray(rows[np.hypot(*apart.T) <= limit_px], dtype=np.int64)

    def _at(self, candidate_xyxy: FloatArray) -> FloatArray:
        """(4,) a box of the target's own size in the middle of a candidate."""
        half = (self._box[2:] - self._box[:2]) / 2
        centre = (candidate_xyxy[:2] + candidate_xyxy[2:]) / 2
        return np.concatenate([centre - half, centre + half]).astype(np.float32)


def _is_near(a_xyxy: FloatArray, b_xyxy: FloatArray) -> bool:
    return float(box_iou(a_xyxy[None], b_xyxy[None])[0, 0]) >= _SAME_PLACE_IOU


def _visible(box_xyxy: FloatArray, image: ImageArray) -> float:
    """Share of a box within the image."""
    frame = np.array([[0, 0, image.shape[1], image.shape[0]]], np.float32)
    return float(box_inside(box_xyxy[None], frame)[0, 0])
