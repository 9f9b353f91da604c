"""One tracker in a process of its own, fed through pipes: `python tracking_worker.py NAME [FILES …]`.

Peers run it in their own environment, which holds OpenCV and numpy alone: nothing else may be imported at the top.
A request is a line of JSON, `{"shape": [H, W, 3], "box": [x, y, w, h] or null}`, and the picture's bytes; with a box it
starts a target. The answer is a line of JSON, `{"box": [x, y, w, h], "s": seconds}`, without the time of the pipes.
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
Update: TypeAlias = Callable[[Any], list[float]]


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

    def update(image: Any) -> list[float]:  # noqa: ANN401
        is_found, box = state["tracker"].update(image)
        if is_found:
            state["box"] = [float(value) for value in box]
        return list(state["box"])  # a tracker that has lost its target stays where it was

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
    """A short-term tracker of this project, told the camera's motion.

    Args:
        spec: as for `edge.opencv_trackers.open_short_term`.
    """
    from edge.camera_motion import CameraMotion
    from edge.opencv_trackers import open_short_term
    from edge.short_term import Follower

    make = open_short_term(spec)
    state: dict[str, Any] = {}

    def start(image: Any, box: list[float]) -> None:  # noqa: ANN401
        state["motion"], state["follower"] = CameraMotion(), Follower(make())
        state["motion"].update(image)
        x, y, width, height = box
        state["follower"].start(image, np.array([x, y, x + width, y + height], np.float32))

    def update(image: Any) -> list[float]:  # noqa: ANN401
        sighting = state["follower"].update(image, state["motion"].update(image).matrix)
        x1, y1, x2, y2 = sighting.box_xyxy.tolist()
        return [x1, y1, x2 - x1, y2 - y1]

    return start, update


def serve(start: Start, update: Update, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the requests end."""
    while line := requests.readline():
        request = json.loads(line)
        size = int(np.prod(request["shape"]))
        image = np.frombuffer(requests.read(size), np.uint8).reshape(request["shape"])
        box, begin = request["box"], time.perf_counter()
        if box is not None:
            start(image, box)
        else:
            box = update(image)
        answer = {"box": [float(value) for value in box], "s": time.perf_counter() - begin}
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def main() -> None:
    """Serve the tracker of the command line on standard input and output."""
    cv2.setNumThreads(int(os.environ.get("OMP_NUM_THREADS", "1")))  # BLAS reads it by itself
    name, *files = sys.argv[1:]
    start, update = ours(files[0]) if name == "ours" else peer(name, files)
    serve(start, update, sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
