"""What the craft carries and how it flies.

Drones: start at `sim/craft/camera.py`, then `sim/craft/flight.py`. Satellites: `orbit.py` over `earth.py` and `sun.py`,
then `contact.py` and `imager.py`. Both: `power.py`, with the power modes of `jetson.py`.
"""

from sim.craft.camera import Camera, CameraPose
from sim.craft.contact import ContactWindow, Station, contact_windows, require_window
from sim.craft.flight import Flight, FlightStyle
from sim.craft.imager import GroundSample, Imager
from sim.craft.jetson import POWER_MODES, PowerMode
from sim.craft.orbit import Orbit, orbit_from_tle
from sim.craft.power import PowerSettings, PowerState, Work

__all__ = [
    "POWER_MODES",
    "Camera",
    "CameraPose",
    "ContactWindow",
    "Flight",
    "FlightStyle",
    "GroundSample",
    "Imager",
    "Orbit",
    "PowerMode",
    "PowerSettings",
    "PowerState",
    "Station",
    "Work",
    "contact_windows",
    "orbit_from_tle",
    "require_window",
]
