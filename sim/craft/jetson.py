"""Power modes of NVIDIA Jetson modules, as the vendor ships them.

Numbers are those of the `nvpmodel` configuration files in NVIDIA's Jetson Linux (`/etc/nvpmodel/*.conf` on the module):
`p3767_0003` (Orin Nano 8GB, 7 W), `p3767_0003_super` (Orin Nano 8GB, 15 and 25 W), `p3767_0000` (Orin NX 16GB) and
`p3701_0000` (AGX Orin developer kit), as they lie in github.com/LineageOS/android_device_nvidia_concord under
`nvpmodel/`. What a mode means stands in the NVIDIA Jetson Linux Developer Guide, "Platform Power and Performance",
"Supported Modes and Power Efficiency". The MAXN modes have no power budget and are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class PowerMode:
    """What a module may use in one mode.

    Attributes:
        budget_w: of the whole module, by the mode's name.
        online_cpus: cores that are not switched off.
        cpu_max_mhz: highest clock of a core.
        gpu_max_mhz: highest clock of the GPU.
    """

    budget_w: float
    online_cpus: int
    cpu_max_mhz: float
    gpu_max_mhz: float


POWER_MODES: Mapping[str, PowerMode] = MappingProxyType(
    {
        "orin-nano-7w": PowerMode(7, 4, 960.0, 408),
        "orin-nano-15w": PowerMode(15, 6, 1497.6, 612),
        "orin-nano-25w": PowerMode(25, 6, 1344.0, 918),
        "orin-nx-10w": PowerMode(10, 4, 1190.4, 612),
        "orin-nx-15w": PowerMode(15, 4, 1651.2, 612),
        "orin-nx-25w": PowerMode(25, 8, 1497.6, 408),
        "agx-orin-15w": PowerMode(15, 4, 1113.6, 408),
        "agx-orin-30w": PowerMode(30, 8, 1728.0, 612),
        "agx-orin-50w": PowerMode(50, 12, 1497.6, 816),
    }
)
