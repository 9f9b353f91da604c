import numpy as np
import pytest

from sim.craft.camera import Camera
from sim.craft.flight import FlightStyle
from sim.craft.target_orbit import Circle, TargetOrbit

CAMERA = Camera()


@pytest.mark.parametrize("radius_m", [5.0, 40.0, 80.0, 300.0])
def test_target_stays_in_the_middle_of_the_frame(radius_m):
    circle = Circle(lambda _: (30.0, -20.0), radius_m, 60.0)
    flight = TargetOrbit(circle, FlightStyle(jitter_deg=0.8), np.random.default_rng(1))
    for time_s in np.linspace(0.0, 60.0, 31):
        pose = flight.pose_at(time_s)
        pixels, depth = CAMERA.project(pose, np.array([[30.0, -20.0, 0.0]]))
        assert depth[0] > 0
        assert np.abs(pixels[0] - [320.0, 256.0]).max() < 20.0
