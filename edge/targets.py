"""Targets: things that somebody asked to follow, one or many, each with a state and the reason for it.

A target is looked for by its own short-term tracker around the place that its motion and the camera's make likely. Out
of what is seen there comes its presence; only where that is high anything is learnt, and where it stays low the target
is called lost. From then on it is searched in the whole frame, among what the student sees, and taken for the same one
only where two agree: the first template with the prompt, or, where no prompt answers for it, with the short-term
tracker.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edge.catching_up import CatchUp
from edge.config import Settings
from edge.errors import TargetError
from edge.presence import MOST_SURPRISE, Evidence, Presence, PresenceSettings, Usual
from edge.recent_frames import RecentFrame, RecentFrames
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
_AGREEING_IOU = 0.5
"""A box that overlaps an answer's by more was right, as the benchmarks of detection count it."""
_SAME_IOU = 0.25
"""A box that overlaps one that is not exact by more may well be nearer the truth than that."""
_REMEMBERED = 600
"""Frames of each target's past that are kept to compare answers with: ten seconds at 60 a second."""
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
        doubt_below, patience: presence, and frames in a row under it, after which nobody claims any more to track the
            target: it is tentative again, and still followed. One that was just found again must prove itself: it is
            lost after as many frames that are not sure.
        lost_below: presence that, as many frames in a row, means lost.
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
class _View:
    """One frame as all targets see it."""

    image: ImageArray
    motion: FloatArray
    seen: Perception | None
    answering: Answering


@dataclass
class _Return:
    """A target that was shown in a frame of the past, and comes back from there.

    Attributes:
        followed: what is known of it, begun in that frame.
        catch_up: its way to the present.
        was: what was said of it in that frame; None of a target that begins.
        update: number of the update that saw that frame.
        was_lost: whether it was lost on the way.
    """

    followed: _Followed
    catch_up: CatchUp
    was: Target | None
    update: int
    was_lost: bool = False

    @property
    def target(self) -> Target:
        """What can be said of a target that begins: where it would be by now, had it stayed on the ground."""
        target = self.followed.target
        reason = f"begun in a frame of the past, {self.catch_up.behind} frames behind"
        return replace(target, state="tentative", reason=reason, box_xyxy=self.catch_up.carried(target.box_xyxy))


class TargetTracker:
    """Any number of targets in one video."""

    def __init__(
        self,
        make: Callable[[], ShortTermTracker],
        settings: TargetSettings | None = None,
        stride_px: int = 4,
        space_id: str | None = None,
        embedding_dim: int | None = None,
    ) -> None:
        """Follow nothing yet.

        Args:
            make: a short-term tracker, once for each target: see `edge.opencv_trackers.open_short_term`.
            settings: see there.
            stride_px: of the student's maps.
            space_id: of its embedding; None where it never looks.
            embedding_dim: length of its vectors.
        """
        self.settings = settings or TargetSettings()
        self._space_id, self._embedding_dim = space_id, embedding_dim
        self._make, self._stride_px = make, stride_px
        self._followed: dict[int, _Followed] = {}
        self._returning: dict[int, _Return] = {}
        self._past: dict[int, deque[Target]] = {}
        self._started = self._updates = 0

    @property
    def targets(self) -> tuple[Target, ...]:
        """All that are followed, as they were in the newest frame."""
        begun = [back.target for target_id, back in self._returning.items() if target_id not in self._followed]
        return tuple([*(followed.target for followed in self._followed.values()), *begun])

    def start(
        self,
        image: ImageArray,
        box_xyxy: FloatArray,
        label: str = "target",
        seen: Perception | None = None,
        *,
        reason: str = JUST_BEGUN,
    ) -> Target:
        """Follow one more target from the newest frame on.

        Args:
            image: that frame, (H, W) or (H, W, 3) uint8.
            box_xyxy: (4,) pixels.
            label: what to call it.
            seen: what the student saw in the frame, where it looked.
            reason: of its first state.

        Raises:
            TargetError: the box is outside the frame, too small, or not of numbers, or there are as many targets as
                the settings allow; nothing is followed then.
        """
        followed = self._begun(image, box_xyxy, label, seen, reason)
        self._followed[self._started] = followed
        return followed.target

    def start_at(self, frames: RecentFrames, index: int, box_xyxy: FloatArray, label: str = "target") -> Target:
        """Follow one more target from a frame of the past on; it catches up with the newest within a few frames.

        Args:
            frames: the newest of them is the frame that `update` was given last.
            index: the frame in which somebody saw the target.
            box_xyxy: (4,) pixels of that frame.
            label: what to call it.

        Returns:
            The target, `tentative`: where it would be in the newest frame, had it stayed on the ground.

        Raises:
            TargetError: the frame is not held, the box is no target in it, or there are as many as the settings allow;
                nothing is followed then.
        """
        followed = self._begun(frames.at(index).image, box_xyxy, label)
        back = _Return(followed, CatchUp(frames, index, followed.see), None, self._updates)
        self._returning[self._started] = back
        return back.target

    def correct(
        self, target_id: int, frames: RecentFrames, index: int, box_xyxy: FloatArray | None, *, is_exact: bool = True
    ) -> bool:
        """Put one target right by what is known of a frame of the past.

        Where a box is given the target is begun anew there, and followed through the frames since, a few with every
        new frame; until then it is shown as it was. Then it takes the place of what was believed, unless it was lost on
        the way while the target itself was found again or had been right all the time.

        Args:
            target_id: which.
            frames: the newest of them is the frame that `update` was given last.
            index: the frame of the answer.
            box_xyxy: (4,) pixels of it; None says that the target is not there: it is lost, unless found again since.
            is_exact: whether the box is the target's to the pixel. One that is not puts nothing right where what was
                believed is near it, and says as much of the target's size as what was believed.

        Returns:
            Whether anything is to change.

        Raises:
            TargetError: there is no such target, the frame is not held, or the box is no target in it; nothing has
                changed then.
        """
        old = self._known(target_id)
        image = frames.at(index).image
        ago = len(frames.after(index))
        was = self._was(target_id, ago)
        if box_xyxy is None:
            if old is None or self._found_since(target_id, ago):
                return False
            old.lose("not there, says the cloud")
            self._returning.pop(target_id, None)
            return True
        if not is_exact and was is not None:
            if was.state != "lost" and _overlap(was.box_xyxy, box_xyxy) >= _SAME_IOU:
                return False
            box_xyxy = _tempered(box_xyxy, was.box_xyxy)
        base = old if old is not None else self._returning[target_id].followed
        followed = base.begun_anew(self._make(), image, box_xyxy)
        way = CatchUp(frames, index, followed.see)
        self._returning[target_id] = _Return(followed, way, was, self._updates - ago)
        if not way.behind:
            self._arrive(target_id)
        return True

    def is_catching_up(self, target_id: int) -> bool:
        """Whether a target is on its way from a frame of the past."""
        return target_id in self._returning

    def teach(self, target_id: int, answer: TargetAnswer) -> None:
        """Take in what somebody says that a target looks like, and what not.

        Vectors of another space, or of another length than this student's, say nothing.

        Raises:
            TargetError: there is no such target.
        """
        known = (
            self._known(target_id) or self._returning[target_id].followed
        )  # one that was known before shares its looks
        lengths = {vectors.dim for vectors in (answer.positives, answer.negatives) if vectors is not None}
        if answer.space_id == self._space_id and lengths <= {self._embedding_dim}:
            known.teach(answer)

    def stop(self, target_id: int) -> None:
        """Follow one target no longer.

        Raises:
            TargetError: there is none of that number.
        """
        self._known(target_id)
        self._followed.pop(target_id, None)
        self._returning.pop(target_id, None)
        self._past.pop(target_id, None)

    def update(
        self,
        image: ImageArray,
        motion: FloatArray,
        seen: Perception | None = None,
        answering: Answering | None = None,
    ) -> tuple[Target, ...]:
        """Where every target is in the next frame.

        Args:
            image: that frame.
            motion: (2, 3) similarity by which still ground moved since the last one.
            seen: what the student saw in it, where it looked.
            answering: by label, which of its candidates are sure detections, known or prompted.
        """
        view = _View(image, motion, seen, answering or {})
        for followed in self._followed.values():
            followed.update(view)
        self._updates += 1
        self._catch_up()
        for target in self.targets:
            self._past.setdefault(target.target_id, deque(maxlen=_REMEMBERED)).append(target)
        return self.targets

    def _begun(
        self,
        image: ImageArray,
        box_xyxy: FloatArray,
        label: str,
        seen: Perception | None = None,
        reason: str = JUST_BEGUN,
    ) -> _Followed:
        count = len({*self._followed, *self._returning})
        if count >= self.settings.most:
            raise TargetError(f"{count} targets are followed, at most {self.settings.most}; stop one first")
        followed = _Followed(self._started + 1, label, self._make(), self.settings, self._stride_px)
        followed.start(image, box_xyxy, seen, reason)
        self._started += 1
        return followed

    def _known(self, target_id: int) -> _Followed | None:
        """One target as it is followed now; None while it still catches up for the first time."""
        if target_id not in self._followed and target_id not in self._returning:
            known = ", ".join(map(str, sorted({*self._followed, *self._returning}))) or "none"
            raise TargetError(f"target {target_id}: is not followed; name one that is ({known})")
        return self._followed.get(target_id)

    def _was(self, target_id: int, ago: int) -> Target | None:
        """What was said of a target so many frames ago; None where that is not known."""
        past = self._past.get(target_id, deque())
        return past[-1 - ago] if ago < len(past) else None

    def _found_since(self, target_id: int, ago: int) -> bool:
        """Whether a target was lost or doubted in one of the newest frames, and is believed again."""
        past = self._past.get(target_id, deque())
        states = [target.state for target in list(past)[-ago:]] if ago else []
        return bool(states) and states[-1] in ("tracked", "re_found") and states.count("tracked") < len(states)

    def _catch_up(self) -> None:
        """Let those come nearer that come from the past, who set out first first."""
        left = max(self.settings.looks - len(self._followed), 2)
        for target_id, back in list(self._returning.items()):
            while left > 0 and back.catch_up.run(1):
                left -= 1
                back.was_lost = back.was_lost or back.followed.target.state == "lost"
            if not back.catch_up.behind:
                self._arrive(target_id)

    def _arrive(self, target_id: int) -> None:
        """Let a target that has caught up take the place of what was believed, unless that is surer."""
        back, old = self._returning.pop(target_id), self._followed.get(target_id)
        if old is not None and back.was_lost and old.target.state != "lost":
            was_right = back.was is not None and _agree(back.was.box_xyxy, back.followed.first_xyxy)
            if was_right or self._found_since(target_id, self._updates - back.update):
                return
        self._followed[target_id] = back.followed


class _Followed:
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
        self._looks = TargetLooks()
        self._evidence: Evidence | None = None
        self._sure = self._doubtful = self._absent = self._gone = 0
        self._is_at_rest = False
        self._guess: Follower | None = None
        self._guess_xyxy: FloatArray | None = None

    def start(self, image: ImageArray, box_xyxy: FloatArray, seen: Perception | None, reason: str = JUST_BEGUN) -> None:
        box = checked_target(image, box_xyxy)
        self._reason = reason
        self._tracker.start(image, box)
        self._motion = TargetMotion(box)
        self._box = self.first_xyxy = box
        if seen is not None:
            self._looks.learn(seen, box, embedding_at(seen, box, self._stride_px))

    def begun_anew(self, tracker: ShortTermTracker, image: ImageArray, box_xyxy: FloatArray) -> _Followed:
        """The same target, begun at a box that somebody else vouches for; what the student knows of it stays."""
        anew = _Followed(self._id, self._label, tracker, self._settings, self._stride_px)
        anew.start(image, box_xyxy, None)
        anew._looks = self._looks
        is_lost = self._state == "lost"
        anew._state, anew._reason = ("re_found", "shown by the cloud") if is_lost else (self._state, self._reason)
        return anew

    def see(self, frame: RecentFrame) -> None:
        """One frame of the past, of which nobody remembers what the student saw."""
        self.update(_View(frame.image, frame.motion, None, {}))

    def teach(self, answer: TargetAnswer) -> None:
        """Looks of the target, and of what it may be confused with, that somebody vouches for."""
        if answer.positives is not None:
            self._looks.show(answer.positives.to_array())
        if answer.negatives is not None:
            self._looks.warn(answer.negatives.to_array())

    def lose(self, reason: str) -> None:
        """Believe somebody else that the target is not there."""
        self._presence.deny()
        self._turn("lost", reason)

    @property
    def target(self) -> Target:
        box = self._box if self._guess_xyxy is None else self._guess_xyxy
        return Target(self._id, self._label, self._state, self._reason, box, self._presence.value, self._evidence)

    def update(self, view: _View) -> None:
        self._evidence = None
        self._guess_on(view)
        # What the student never saw cannot be searched by its looks: it is looked for where it is expected.
        if self._state == "lost" and self._looks.template is not None:
            self._box = self._motion.rest(view.motion)
            self._gone += 1
            if view.seen is not None:
                self._search(view, view.seen)
        else:
            self._follow(view)

    def _follow(self, view: _View) -> None:
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

    def _look(self, view: _View, *, is_lost: bool) -> Sighting | None:
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

    def _begin_guess(self, view: _View, sighting: Sighting) -> None:
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

    def _guess_on(self, view: _View) -> None:
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
        elif state == "tracked" and self._doubtful >= settings.patience:
            self._state, self._reason = "tentative", f"doubted: presence under {least:g}"
        elif state != "tracked" and self._sure >= settings.confirm:
            self._gone = 0
            self._turn("tracked", f"surely seen in {self._sure} frames")

    def _turn(self, state: TargetState, reason: str) -> None:
        self._state, self._reason = state, reason
        self._sure = self._doubtful = self._absent = 0

    def _search(self, view: _View, seen: Perception) -> None:
        """Look for a lost target wherever the student sees something like it, and where it was lost."""
        rows = view.answering.get(self._label)
        is_prompted = rows is not None
        rows = self._in_reach(seen, np.flatnonzero(seen.is_object) if rows is None else rows)
        likeness = self._looks.likeness(seen.embeddings[rows])
        order = np.argsort(-likeness, kind="stable")[: self._settings.tried]
        for row in rows[order[likeness[order] >= self._settings.template_at_least]]:
            if self._try(view, self._at(seen.boxes_xyxy[row]), is_prompted=is_prompted):
                by = f"prompt {self._label!r}" if is_prompted else "short-term tracker"
                self._turn("re_found", f"first template and {by} agree")
                return
        if not is_prompted and self._try(view, self._box, is_prompted=False):
            self._turn("re_found", "where it was lost: first template and short-term tracker agree")
            return
        self._presence.deny()

    def _try(self, view: _View, place_xyxy: FloatArray, *, is_prompted: bool) -> bool:
        """Whether the target is at a place; if so it is followed from there."""
        if _visible(place_xyxy, view.image) < _LEAST_VISIBLE:
            return False
        sighting = self._tracker.look(view.image, place_xyxy)
        evidence = self._told_by(sighting, self._embedding(view.seen, sighting))
        if box_iou(sighting.box_xyxy[None], place_xyxy[None])[0, 0] < _SAME_PLACE_IOU:
            return False
        if not evidence.looks >= self._settings.template_at_least:  # nan is not
            return False
        if not is_prompted and not self._is_it(evidence):
            return False
        self._box = sighting.box_xyxy
        self._end_guess()
        self._motion.restart(self._box)
        self._presence = Presence(self._settings.presence)
        return True

    def _is_it(self, evidence: Evidence) -> bool:
        """Whether the short-term tracker agrees: by its look alone and by all that is seen likelier than not."""
        there = replace(evidence, surprise=0.0)  # nothing was expected
        return min(evidence.odds, self._presence.odds_of(there, is_lost=True)) > 0

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


def _agree(a_xyxy: FloatArray, b_xyxy: FloatArray) -> bool:
    return _overlap(a_xyxy, b_xyxy) >= _AGREEING_IOU


def _overlap(a_xyxy: FloatArray, b_xyxy: FloatArray) -> float:
    return float(box_iou(a_xyxy[None], np.asarray(b_xyxy, dtype=np.float32)[None])[0, 0])


def _tempered(box_xyxy: FloatArray, known_xyxy: FloatArray) -> FloatArray:
    """(4,) a box where it is, its sides the geometric means of its own and those that were known."""
    box, known = np.asarray(box_xyxy, dtype=np.float32), np.asarray(known_xyxy, dtype=np.float32)
    sides = np.maximum(box[2:] - box[:2], 0) * np.maximum(known[2:] - known[:2], 0)
    half, middle = np.sqrt(sides) / 2, (box[:2] + box[2:]) / 2
    return np.concatenate([middle - half, middle + half]).astype(np.float32)


def _visible(box_xyxy: FloatArray, image: ImageArray) -> float:
    """Share of a box within the image."""
    frame = np.array([[0, 0, image.shape[1], image.shape[0]]], np.float32)
    return float(box_inside(box_xyxy[None], frame)[0, 0])
