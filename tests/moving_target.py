"""A made-up video: a spotted thing moves, grows and turns brighter over spotted ground that moves under the camera."""

import json
from dataclasses import dataclass

import cv2
import numpy as np


def spots(height, width, seed, cell=6):
    """(H, W, 3) uint8 smooth colour noise."""
    small = np.random.default_rng(seed).integers(0, 255, (height // cell + 2, width // cell + 2, 3)).astype(np.uint8)
    return cv2.resize(small, None, fx=cell, fy=cell, interpolation=cv2.INTER_CUBIC)[:height, :width]


@dataclass
class MovingTarget:
    """What is seen in each frame.

    Attributes:
        step_px: of the target in the picture, each frame.
        ground_px: of the ground.
        growth: of the target's sides, each frame.
    """

    step_px: tuple[float, float] = (3.0, 2.0)
    ground_px: tuple[float, float] = (0.0, 0.0)
    growth: float = 1.0
    size: tuple[int, int] = (320, 240)
    side: tuple[int, int] = (28, 20)

    def __post_init__(self):
        self._ground = spots(2 * self.size[1], 2 * self.size[0], seed=1)
        self._thing = spots(self.side[1], self.side[0], seed=2, cell=4)

    def box(self, index):
        """(4,) float32 x1, y1, x2, y2."""
        scale = self.growth**index
        half = np.array(self.side) * scale / 2
        middle = np.array([100.0, 80.0]) + index * np.array(self.step_px)
        return np.concatenate([middle - half, middle + half]).astype(np.float32)

    def image(self, index):
        """(H, W, 3) uint8."""
        moved = np.array(self.ground_px) * index
        matrix = np.array([[1, 0, moved[0] - 100], [0, 1, moved[1] - 100]], np.float64)
        picture = cv2.warpAffine(self._ground, matrix, self.size)
        x1, y1, x2, y2 = (round(float(v)) for v in self.box(index))
        thing = cv2.resize(self._thing, (x2 - x1, y2 - y1), interpolation=cv2.INTER_AREA)
        here = picture[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)]
        here[:] = thing[max(-y1, 0) :, max(-x1, 0) :][: here.shape[0], : here.shape[1]]
        return picture

    def write(self, folder, frames, absent=()):
        """A sequence folder of so many frames."""
        (folder / "img").mkdir(parents=True)
        lines = []
        for index in range(frames):
            cv2.imwrite(str(folder / "img" / f"{index + 1:04d}.png"), self.image(index))
            x1, y1, x2, y2 = self.box(index).tolist()
            lines.append("NaN,NaN,NaN,NaN" if index in absent else f"{x1},{y1},{x2 - x1},{y2 - y1}")
        (folder / "groundtruth.txt").write_text("\n".join(lines) + "\n")
        return folder


def request(image, box=None):
    """What a tracker's process is asked."""
    return json.dumps({"shape": image.shape, "box": box}).encode() + b"\n" + image.tobytes()
