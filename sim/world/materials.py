"""What things are made of: how each material looks beyond visible light, by night, and to a radar.

Visible colour belongs to the paint; the material adds three bands, a change of heat between day and night, and a
backscatter. The numbers are typical ones, rounded: enough for pictures that behave, not for radiometry.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from sim.arrays import FloatArray

BAND_NAMES = ("blue", "green", "red", "red_edge", "nir", "swir")
"""Bands 2, 3, 4, 5, 8 and 11 of Sentinel-2, centred on 490, 560, 665, 705, 842 and 1610 nm (ESA, Sentinel-2 User
Handbook, 2015, table 1)."""


class Material(IntEnum):
    """Kinds of surface; the values index `TABLE`."""

    PAINT = 0
    METAL = 1
    GLASS = 2
    RUBBER = 3
    CLOTH = 4
    SKIN = 5
    LEAF = 6
    WOOD = 7
    TILE = 8
    CONCRETE = 9
    ASPHALT = 10
    SOIL = 11
    GRASS = 12
    DRY_GRASS = 13
    SAND = 14
    WATER = 15
    SNOW = 16
    PLASTIC = 17
    ENGINE = 18
    FUR = 19


# Visible reflectance that the other bands go with; red edge, NIR, SWIR: after typical curves of the ECOSTRESS and USGS
# spectral libraries (Meerdink et al., Remote Sens. Environ. 230, 2019; Kokaly et al., USGS Data Series 1035, 2017).
# Heat by night: share of the daytime contrast that stays, and shift: metal and roofs radiate into a clear sky, water,
# asphalt and walls keep the day's warmth, what lives stays warm.
# Backscatter in dB: after the medians in Ulaby and Dobson, Handbook of Radar Scattering Statistics for Terrain, 1989.
TABLE: FloatArray = np.array(
    [
        # visible, red edge, NIR, SWIR, night share, night shift, backscatter dB
        [0.30, 0.32, 0.35, 0.38, 0.35, 0.02, 2.0],    # PAINT
        [0.35, 0.38, 0.42, 0.48, 0.30, 0.00, 5.0],    # METAL
        [0.10, 0.10, 0.10, 0.10, 0.40, 0.06, -6.0],   # GLASS
        [0.05, 0.06, 0.07, 0.09, 0.60, 0.04, -8.0],   # RUBBER
        [0.25, 0.35, 0.48, 0.38, 1.00, 0.02, -8.0],   # CLOTH
        [0.30, 0.52, 0.58, 0.15, 1.00, 0.05, -8.0],   # SKIN
        [0.07, 0.18, 0.48, 0.22, 0.70, 0.08, -8.5],   # LEAF
        [0.18, 0.28, 0.40, 0.42, 0.60, 0.05, -9.0],   # WOOD
        [0.18, 0.26, 0.32, 0.36, 0.45, 0.04, -3.0],   # TILE
        [0.30, 0.33, 0.36, 0.38, 0.60, 0.06, -6.0],   # CONCRETE
        [0.10, 0.11, 0.13, 0.16, 0.75, 0.02, -17.0],  # ASPHALT
        [0.18, 0.24, 0.30, 0.38, 0.55, 0.04, -12.0],  # SOIL
        [0.08, 0.17, 0.45, 0.24, 0.55, -0.02, -11.0], # GRASS
        [0.20, 0.28, 0.36, 0.42, 0.50, 0.00, -12.0],  # DRY_GRASS
        [0.30, 0.36, 0.42, 0.48, 0.50, 0.02, -15.0],  # SAND
        [0.06, 0.04, 0.02, 0.01, 0.80, 0.16, -22.0],  # WATER
        [0.90, 0.88, 0.80, 0.08, 0.60, -0.04, -13.0], # SNOW
        [0.35, 0.40, 0.45, 0.35, 0.45, 0.03, -7.0],   # PLASTIC
        [0.20, 0.22, 0.25, 0.28, 1.00, 0.00, 4.0],    # ENGINE
        [0.20, 0.32, 0.42, 0.30, 0.95, 0.06, -9.0],   # FUR
    ]
)  # fmt: skip


def infrared(bgr: FloatArray, material: NDArray[np.integer]) -> FloatArray:
    """Red edge, NIR and SWIR of painted surfaces.

    A lighter paint is lighter there too, by the square root: pigments differ most in visible light.

    Args:
        bgr: (..., 3) visible values in [0, 255].
        material: (...) rows of `TABLE`.

    Returns:
        (..., 3) values in [0, 255] on the same scale as `bgr`.
    """
    row = TABLE[material]
    lighter = np.sqrt(np.clip(bgr.mean(axis=-1) / (255.0 * row[..., 0]), 0.3, 3.0))
    bands: FloatArray = np.clip(255.0 * row[..., 1:4] * lighter[..., None], 0.0, 255.0)
    return bands


def heat_at(heat: FloatArray, material: NDArray[np.integer], night: float) -> FloatArray:
    """Apparent heat of surfaces between day and night.

    Args:
        heat: (...) by day, in [0, 1].
        material: (...) rows of `TABLE`.
        night: 0 by day, 1 before dawn.

    Returns:
        (...) in [0, 1].
    """
    row = TABLE[material]
    cooled = NIGHT_LEVEL + (heat - NIGHT_LEVEL) * row[..., 4] + row[..., 5]
    mixed: FloatArray = np.clip(heat + (cooled - heat) * night, 0.0, 1.0)
    return mixed


NIGHT_LEVEL = 0.24
"""Where temperatures meet by night: below the middle, for the ground has cooled."""


def backscatter_db(material: NDArray[np.integer]) -> FloatArray:
    """(...) radar backscatter of flat ground or a surface seen at 40 degrees, dB."""
    return np.asarray(TABLE[material][..., 6], dtype=np.float64)
