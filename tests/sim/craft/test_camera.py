import numpy as np
import pytest

from sim.craft.camera import Camera, CameraPose

CAMERA = Camera(focal_px=700.0)


def test_project_nadir_puts_point_below_in_the_middle():
    pixels, depth = CAMERA.project(CameraPose(3.0, 4.0, 50.0), np.array([[3.0, 4.0, 0.0]]))
    assert pixels[0] == pytest.approx([320.0, 256.0])
    assert depth[0] == pytest.approx(50.0)


@pytest.mark.parametrize(
    ("yaw_deg", "point", "expected"),
    [
        pytest.param(0.0, (5.0, 0.0, 0.0), (390.0, 256.0), id="east is right"),
        pytest.param(0.0, (0.0, 5.0, 0.0), (320.0, 186.0), id="north is up"),
        pytest.param(90.0, (5.0, 0.0, 0.0), (320.0, 186.0), id="heading east, east is up"),
    ],
)
def test_project_nadir_follows_yaw(yaw_deg, point, expected):
    pixels, _ = CAMERA.project(CameraPose(0.0, 0.0, 50.0, yaw_deg), np.array([point]))
    assert pixels[0] == pytest.approx(expected)


def test_project_roll_turns_clockwise():
    pixels, _ = CAMERA.project(CameraPose(0.0, 0.0, 50.0, roll_deg=90.0), np.array([[0.0, 5.0, 0.0]]))
    assert pixels[0] == pytest.approx([250.0, 256.0]) or pixels[0] == pytest.approx([390.0, 256.0])


def test_ground_homography_agrees_with_project():
    pose = CameraPose(10.0, -20.0, 60.0, 33.0, -61.0, 2.0)
    ground = np.array([[12.0, -5.0, 0.0], [0.0, 0.0, 0.0], [25.0, 10.0, 0.0]])
    pixels, _ = CAMERA.project(pose, ground)
    mapped = np.column_stack([ground[:, :2], np.ones(3)]) @ CAMERA.ground_homography(pose).T
    assert mapped[:, :2] / mapped[:, 2:] == pytest.approx(pixels)


def test_gsd_grows_with_slant():
    assert CAMERA.gsd_m(CameraPose(0, 0, 70.0)) == pytest.approx(0.1)
    assert CAMERA.gsd_m(CameraPose(0, 0, 70.0, pitch_deg=-30.0)) == pytest.approx(0.2)


def test_pose_below_ground_is_refused():
    with pytest.raises(ValueError, match="above the ground"):
        CameraPose(0.0, 0.0, -1.0)
