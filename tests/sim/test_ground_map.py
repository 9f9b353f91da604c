from dataclasses import replace

import numpy as np
import pytest
from made_up_run import story

from edge.ground import ground_place
from protocols.values import Pose
from sim.craft.camera import Camera, CameraPose
from sim.dataset import pose_record
from sim.flat_map import to_metres
from sim.ground_map import GroundTrack, ground_map, on_ground, pose_of
from sim.scene_plan import disaster_scene

CAMERA = Camera(focal_px=200, width=160, height=128)


def test_a_pose_survives_the_way_through_the_sidecar():
    pose = CameraPose(12.0, -34.0, 56.0, 78.0, -70.0, 1.5)
    told = pose_of(pose_record(disaster_scene(1, 10.0), pose))
    assert told.position() == pytest.approx(pose.position(), abs=1e-6)
    assert (told.yaw_deg, told.pitch_deg, told.roll_deg) == (78.0, -70.0, 1.5)


@pytest.mark.parametrize("told", [None, {}, {"lat_deg": 47.0}])
def test_an_unknown_pose_is_none(told):
    assert pose_of(told) is None


def test_a_pixel_is_projected_where_the_camera_sees_the_point():
    pose = CameraPose(5.0, 7.0, 50.0, 30.0, -65.0, 2.0)
    point = np.array([[9.0, 25.0, 0.0]])
    (pixel,), _ = CAMERA.project(pose, point)
    assert on_ground(CAMERA, pose, tuple(pixel)) == pytest.approx((9.0, 25.0))


def test_above_the_horizon_there_is_no_ground():
    assert on_ground(CAMERA, CameraPose(0, 0, 50, 0, -5), (80, 0)) is None


def test_tracks_cases_and_first_findings_lie_on_the_map(record):
    told = story(record)
    seen = ground_map(record, told.camera, told.poses)
    assert len(seen.path_m) == len(seen.centres_m) == 60
    assert (len(seen.cases_m), list(seen.first_m)) == (1, ["Debris"])
    tracks = {(track.label, track.is_prompted): len(track.points_m) for track in seen.tracks}
    assert tracks[("Car", False)] == 60


def test_a_track_number_that_comes_back_much_later_is_another_track(record):
    told = story(record)
    gap = replace(record, frames=[frame for frame in record.frames if not 10 <= frame.index < 40])
    cars = [track for track in ground_map(gap, told.camera, told.poses).tracks if track.label == "Car"]
    assert [len(track.points_m) for track in cars] == [10, 20]


def test_without_poses_the_map_is_empty(record):
    assert ground_map(record, CAMERA, {}).is_empty


@pytest.mark.parametrize(("drift_m", "is_scatter"), [(0.0, True), (8.0, False)])
def test_a_standing_thing_under_a_noisy_pose_is_told_from_a_moving_one(drift_m, is_scatter):
    rng = np.random.default_rng(1)
    points = rng.normal(0, 5, (30, 2)) + np.arange(30)[:, None] * [drift_m, 0.0]
    track = GroundTrack("Car", is_prompted=False, points_m=points)
    assert track.is_scatter is is_scatter
    assert track.middle_m == pytest.approx(np.median(points, axis=0))


def test_edge_finds_the_same_ground_from_the_told_pose():
    scene = disaster_scene(1, 10.0)
    flown = CameraPose(30.0, -20.0, 80.0, yaw_deg=35.0, pitch_deg=-50.0, roll_deg=4.0)
    told = Pose.model_validate(pose_record(scene, flown))
    camera = scene.camera
    for pixel in ((320.0, 256.0), (100.0, 400.0), (600.0, 500.0)):
        lon, lat = ground_place(told, (camera.width, camera.height), pixel)
        assert to_metres(lat, lon) == pytest.approx(on_ground(camera, flown, pixel), abs=1.0)  # the map is a sphere's
