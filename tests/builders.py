"""Small things that several test files need: a case, and a picture with coloured squares."""

import hashlib

import numpy as np

from protocols.values import Case, FrameHeader, new_case_id


def make_case(payload=b"imagery", **changes):
    """A valid case about a 64 px frame, its digest that of the payload."""
    frame = FrameHeader(index=0, source_id="test", captured_at_s=1.7e9, width=64, height=64)
    fields = {
        "case_id": new_case_id(),
        "frame": frame,
        "region_xyxy": (0, 0, 32, 32),
        "hardness": 0.5,
        "space_id": "space",
        "variant": "fp32",
        "media_type": "image/jpeg",
        "payload_bytes": len(payload),
        "payload_sha256": hashlib.sha256(payload).hexdigest(),
    }
    return Case(**{**fields, **changes})


def scene(*spots, size=(128, 160)):
    """A dark picture with 16 px squares; spots are (x, y, colour) of their centres."""
    image = np.zeros((*size, 3), np.uint8)
    for x, y, colour in spots:
        image[y - 8 : y + 8, x - 8 : x + 8] = colour
    return image
