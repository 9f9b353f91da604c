"""Targets: any number of things that somebody asked to follow, each a `FollowedTarget`, and answers that come late.

An answer is about a frame of the past. The target is begun anew there and catches up with the present, some frames at a
time, before it takes the place of what was believed meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from edge.bundle import Manifest
from edge.catching_up import CatchUp
from edge.errors import TargetError
from edge.followed_target import JUST_BEGUN, Answering, FollowedTarget, Target, TargetSettings, View
from edge.recent_frames import RecentFrames
from edge.short_term import ShortTermTracker
from edge.student import Perception
from protocols.arrays import FloatArray, ImageArray
from protocols.boxes import box_iou
from protocols.target_questions import TargetAnswer

_AGREEING_IOU = 0.5
"""A box that overlaps an answer's by more was right, as the benchmarks of detection count it."""
_SAME_IOU = 0.25
"""A box that overlaps one that is not exact by more may well be nearer the truth than that."""
_REMEMBERED = 600
"""Frames of each target's past that are kept to compare answers with: ten seconds at 60 a second."""


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

    followed: FollowedTarget
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
        self._followed: dict[int, FollowedTarget] = {}
        self._returning: dict[int, _Return] = {}
        self._past: dict[int, deque[Target]] = {}
        self._started = self._updates = 0

    @property
    def targets(self) -> tuple[Target, ...]:
        """All that are followed, as they were in the newest frame."""
        begun = [back.target for target_id, back in self._returning.items() if target_id not in self._followed]
        return tuple([*(followed.target for followed in self._followed.values()), *begun])

    def use_student(self, manifest: Manifest, templates: Mapping[int, FloatArray]) -> None:
        """Look with another student from the next frame on; targets are kept, what they looked like to the last is not.

        A target without a template is followed, or looked for, without its looks until it is surely seen again.

        Args:
            manifest: of the student.
            templates: (D,) what it makes of the first looks of targets, by target id.
        """
        self._stride_px, self._space_id = manifest.stride_px, manifest.space_id
        self._embedding_dim = manifest.embedding_dim
        for followed in [*self._followed.values(), *(back.followed for back in self._returning.values())]:
            followed.see_anew(manifest.stride_px, templates.get(followed.target.target_id))

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
        followed = base.begun_anew(image, box_xyxy)
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
        view = View(image, motion, seen, answering or {})
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
    ) -> FollowedTarget:
        count = len({*self._followed, *self._returning})
        if count >= self.settings.most:
            raise TargetError(f"{count} targets are followed, at most {self.settings.most}; stop one first")
        followed = FollowedTarget(self._started + 1, label, self._make(), self.settings, self._stride_px)
        followed.start(image, box_xyxy, seen, reason)
        self._started += 1
        return followed

    def _known(self, target_id: int) -> FollowedTarget | None:
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
        if old is not None:
            back.followed.stand_in_for(old)
        self._followed[target_id] = back.followed


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
