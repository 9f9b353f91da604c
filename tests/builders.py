"""Small things that several test files need: a case, a picture with coloured squares, a georeferenced raster."""

import hashlib
import warnings

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine

from protocols.values import Case, FrameHeader, new_case_id

NORTH_UP = Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)


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


def write_raster(path, pixels, *, crs="EPSG:32633", transform=NORTH_UP, names=(), **options):
    """A GeoTIFF of (H, W, n) pixels in the file's order, half a metre each; returns its path."""
    height, width, count = pixels.shape
    shape = {"height": height, "width": width, "count": count, "dtype": pixels.dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", crs=crs, transform=transform, **shape, **options) as dataset:
            dataset.write(np.moveaxis(pixels, -1, 0))
            for index, name in enumerate(names, 1):
                dataset.set_band_description(index, name)
    return path
