"""Names for the arrays that cross package borders, so that signatures say what they hold."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float32]
"""Any float32 array; the docstring beside it gives the shape."""

ImageArray: TypeAlias = NDArray[np.uint8]
"""(H, W) grey or (H, W, 3) BGR (OpenCV's order, throughout the project), uint8, row 0 at the top."""

Boxes: TypeAlias = NDArray[np.float32]
"""(N, 4) float32 x1, y1, x2, y2 in pixels, x1 <= x2 and y1 <= y2; x2, y2 are exclusive edges."""

AnyImage: TypeAlias = NDArray[Any]
"""(H, W) or (H, W, B) of any number type that raw imagery can carry (see `protocols.imagery`)."""
