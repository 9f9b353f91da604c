"""Cases, imagery, answers and GeoJSON over HTTP."""

from itertools import pairwise

import numpy as np
import pytest

from protocols.imagery import encode_image
from protocols.values import CasePart, Pose


def test_list_filters_and_goes_on_where_it_ended(viewer, add, store):
    cases = [add() for _ in range(5)] + [add("sat", label="O'Hara\"; DROP TABLE cases;--")]
    first = viewer.get("/cases", params={"limit": 2, "craft": "uav"}).json()
    add()  # what comes meanwhile pushes nothing over the border
    seen, page = list(first["items"]), first
    while page["next"]:
        page = viewer.get("/cases", params={"limit": 2, "craft": "uav", "cursor": page["next"]}).json()
        seen += page["items"]
    assert [item["case_id"] for item in seen] == [case.case_id for case in reversed(cases[:5])]
    odd = viewer.get("/cases", params={"label": "O'Hara\"; DROP TABLE cases;--"}).json()
    assert [item["craft"] for item in odd["items"]] == ["sat"]
    assert viewer.get("/cases", params={"state": "stored"}).json() == {"items": [], "next": None}
    assert viewer.get("/cases", params={"received_since_s": 4e9}).json()["items"] == []
    assert len(viewer.get("/cases", params={"received_until_s": 4e9}).json()["items"]) == 7


@pytest.mark.parametrize("cursor", ["a", "WzEsICJ4Il0", "W10", "bnVsbA", "eyJ4IjoxfQ"])
def test_cursor_that_is_none_is_refused(viewer, add, cursor):
    add()
    answer = viewer.get("/cases", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["title"]) == (400, "Bad Request")
    assert "begin again without it" in answer.json()["detail"]


def test_cursor_of_other_filters_or_another_list_is_refused(viewer, add):
    add(), add()
    cursor = viewer.get("/cases", params={"limit": 1}).json()["next"]
    assert viewer.get("/cases", params={"cursor": cursor, "craft": "uav"}).status_code == 400
    assert viewer.get("/interpretations", params={"cursor": cursor}).status_code == 400


def test_one_case_whole(viewer, add):
    case = add()
    told = viewer.get(f"/cases/{case.case_id}").json()
    assert (told["craft"], told["state"], told["reason"]) == ("uav", "unsure", "low score")
    assert told["frame"]["pose"]["lat_deg"] == 47.0
    assert told["detections"][0]["label"] == "Car"
    assert told["reasons"] == {"doubt": 0.5}


def test_case_that_two_craft_name_alike_asks_which(viewer, add):
    case = add()
    add("sat", case_id=case.case_id)
    answer = viewer.get(f"/cases/{case.case_id}")
    assert (answer.status_code, "several cases" in answer.json()["detail"]) == (404, True)
    assert viewer.get(f"/cases/{case.case_id}", params={"craft": "sat"}).json()["craft"] == "sat"


def test_imagery_comes_as_it_was_sent_and_is_never_a_page(viewer, add, store):
    two = encode_image(np.zeros((40, 40, 3), np.uint8), "image/png")
    one = encode_image(np.full((128, 160, 3), 90, np.uint8), "image/png")
    further = (CasePart(region_xyxy=(300, 300, 340, 340), payload_bytes=len(two)),)
    case = add(payload=one + two, further=further)
    answer = viewer.get(f"/cases/{case.case_id}/imagery")
    assert (answer.content, answer.headers["content-type"]) == (one, "image/png")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert viewer.get(f"/cases/{case.case_id}/imagery", params={"part": 2}).content == two
    assert viewer.get(f"/cases/{case.case_id}/imagery", params={"part": 3}).status_code == 404


def test_raw_imagery_comes_as_a_picture(viewer, add):
    payload = encode_image(np.arange(128 * 160 * 5, dtype=np.uint16).reshape(128, 160, 5), "application/x-skyloop-raw")
    case = add(payload=payload, media_type="application/x-skyloop-raw")
    answer = viewer.get(f"/cases/{case.case_id}/imagery")
    assert (answer.headers["content-type"], answer.content[:4]) == ("image/png", b"\x89PNG")


def test_imagery_that_was_dropped_is_gone(viewer, add, store):
    case = add()
    with store._db.writing() as session:
        session.connection().exec_driver_sql("UPDATE cases SET imagery_bytes = 0")
    answer = viewer.get(f"/cases/{case.case_id}/imagery")
    assert (answer.status_code, "was dropped" in answer.json()["detail"]) == (410, True)


def test_damaged_store_says_try_again(viewer, add, store):
    case = add()
    store.imagery_path(store.load_case(case.case_id)).unlink()
    answer = viewer.get(f"/cases/{case.case_id}/imagery")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "restore the data folder" in answer.json()["detail"]


def test_interpretations_of_a_case_and_of_all(viewer, add):
    cases = [add(), add("sat", label="<script>alert(1)</script>")]
    (told,) = viewer.get(f"/cases/{cases[0].case_id}/interpretations").json()
    assert (told["by"], told["detections"][0]["label"], told["is_delivered"]) == ("teacher", "Debris", False)
    page = viewer.get("/interpretations", params={"limit": 1}).json()
    assert page["items"][0]["detections"][0]["label"] == "<script>alert(1)</script>"
    rest = viewer.get("/interpretations", params={"limit": 1, "cursor": page["next"]}).json()
    assert [item["case_id"] for item in rest["items"]] == [cases[0].case_id]
    assert rest["next"] is None
    assert viewer.get("/interpretations", params={"by": "person"}).json()["items"] == []


def ring_area(ring):
    return sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairwise(ring)) / 2


def test_geojson_of_a_case_is_counter_clockwise_and_closed(viewer, add):
    case = add()
    answer = viewer.get(f"/cases/{case.case_id}/geojson")
    assert answer.headers["content-type"] == "application/geo+json"
    features = {feature["id"].partition("/")[2]: feature for feature in answer.json()["features"]}
    assert sorted(features) == ["camera", "edge/1", "footprint/1", "teacher/1"]
    (ring,) = features["footprint/1"]["geometry"]["coordinates"]
    assert ring[0] == ring[-1]
    assert ring_area(ring) > 0
    # 160 px of 0.5 m are 80 m, at 47 degrees north 1.0523e-3 degrees of longitude (WGS 84, 76,022 m a degree).
    assert max(x for x, _ in ring) - min(x for x, _ in ring) == pytest.approx(80 / 76_022, rel=1e-3)
    assert features["camera"]["geometry"] == {"type": "Point", "coordinates": [8.0, 47.0]}
    assert features["edge/1"]["properties"]["label"] == "Car"


def test_geojson_is_cut_at_the_antimeridian(viewer, add):
    pose = Pose(lat_deg=0.0, lon_deg=179.9999, altitude_m=500.0, yaw_deg=0.0, pitch_deg=-90.0, gsd_m=0.5)
    case = add(pose=pose, region_xyxy=(0, 0, 640, 512), image_scale=0.25)
    geometry = viewer.get(f"/cases/{case.case_id}/geojson").json()["features"][0]["geometry"]
    assert geometry["type"] == "MultiPolygon"
    sides = [{x > 0 for x, _ in ring} for (ring,) in geometry["coordinates"]]
    assert sorted(sides, key=str) == [{False}, {True}]
    assert all(ring_area(ring) > 0 and -180 <= x <= 180 for (ring,) in geometry["coordinates"] for x, _ in ring)


def test_geojson_without_a_pose_has_no_places(viewer, add):
    case = add(pose=None)
    features = viewer.get(f"/cases/{case.case_id}/geojson").json()["features"]
    assert {feature["geometry"] for feature in features} == {None}
