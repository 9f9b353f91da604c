"""In which codec and quality a picture is worth its bytes.

A picture in a lower quality takes fewer bytes, and the teacher finds less in it. What a byte is worth elsewhere
decides: nothing while the budget is full and the link idle, so that the best picture goes; as much as the least
valuable case that is still sent brings for each of its bytes, where both are scarce.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.ranking import CASE_OVERHEAD_BYTES
from protocols.arrays import ImageArray
from protocols.fields import MediaType
from protocols.imagery import encode_image

WEBP_PIXELS = 2**19
"""Larger pictures go as JPEG: one of 1920x1080 took 134 ms as WebP and 6 as JPEG (one core of an AMD EPYC, one trial),
and the frame loop waits."""


@dataclass(frozen=True)
class Coding:
    """One way to send a picture.

    Attributes:
        media_type, quality: see `protocols.imagery.encode_image`.
        kept: of what a teacher's answer and a prompt made of it are worth, 0 to 1.
        size: bytes, as a share of those in `REFERENCE`.
    """

    media_type: MediaType
    quality: int
    kept: float
    size: float


REFERENCE = Coding("image/jpeg", 85, 0.97, 1.0)
"""The best picture that is sent unasked."""

CODINGS: tuple[Coding, ...] = (
    Coding("image/webp", 10, 0.63, 0.08),
    Coding("image/webp", 20, 0.71, 0.10),
    Coding("image/webp", 40, 0.81, 0.15),
    Coding("image/webp", 60, 0.88, 0.20),
    Coding("image/webp", 80, 0.94, 0.33),
    Coding("image/jpeg", 20, 0.80, 0.23),
    Coding("image/jpeg", 40, 0.90, 0.35),
    Coding("image/jpeg", 60, 0.94, 0.46),
    Coding("image/jpeg", 75, 0.95, 0.61),
    REFERENCE,
)
"""`kept` is the teacher's mAP50 as a share of that on raw frames, times the cosine of the student's embedding with that
of raw pixels, for prompts are made of these. `skyloop-sim bench coding` on fifty frames of a rendered flight
(docs/hardness.md); on HIT-UAV dev the teacher keeps more at each step, in the same order."""


def choose_coding(reference_bytes: int, pixels: int, worth: float, scarcity: float) -> Coding:
    """The coding in which a picture brings most, less what its bytes would bring elsewhere.

    Args:
        reference_bytes: its size in `REFERENCE`.
        pixels: of it; large ones are no WebP.
        worth: of the case, in units of the least valuable one that is still sent; at least 1.
        scarcity: of bytes, 0 none to 1: each is taken from another case.
    """
    codings = [coding for coding in CODINGS if coding.media_type == "image/jpeg" or pixels <= WEBP_PIXELS]
    sizes = np.array([coding.size for coding in codings]) * reference_bytes + CASE_OVERHEAD_BYTES
    kept = np.array([coding.kept for coding in codings])
    price = scarcity * float((kept / sizes).max())
    return codings[int(np.argmax(worth * kept - price * sizes))]


def encode_worthily(pictures: Sequence[ImageArray], worth: float, scarcity: float) -> tuple[Coding, list[bytes]]:
    """Pictures of one case in the coding that is worth it for them together.

    Args:
        pictures: (H, W) or (H, W, 3) uint8, at least one.
        worth: see `choose_coding`.
        scarcity: see there.
    """
    best = [encode_image(picture, REFERENCE.media_type, REFERENCE.quality) for picture in pictures]
    most_pixels = max(picture.shape[0] * picture.shape[1] for picture in pictures)
    coding = choose_coding(sum(map(len, best)), most_pixels, worth, scarcity)
    return (coding, best) if coding is REFERENCE else (coding, [encode_as(picture, coding) for picture in pictures])


def encode_as(picture: ImageArray, coding: Coding) -> bytes:
    """A picture in a coding; gray goes as colour where the codec knows no gray."""
    if coding.media_type == "image/webp" and picture.ndim == 2:
        picture = np.repeat(picture[..., None], 3, axis=2)
    elif coding.media_type == "image/webp" and picture.shape[2] == 1:
        picture = np.repeat(picture, 3, axis=2)
    return encode_image(picture, coding.media_type, coding.quality)
