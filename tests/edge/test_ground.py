import math

import pytest

from edge.ground import ground_place, radii_of_curvature
from protocols.values import Pose

SIZE = (640, 512)
MIDDLE = (320.0, 256.0)


def pose(**changes):
    fields = {"lat_deg": 47.0, "lon_deg": 8.0, "altitude_m": 100.0, "yaw_deg": 0.0, "pitch_deg": -90.0, "gsd_m": 0.2}
    return Pose(**(fields | changes))


def metres(place, lat_deg=47.0, lon_deg=8.0):
    """East and north of the camera."""
    meridian_m, across_m = radii_of_curvature(math.radians(lat_deg))
    east = math.radians(place[0] - lon_deg) * across_m * math.cos(math.radians(lat_deg))
    return east, math.radians(place[1] - lat_deg) * meridian_m


@pytest.mark.parametrize(
    ("lat_deg", "along_m", "across_m"),
    [(0, 110_574, 111_320), (45, 111_132, 78_847), (75, 111_618, 28_902)],
)
def test_degrees_are_as_long_as_published(lat_deg, along_m, across_m):
    """Metres of a degree on WGS 84, as tables round them (Wikipedia, "Latitude", length of a degree)."""
    meridian_m, vertical_m = radii_of_curvature(math.radians(lat_deg))
    assert math.radians(1) * meridian_m == pytest.approx(along_m, abs=0.6)
    assert math.radians(1) * vertical_m * math.cos(math.radians(lat_deg)) == pytest.approx(across_m, abs=0.6)


@pytest.mark.parametrize(
    ("yaw_deg", "east_m", "north_m"), [(0, 20, 0), (90, 0, -20), (180, -20, 0), (270, 0, 20)], ids=str
)
def test_pixel_to_the_right_lies_where_the_heading_says(yaw_deg, east_m, north_m):
    place = ground_place(pose(yaw_deg=yaw_deg), SIZE, (420.0, 256.0))
    assert metres(place) == pytest.approx((east_m, north_m), abs=1e-3)


def test_camera_that_looks_down_needs_no_height():
    expected = ground_place(pose(), SIZE, (100.0, 400.0))
    assert ground_place(pose(altitude_m=None), SIZE, (100.0, 400.0)) == pytest.approx(expected, abs=1e-9)
    assert ground_place(pose(), SIZE, (100.0, 400.0), ground_m=60.0) == pytest.approx(expected, abs=1e-9)


def test_camera_that_looks_ahead_sees_its_middle_at_the_cotangent_of_its_pitch():
    east_m, north_m = metres(ground_place(pose(pitch_deg=-30.0, yaw_deg=90.0), SIZE, MIDDLE))
    assert (east_m, north_m) == pytest.approx((100 * math.sqrt(3), 0), rel=1e-4, abs=1e-2)
    east_m, _ = metres(ground_place(pose(pitch_deg=-30.0, yaw_deg=90.0, altitude_m=500.0), SIZE, MIDDLE, ground_m=400))
    assert east_m == pytest.approx(100 * math.sqrt(3), rel=1e-4)


def test_middle_pixels_are_as_large_as_the_pose_says():
    sideways = [metres(ground_place(pose(pitch_deg=-40.0), SIZE, (320.0 + d, 256.0)))[0] for d in (0, 1)]
    assert sideways[1] - sideways[0] == pytest.approx(0.2, rel=1e-3)


@pytest.mark.parametrize(
    "changes",
    [
        {"lat_deg": None},
        {"yaw_deg": None},
        {"pitch_deg": None},
        {"gsd_m": None},
        {"pitch_deg": -45.0, "altitude_m": None},
        {"pitch_deg": -45.0, "altitude_m": -5.0},
        {"pitch_deg": 10.0},
        {"pitch_deg": -0.5},
        {"lat_deg": 90.0},
    ],
    ids=lambda changes: "-".join(f"{name}={value}" for name, value in changes.items()),
)
def test_pose_that_does_not_tell_gives_no_place(changes):
    assert ground_place(pose(**changes), SIZE, MIDDLE) is None


def test_longitude_goes_on_beyond_the_date_line():
    lon, _ = ground_place(pose(lon_deg=179.9999), SIZE, (640.0, 256.0))
    assert -180 < lon < -179.999
