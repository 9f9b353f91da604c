"""What the craft carries and how it flies: start at `sim/craft/camera.py`, then `sim/craft/flight.py`."""

from sim.craft.camera import Camera, CameraPose
from sim.craft.flight import Flight, FlightStyle

__all__ = ["Camera", "CameraPose", "Flight", "FlightStyle"]
