"""Names for the arrays inside the simulator; those that cross package borders are in `protocols.arrays`."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
"""Any float64 array: orbits want more digits than the float32 that edge and cloud exchange."""

IntArray: TypeAlias = NDArray[np.int64]
"""Any int64 array."""

Bytes: TypeAlias = NDArray[np.uint8]
"""A picture or another array of uint8."""
