"""The newest frames, kept for a few seconds: what comes late about one of them is put right there, not in the present.

A picture that takes more than its share of the memory is kept as a JPEG, which takes some milliseconds to make and to
look at again; smaller ones are kept as they are.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from pydantic import Field

from edge.config import Settings
from edge.errors import TargetError
from protocols.arrays import FloatArray, ImageArray
from protocols.imagery import decode_image, encode_image


class RecentFramesSettings(Settings):
    """How much is kept.

    Attributes:
        seconds: between the oldest frame and the newest: a person needs one, a link and a teacher some more.
        max_bytes: of all pictures; where they take more, the oldest go earlier. Of 1280x720 in colour that is 3.2
            seconds at 30 a second; of 640x512 four seconds take 118 MB.
        raw_bytes: of one picture; a larger one is kept as a JPEG, for to decode 1280x720 takes longer than to look for
            a target in it.
        jpeg_quality: of those. At 95 a tracker's boxes stay where they were to a fraction of a pixel.
    """

    seconds: float = Field(default=4.0, ge=0, le=60)
    max_bytes: int = Field(default=256 * 1024 * 1024, ge=0)
    raw_bytes: int = Field(default=3_000_000, ge=0)
    jpeg_quality: int = Field(default=95, ge=1, le=100)


@dataclass(frozen=True)
class RecentFrame:
    """One frame as it is kept.

    Attributes:
        index: of its source; grows from frame to frame, with gaps where frames were dropped.
        captured_s: on the monotonic clock.
        motion: (2, 3) similarity by which still ground moved since the frame before.
        picture: an array as short-term trackers take it, or a JPEG of it.
    """

    index: int
    captured_s: float
    motion: FloatArray
    picture: ImageArray | bytes

    @property
    def image(self) -> ImageArray:
        """(H, W) or (H, W, 3) BGR uint8; decoded anew at each call where it is kept as a JPEG."""
        return decode_image(self.picture, "image/jpeg") if isinstance(self.picture, bytes) else self.picture

    @property
    def size_bytes(self) -> int:
        """What its picture takes."""
        return len(self.picture) if isinstance(self.picture, bytes) else self.picture.nbytes


class RecentFrames:
    """A ring of frames, bounded in seconds and in bytes; the oldest go first, the newest always stays."""

    def __init__(self, settings: RecentFramesSettings | None = None) -> None:
        """Hold nothing yet."""
        self.settings = settings or RecentFramesSettings()
        self._frames: deque[RecentFrame] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def size_bytes(self) -> int:
        """What all pictures take."""
        return self._bytes

    @property
    def newest(self) -> RecentFrame:
        """The frame that was added last.

        Raises:
            TargetError: there is none yet.
        """
        if not self._frames:
            raise TargetError("no frame is held yet; wait for the first")
        return self._frames[-1]

    def add(self, index: int, captured_s: float, image: ImageArray, motion: FloatArray) -> None:
        """Keep one more frame, and let go of what is too old or too much.

        Args:
            index: greater than the last one's; after a smaller one the ring begins anew.
            captured_s: on the monotonic clock.
            image: (H, W) or (H, W, 3) BGR uint8; kept without a copy, so nobody may write into it.
            motion: (2, 3) similarity by which still ground moved since the frame before.
        """
        if self._frames and index <= self._frames[-1].index:
            self._frames.clear()
            self._bytes = 0
        is_large = image.nbytes > self.settings.raw_bytes
        picture = encode_image(image, "image/jpeg", self.settings.jpeg_quality) if is_large else image
        frame = RecentFrame(index, captured_s, motion, picture)
        self._frames.append(frame)
        self._bytes += frame.size_bytes
        while len(self._frames) > 1 and self._is_full():
            self._bytes -= self._frames.popleft().size_bytes

    def at(self, index: int) -> RecentFrame:
        """The frame of an index.

        Raises:
            TargetError: it is not held, any more or at all.
        """
        for frame in reversed(self._frames):
            if frame.index == index:
                return frame
        held = f"{self._frames[0].index} to {self._frames[-1].index}" if self._frames else "none"
        cure = "answer sooner, or hold more frames (recent.seconds and max_bytes)"
        raise TargetError(f"frame {index}: is not held ({held}); {cure}")

    def after(self, index: int) -> list[RecentFrame]:
        """The frames later than an index, oldest first."""
        later = []
        for frame in reversed(self._frames):
            if frame.index <= index:
                break
            later.append(frame)
        return later[::-1]

    def _is_full(self) -> bool:
        age_s = self._frames[-1].captured_s - self._frames[0].captured_s
        return age_s > self.settings.seconds or self._bytes > self.settings.max_bytes
