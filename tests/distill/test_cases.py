"""What people answered in the cloud becomes truth to train on."""

import hashlib

import numpy as np
import pytest
from builders import make_case

from cloud.store import CaseStore, Review
from distill.augment import random_crop
from distill.dataset import Reading, read_data_set
from distill.errors import DataSetError
from protocols.imagery import encode_image
from protocols.values import Detection, FrameHeader, Interpretation, Pose

REGION = (100, 60, 260, 188)


@pytest.fixture
def store(tmp_path):
    with_cases = CaseStore(tmp_path / "data")
    with_cases.enroll("uav", "c" * 40)
    yield with_cases
    with_cases.close()


def found(label, *box):
    return Detection(box_xyxy=box, label=label, score=0.6)


def add_case(store, detections=(), teacher=(), **changes):
    """A case of a region of a 640x512 frame, with what the craft and the teacher saw in it."""
    image = np.random.default_rng(0).integers(0, 256, (128, 160, 3), np.uint8)
    payload = encode_image(image, "image/png")
    frame = FrameHeader(index=0, source_id="t", captured_at_s=1.0, width=640, height=512, pose=Pose(gsd_m=0.1))
    fields = {"region_xyxy": REGION, "frame": frame, "detections": tuple(detections), "media_type": "image/png"}
    digest = hashlib.sha256(payload).hexdigest()
    case = make_case(payload, payload_sha256=digest, **fields | changes)
    assert store.add_cases([("uav", case, payload)]) == ["stored"]
    if teacher:
        answer = {"confidence": 0.5, "by": "teacher", "interpreter": "t", "made_at_s": 2.0}
        store.add_interpretation("uav", Interpretation(case_id=case.case_id, detections=tuple(teacher), **answer))
    return case.case_id, image


def answer(store, case_id, label, *boxes):
    return store.add_review(Review("uav", case_id, label, boxes, "craft", "ann", 3.0 + len(store.reviews())))


def truth(item):
    rows = zip(item.labels, item.boxes_xyxy.tolist(), item.ignore.tolist(), strict=True)
    return [(label, box, ignored) for label, box, ignored in rows]


def test_boxes_lie_in_pixels_of_the_picture(store):
    case_id, image = add_case(store)
    answer(store, case_id, "Debris", (110, 70, 150, 90), (200, 100, 260, 188))
    data = read_data_set(store.data_dir, "all")
    assert truth(data.items[0]) == [("Debris", [10, 10, 50, 30], False), ("Debris", [100, 40, 160, 128], False)]
    np.testing.assert_array_equal(data.image(0), image)
    assert (data.items[0].bands, data.items[0].gsd_m) == (3, 0.1)


def test_only_reviewed_cases_count(store):
    add_case(store, teacher=[found("Car", 110, 70, 150, 90)])
    case_id, _ = add_case(store)
    answer(store, case_id, "Debris", (110, 70, 150, 90))
    assert [item.labels for item in read_data_set(store.data_dir, "all")] == [("Debris",)]


def test_more_pictures_than_memory_holds_are_refused_in_one_line(store, monkeypatch):
    for _ in range(3):
        answer(store, add_case(store)[0], "Debris", (110, 70, 150, 90))
    monkeypatch.setattr("distill.cases.MAX_HELD_BYTES", 3 * 128 * 160 * 3)
    assert len(read_data_set(store.data_dir, "all")) == 3
    monkeypatch.setattr("distill.cases.MAX_HELD_BYTES", 3 * 128 * 160 * 3 - 1)
    with pytest.raises(DataSetError, match="decoded; export fewer"):
        read_data_set(store.data_dir, "all")


def test_newest_answer_to_a_label_replaces_the_earlier(store):
    case_id, _ = add_case(store)
    answer(store, case_id, "Debris", (110, 70, 150, 90))
    answer(store, case_id, "Car", (200, 100, 220, 120))
    answer(store, case_id, "debris", (112, 72, 152, 92))
    (item,) = read_data_set(store.data_dir, "all")
    assert truth(item) == [("debris", [12, 12, 52, 32], False), ("Car", [100, 40, 120, 60], False)]


def test_answer_counts_whether_or_not_a_prompt_came_of_it(store):
    case_id, _ = add_case(store)
    store.finish_review(answer(store, case_id, "Debris", (110, 70, 150, 90)), "failed", "too small")
    assert len(read_data_set(store.data_dir, "all")) == 1


def test_what_nobody_judged_is_an_ignore_region(store):
    case_id, _ = add_case(store, [found("Car", 180, 80, 200, 100)], [found("Person", 220, 120, 240, 160)])
    answer(store, case_id, "Debris", (110, 70, 150, 90))
    (item,) = read_data_set(store.data_dir, "all")
    assert truth(item)[1:] == [("DontCare", [80, 20, 100, 40], True), ("DontCare", [120, 60, 140, 100], True)]


def test_machine_is_corrected_where_the_person_judged(store):
    """A debris that the person did not box is none; a car where the person says debris is debris."""
    wrong = [found("Debris", 200, 100, 240, 140), found("Car", 112, 70, 150, 90)]
    case_id, _ = add_case(store, wrong[:1], wrong[1:])
    answer(store, case_id, "Debris", (110, 70, 150, 90))
    (item,) = read_data_set(store.data_dir, "all")
    assert truth(item) == [("Debris", [10, 10, 50, 30], False)]


def test_answer_that_nothing_is_there_is_background(store):
    case_id, _ = add_case(store, [found("Debris", 200, 100, 240, 140)])
    answer(store, case_id, "Debris")
    (item,) = read_data_set(store.data_dir, "all")
    assert truth(item) == []
    assert item.boxes_xyxy.shape == (0, 4)


def test_cases_are_read_while_the_cloud_writes_and_make_crops(store):
    case_id, _ = add_case(store)
    answer(store, case_id, "Debris", (150, 100, 200, 140))
    data = read_data_set(store.data_dir, "all")
    add_case(store)  # the cloud goes on
    crop = random_crop(data, 0, ("Debris",), 64, (), np.random.default_rng(0))
    assert crop.image.shape == (64, 64, 3)


def test_store_without_reviews_says_what_to_do(store):
    add_case(store)
    with pytest.raises(DataSetError, match="no case is reviewed; answer some with `skyloop-cloud review`"):
        read_data_set(store.data_dir, "all")


def test_damaged_imagery_names_the_case(store):
    case_id, _ = add_case(store)
    answer(store, case_id, "Debris", (150, 100, 200, 140))
    store.imagery_path(store.load_case(case_id)).write_bytes(b"nothing")
    with pytest.raises(DataSetError, match=f"case {case_id}: .*restore the data folder"):
        read_data_set(store.data_dir, "all")


def test_case_does_not_fit_a_network_of_six_bands(store):
    case_id, _ = add_case(store)
    answer(store, case_id, "Debris", (150, 100, 200, 140))
    with pytest.raises(DataSetError, match="holds 3 bands, the network takes 6"):
        read_data_set(store.data_dir, "all", Reading(("a", "b", "c", "d", "e", "f")))


def test_only_answered_labels_are_judged(store):
    case_id, _ = add_case(store)
    answer(store, case_id, "Debris", (110, 70, 150, 90))
    answer(store, case_id, "Car")
    (item,) = read_data_set(store.data_dir, "all")
    assert item.judged == ("Debris", "Car")


def test_thing_that_was_called_otherwise_later_keeps_its_last_name(store):
    case_id, _ = add_case(store)
    answer(store, case_id, "Debris", (110, 70, 150, 90), (200, 100, 240, 140))
    answer(store, case_id, "Car", (111, 70, 150, 91))
    (item,) = read_data_set(store.data_dir, "all")
    assert truth(item) == [("Debris", [100, 40, 140, 80], False), ("Car", [11, 10, 50, 31], False)]


def test_newest_word_on_a_place_of_the_frame_counts_in_every_picture_of_it(store):
    """Two cases of one frame overlap; the second answer finds one thing less and another more where both look."""
    first, _ = add_case(store)
    second, _ = add_case(store, region_xyxy=(180, 60, 340, 188))
    answer(store, first, "Debris", (110, 70, 150, 90), (200, 100, 220, 120))
    answer(store, second, "Debris", (230, 150, 250, 170), (300, 80, 330, 110))
    older, newer = read_data_set(store.data_dir, "all").items
    assert [box for _, box, out in truth(older) if not out] == [[10, 10, 50, 30], [130, 90, 150, 110]]
    assert [box for _, box, out in truth(newer) if not out] == [[50, 90, 70, 110], [120, 20, 150, 50]]


def test_small_picture_is_read_at_the_scale_of_the_frame(store):
    case_id, image = add_case(store, region_xyxy=(100, 60, 420, 316), image_scale=0.5)
    answer(store, case_id, "Debris", (110, 70, 150, 90))
    data = read_data_set(store.data_dir, "all")
    assert image.shape[:2] == (128, 160)
    assert data.image(0).shape[:2] == (256, 320)
    assert truth(data.items[0]) == [("Debris", [10, 10, 50, 30], False)]
    assert data.items[0].gsd_m == 0.1


def test_last_reviewed_frame_comes_last(store):
    def frame(index):
        return FrameHeader(index=index, source_id="t", captured_at_s=1.0, width=640, height=512)

    ids = [add_case(store, frame=frame(index))[0] for index in range(3)]
    for number, label in ((0, "A"), (1, "B"), (2, "C"), (0, "D")):
        answer(store, ids[number], label, (110, 70, 150, 90))
    assert [item.judged for item in read_data_set(store.data_dir, "all")] == [("B",), ("C",), ("A", "D")]


def test_case_whose_imagery_retention_dropped_is_left_out(store):
    dropped, kept = add_case(store)[0], add_case(store)[0]
    for case_id in (dropped, kept):
        answer(store, case_id, "Debris", (150, 100, 200, 140))
    with store._db.writing() as session:
        session.connection().exec_driver_sql("UPDATE cases SET imagery_bytes = 0 WHERE case_id = ?", (dropped,))
    assert [item.path.name for item in read_data_set(store.data_dir, "all")] == [f"uav-{kept}"]
