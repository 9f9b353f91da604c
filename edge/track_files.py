"""What a run leaves of its targets: `tracks.jsonl` for programs, `tracks.mot.txt` for the tools of MOTChallenge.

The third, `tracks.geojson` for maps, is made in `track_map.py`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from edge.followed_target import Target
from edge.track_map import TrackMap
from protocols.values import FrameHeader


class TrackFiles:
    """The files of one run."""

    def __init__(self, folder: Path, ground_m: float = 0.0) -> None:
        """Open them anew.

        Args:
            folder: where they go.
            ground_m: height of the ground above the WGS 84 ellipsoid, for the map.

        Raises:
            OSError: they cannot be written.
        """
        self._lines = (folder / "tracks.jsonl").open("w", buffering=1 << 16)
        self._rows = (folder / "tracks.mot.txt").open("w", buffering=1 << 16)
        self._map = TrackMap(folder, ground_m)

    def write(self, header: FrameHeader, targets: Sequence[Target]) -> None:
        """Append one frame's targets; a frame without any leaves no line.

        Raises:
            OSError: the disk is full or gone.
        """
        if targets:
            self._lines.write(track_line(header, targets))
            self._rows.writelines(mot_row(header.index, target) for target in targets if target.state != "lost")
            self._map.write(header, targets)

    def flush(self) -> None:
        """Bring what was written to the disk.

        Raises:
            OSError: the disk is full or gone.
        """
        self._lines.flush()
        self._rows.flush()

    def close(self) -> None:
        """Finish all."""
        self._lines.close()
        self._rows.close()
        self._map.close()


def track_line(header: FrameHeader, targets: Sequence[Target]) -> str:
    """One line of `tracks.jsonl`: frame index, source, capture time, boxes to 0.1 px, presence to 0.0001."""
    rows = [
        {
            "target_id": target.target_id,
            "label": target.label,
            "state": target.state,
            "reason": target.reason,
            "box_xyxy": [round(v, 1) for v in target.box_xyxy.tolist()],
            "presence": round(target.presence, 4),
        }
        for target in targets
    ]
    head = {"frame": header.index, "source": header.source_id, "time_s": header.captured_at_s}
    return json.dumps({**head, "targets": rows}, separators=(",", ":")) + "\n"


def mot_row(index: int, target: Target) -> str:
    """One row of MOTChallenge's text: frame, id, left, top, width, height, score and three that are unknown.

    Frames count from 1, as that format wants it; pixels are ours, the frame's left and top edge at 0.

    Args:
        index: of the frame, from 0.
        target: one that is not lost: the format has no word for that, so lost ones get no row.
    """
    x1, y1, x2, y2 = target.box_xyxy.tolist()
    numbers = f"{x1:.1f},{y1:.1f},{x2 - x1:.1f},{y2 - y1:.1f},{target.presence:.4f}"
    return f"{index + 1},{target.target_id},{numbers},-1,-1,-1\n"
