import json

import numpy as np
import pytest

from edge.followed_target import Target
from edge.track_files import TrackFiles
from protocols.values import FrameHeader, Pose


def target(target_id, state, box=(1.25, 2.0, 11.25, 22.0)):
    return Target(target_id, "Car", state, "why", np.array(box, np.float32), 0.75)


def header(index):
    return FrameHeader(index=index, source_id="flight", captured_at_s=5.0, width=64, height=64)


def test_files_hold_every_state_as_json_and_what_is_not_lost_as_mot(tmp_path):
    files = TrackFiles(tmp_path)
    files.write(header(0), [target(1, "tentative"), target(2, "lost")])
    files.write(header(1), [])
    files.write(header(2), [target(2, "re_found")])
    files.close()
    lines = [json.loads(line) for line in (tmp_path / "tracks.jsonl").read_text().splitlines()]
    assert [(line["frame"], [t["state"] for t in line["targets"]]) for line in lines] == [
        (0, ["tentative", "lost"]),
        (2, ["re_found"]),
    ]
    assert lines[0]["targets"][0] == {
        "target_id": 1,
        "label": "Car",
        "state": "tentative",
        "reason": "why",
        "box_xyxy": [1.2, 2.0, 11.2, 22.0],
        "presence": 0.75,
    }
    assert (tmp_path / "tracks.mot.txt").read_text().splitlines() == [
        "1,1,1.2,2.0,10.0,20.0,0.7500,-1,-1,-1",
        "3,2,1.2,2.0,10.0,20.0,0.7500,-1,-1,-1",
    ]


STRAIGHT_DOWN = Pose(lat_deg=47.0, lon_deg=8.0, altitude_m=500.0, yaw_deg=0, pitch_deg=-90, roll_deg=0, gsd_m=0.5)


def posed(index, at_s, pose=STRAIGHT_DOWN):
    return FrameHeader(index=index, source_id="flight", captured_at_s=at_s, width=64, height=64, pose=pose)


def features(folder):
    """What a map reads, checked by RFC 7946, 2 and 3.1 to 3.3."""
    collection = json.loads((folder / "tracks.geojson").read_text())
    assert collection["type"] == "FeatureCollection"
    for feature in collection["features"]:
        assert (feature["type"], feature["geometry"]["type"]) == ("Feature", "Point")
        lon, lat = feature["geometry"]["coordinates"]
        assert -180 <= lon <= 180
        assert -90 <= lat <= 90
    return collection["features"]


def test_map_has_a_point_a_second_and_one_at_each_change_and_is_whole_after_each(tmp_path):
    files = TrackFiles(tmp_path)
    states = ["tentative"] * 2 + ["tracked"] * 25 + ["lost"] * 25 + ["re_found"]
    for index, state in enumerate(states):
        files.write(posed(index, 1000.0 + index / 10), [target(1, state)])
        assert features(tmp_path)
    found = [(f["properties"]["frame"], f["properties"]["state"]) for f in features(tmp_path)]
    assert found == [(0, "tentative"), (2, "tracked"), (12, "tracked"), (22, "tracked"), (27, "lost"), (52, "re_found")]
    files.close()
    assert len(features(tmp_path)) == 6


def test_map_says_who_where_and_when(tmp_path):
    files = TrackFiles(tmp_path)
    files.write(posed(7, 1.75e9 + 0.25), [target(3, "tracked", (42, 30, 62, 34))])
    files.close()
    (feature,) = features(tmp_path)
    assert feature["id"] == "3-7"
    assert feature["properties"] == {
        "target_id": 3,
        "label": "Car",
        "state": "tracked",
        "presence": 0.75,
        "frame": 7,
        "source": "flight",
        "time": "2025-06-15T15:06:40.250Z",
    }
    lon, lat = feature["geometry"]["coordinates"]
    assert lat == 47.0
    assert lon == pytest.approx(
        8 + 10 / 76_056.7, abs=2e-7
    )  # 20 px of 0.5 m east; a degree there (Snyder 1987, table 3)


def test_flight_without_poses_has_no_map_and_an_earlier_one_goes(tmp_path):
    (tmp_path / "tracks.geojson").write_text("old")
    files = TrackFiles(tmp_path)
    files.write(header(0), [target(1, "tracked")])
    files.close()
    assert not (tmp_path / "tracks.geojson").exists()


def test_map_on_a_full_disk_is_told(tmp_path, files_at_most):
    files = TrackFiles(tmp_path)
    files.write(posed(0, 0.0), [target(1, "tentative")])
    with files_at_most(300), pytest.raises(OSError, match=r"File too large|No space"):
        files.write(posed(1, 5.0), [target(1, "tracked")])
    files.close()
