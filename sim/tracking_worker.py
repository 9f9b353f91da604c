"""One tracker in a process of its own, fed through pipes: `python tracking_worker.py NAME [FILES …]`.

Peers run it in their own environment, which holds OpenCV and numpy alone: nothing else may be imported at the top.
A request is a line of JSON, `{"shape": [H, W, 3], "box": [x, y, w, h] or null}`, and the picture's bytes; with a box it
starts a target. What is told to `nano-reinit` stands beside the box, see `Reinitialised`. The answer is a line of JSON,
`{"box": [x, y, w, h], "is_claimed": whether it is said to be there, "s": seconds}`, without the time of the pipes.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, BinaryIO, TypeAlias

import cv2
import numpy as np

Start: TypeAlias = Callable[[Any, list[float]], None]
Update: TypeAlias = Callable[[Any, dict[str, Any]], tuple[list[float], bool]]
"""The next picture and its request in; the box out, and whether the target is said to be there."""


def peer(name: str, files: list[str]) -> tuple[Start, Update]:
    """One of OpenCV's trackers with its own defaults, KCF's threshold apart.

    Args:
        name: `csrt`, `kcf`, `mil` or `nano`.
        files: the backbone and the head of `nano`.
    """
    state: dict[str, Any] = {}

    def start(image: Any, box: list[float]) -> None:  # noqa: ANN401 - numpy's types of two environments
        state["tracker"], state["box"] = _create(name, files), box
        state["tracker"].init(image, tuple(round(value) for value in box))

    def update(image: Any, request: dict[str, Any]) -> tuple[list[float], bool]:  # noqa: ANN401
        is_found, box = state["tracker"].update(image)
        if is_found:
            state["box"] = [float(value) for value in box]
        return list(state["box"]), bool(is_found)  # a tracker that has lost its target stays where it was

    return start, update


def _create(name: str, files: list[str]) -> Any:  # noqa: ANN401 - contrib's types are not at hand
    contrib: Any = cv2
    if name == "kcf":
        parameters = contrib.TrackerKCF_Params()
        parameters.detect_thresh = 0  # by default it gives up for good in the first frame that looks different
        return contrib.TrackerKCF_create(parameters)
    if name == "nano":
        parameters = contrib.TrackerNano_Params()
        parameters.backbone, parameters.neckhead = files
        return contrib.TrackerNano_create(parameters)
    return contrib.TrackerMIL_create() if name == "mil" else contrib.TrackerCSRT_create()


def ours(spec: str) -> tuple[Start, Update]:
    """What flies: `TargetTracker` over a short-term tracker, and the camera's motion; the student rests.

    Args:
        spec: as for `edge.opencv_trackers.open_short_term`.
    """
    from edge.camera_motion import CameraMotion
    from edge.opencv_trackers import open_short_term
    from edge.targets import TargetTracker

    make = open_short_term(spec)
    state: dict[str, Any] = {}

    def start(image: Any, box: list[float]) -> None:  # noqa: ANN401
        state["motion"], state["tracker"] = CameraMotion(), TargetTracker(make)
        state["motion"].update(image)
        x, y, width, height = box
        state["tracker"].start(image, np.array([x, y, x + width, y + height], np.float32))

    def update(image: Any, request: dict[str, Any]) -> tuple[list[float], bool]:  # noqa: ANN401
        (target,) = state["tracker"].update(image, state["motion"].update(image).matrix)
        x1, y1, x2, y2 = target.box_xyxy.tolist()
        return [x1, y1, x2 - x1, y2 - y1], target.state in ("tracked", "re_found")

    return start, update


class Reinitialised:
    """NanoTrack, begun anew with each answer of somebody who saw the target in an earlier frame.

    It has no buffer of frames, but it keeps the picture that was asked about, and where it was itself then. Where it
    was right then (by an overlap of half), it is begun anew where it is now, moved and sized as it was wrong then: it
    has followed the target since, and does not fall back. Where it was wrong it is begun anew in the picture that it
    kept, at the box of the answer, and searches the present from there. "Not there" leaves it as it is. On renders each
    of the two alone did worse, and so did the box of the answer in the newest picture.
    """

    def __init__(self, files: list[str]) -> None:
        """From backbone and head."""
        self._files = files

    def start(self, image: Any, box: list[float]) -> None:  # noqa: ANN401
        """Begin a video."""
        self._begin(image, box)
        self._kept, self._newest = (image, list(box)), image

    def update(self, image: Any, request: dict[str, Any]) -> tuple[list[float], bool]:  # noqa: ANN401
        """The next frame: `told` is the box of an answer that came before it; `keep`, that it is asked about."""
        told = request.get("told")
        if told is not None:
            self._heed(told)
        is_found, box = self._tracker.update(image)
        if is_found:
            self._box = [float(value) for value in box]
        self._newest = image
        if request.get("keep"):
            self._kept = (image, list(self._box))
        return list(self._box), bool(is_found)

    def _begin(self, image: Any, box: list[float]) -> None:  # noqa: ANN401
        self._tracker, self._box = _create("nano", self._files), list(box)
        self._tracker.init(image, tuple(round(value) for value in box))

    def _heed(self, told: list[float]) -> None:
        picture, then = self._kept
        if _overlap(then, told) < 0.5:
            self._begin(picture, told)
            return
        sides = [now * right / was for now, right, was in zip(self._box[2:], told[2:], then[2:])]  # noqa: B905
        middle = [
            self._box[i] + self._box[2 + i] / 2 + (told[i] + told[2 + i] / 2) - (then[i] + then[2 + i] / 2)
            for i in (0, 1)
        ]
        self._begin(self._newest, [*(m - side / 2 for m, side in zip(middle, sides)), *sides])  # noqa: B905


def _overlap(a: list[float], b: list[float]) -> float:
    sides = [max(0.0, min(a[i] + a[2 + i], b[i] + b[2 + i]) - max(a[i], b[i])) for i in (0, 1)]
    shared = sides[0] * sides[1]
    return shared / max(a[2] * a[3] + b[2] * b[3] - shared, 1e-9)


def serve(start: Start, update: Update, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the requests end."""
    while line := requests.readline():
        request = json.loads(line)
        size = int(np.prod(request["shape"]))
        image = np.frombuffer(requests.read(size), np.uint8).reshape(request["shape"])
        box, is_claimed, begin = request["box"], True, time.perf_counter()
        if box is not None:
            start(image, box)
        else:
            box, is_claimed = update(image, request)
        seconds = time.perf_counter() - begin
        answer = {"box": [float(value) for value in box], "is_claimed": is_claimed, "s": seconds}
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def main() -> None:
    """Serve the tracker of the command line on standard input and output."""
    cv2.setNumThreads(int(os.environ.get("OMP_NUM_THREADS", "1")))  # BLAS reads it by itself
    name, *files = sys.argv[1:]
    if name == "nano-reinit":
        control = Reinitialised(files)
        serve(control.start, control.update, sys.stdin.buffer, sys.stdout.buffer)
    else:
        start, update = ours(files[0]) if name == "ours" else peer(name, files)
        serve(start, update, sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
