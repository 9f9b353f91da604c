"""A thin tracker: every detection, known or prompted, keeps a `track_id` from frame to frame.

Camera motion taken out, constant velocity, greedy matching on overlap and distance within one label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.camera_motion import move_boxes
from edge.config import Settings
from protocols.arrays import Boxes, FloatArray
from protocols.boxes import box_iou


class TrackerSettings(Settings):
    """How tracks live and die.

    Attributes:
        max_misses: frames without a detection after which a lost track ends.
        confirm_hits: detections until a tentative track is a confirmed one, which outlives gaps and faint detections.
        max_faint: frames in a row that a confirmed track follows on faint detections alone: two seconds at 15 a second.
        gate: centre distance, in units of the box's size, beyond which nothing is matched.
        velocity_gain: share of the newest displacement in the velocity.
    """

    max_misses: int = 12
    confirm_hits: int = 3
    max_faint: int = 30
    gate: float = 1.5
    velocity_gain: float = 0.4


@dataclass(eq=False)
class Track:
    """One thing followed through the video, in pixels of the newest frame."""

    track_id: int
    label: str
    box_xyxy: FloatArray
    score: float
    velocity_px: FloatArray
    hits: int = 1
    misses: int = 0
    faint: int = 0


class Tracker:
    """Many targets at once."""

    def __init__(self, settings: TrackerSettings | None = None) -> None:
        self.settings = settings or TrackerSettings()
        self.tracks: list[Track] = []
        self.ended_young = 0
        self._next_id = 1

    def update(
        self,
        boxes_xyxy: Boxes,
        labels: Sequence[str],
        scores: FloatArray,
        motion: FloatArray,
        sure: NDArray[np.bool_] | None = None,
    ) -> list[int]:
        """Take one frame's detections.

        Args:
            boxes_xyxy: (N, 4) pixels.
            labels: N labels.
            scores: (N,).
            motion: (2, 3) similarity by which still ground moved since the last frame.
            sure: (N,) whether a detection may start a track; others only continue confirmed ones. All are by default.

        Returns:
            N track ids, 0 for an unsure detection that continues nothing.
        """
        sure = np.ones(len(labels), np.bool_) if sure is None else sure
        self._predict(motion)
        ids = [0] * len(labels)
        unmatched = set(range(len(self.tracks)))
        for row, column in self._pairs(boxes_xyxy, labels, sure):
            self._extend(self.tracks[column], boxes_xyxy[row], float(scores[row]), is_sure=bool(sure[row]))
            ids[row] = self.tracks[column].track_id
            unmatched.discard(column)
        self._age(unmatched)
        for row in np.flatnonzero(sure).tolist():
            if not ids[row]:
                ids[row] = self._start(boxes_xyxy[row], labels[row], float(scores[row]))
        return ids

    def _predict(self, motion: FloatArray) -> None:
        """Move every track to where it should be now."""
        if not self.tracks:
            return
        boxes = move_boxes(np.stack([track.box_xyxy for track in self.tracks]), motion)
        velocities = np.stack([track.velocity_px for track in self.tracks]) @ motion[:, :2].T
        for track, box, velocity in zip(self.tracks, boxes, velocities, strict=True):
            track.velocity_px = velocity
            track.box_xyxy = box + np.tile(velocity, 2)

    def _pairs(self, boxes: Boxes, labels: Sequence[str], sure: NDArray[np.bool_]) -> list[tuple[int, int]]:
        """(detection, track) pairs, greedily: sure detections first, then the others with confirmed tracks."""
        if not self.tracks or not len(labels):
            return []
        likeness = self._likeness(boxes, np.array(labels))
        settings = self.settings
        followed = [t.hits >= settings.confirm_hits and t.faint < settings.max_faint for t in self.tracks]
        likeness[~sure] *= np.array(followed)
        pairs, used_rows, used_columns = [], set(), set()
        # Likeness, overlap plus nearness, is at most 2: every sure pair comes before the others.
        order = np.argsort(-(likeness + 10.0 * sure[:, None] * (likeness > 0)), axis=None)
        for flat in order[: int((likeness > 0).sum())]:
            row, column = divmod(int(flat), likeness.shape[1])
            if row not in used_rows and column not in used_columns:
                pairs.append((row, column))
                used_rows.add(row)
                used_columns.add(column)
        return pairs

    def _likeness(self, boxes: Boxes, labels: NDArray[np.str_]) -> FloatArray:
        """(N, T): overlap plus nearness, 0 where the label differs or the distance is beyond the gate."""
        predicted = np.stack([t.box_xyxy for t in self.tracks]).astype(np.float32)
        centres_a, centres_b = (boxes[:, :2] + boxes[:, 2:]) / 2, (predicted[:, :2] + predicted[:, 2:]) / 2
        distance = np.linalg.norm(centres_a[:, None] - centres_b[None], axis=2)
        size = np.sqrt(np.prod((predicted[:, 2:] - predicted[:, :2]).clip(1), axis=1))
        nearness = (1 - distance / (self.settings.gate * size[None] + 4.0)).clip(0)
        same = labels[:, None] == np.array([t.label for t in self.tracks])[None]
        return np.asarray((box_iou(boxes, predicted) + nearness) * same * (nearness > 0), dtype=np.float32)

    def _extend(self, track: Track, box: FloatArray, score: float, *, is_sure: bool) -> None:
        moved = (box[:2] + box[2:] - track.box_xyxy[:2] - track.box_xyxy[2:]) / 2
        track.velocity_px = np.asarray(track.velocity_px + self.settings.velocity_gain * moved, dtype=np.float32)
        track.box_xyxy, track.score = box, score
        track.hits, track.misses = track.hits + 1, 0
        track.faint = 0 if is_sure else track.faint + 1

    def _age(self, unmatched: set[int]) -> None:
        for column in unmatched:
            self.tracks[column].misses += 1
            self.tracks[column].velocity_px *= np.float32(0.8)
        limit, young = self.settings.max_misses, self.settings.confirm_hits
        ended = [t for t in self.tracks if t.misses > (limit if t.hits >= young else 2)]
        self.ended_young = sum(t.hits < young for t in ended)
        self.tracks = [t for t in self.tracks if t not in ended]

    def _start(self, box: FloatArray, label: str, score: float) -> int:
        track = Track(self._next_id, label, box, score, np.zeros(2, np.float32))
        self.tracks.append(track)
        self._next_id += 1
        return track.track_id
