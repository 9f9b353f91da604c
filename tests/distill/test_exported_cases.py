"""What `skyloop-cloud export` writes is what this package reads, and says the same as the data folder itself."""

import hashlib

import numpy as np
import pytest
from builders import make_case

from cloud.export import export
from cloud.reviewed import reviewed_cases
from cloud.store import CaseStore, Review
from distill.dataset import read_data_set
from protocols.imagery import encode_image
from protocols.values import Detection, FrameHeader


@pytest.fixture
def store(tmp_path):
    opened = CaseStore(tmp_path / "data")
    opened.enroll("uav", "c" * 40)
    image = np.random.default_rng(0).integers(0, 256, (128, 160, 3), np.uint8)
    payload = encode_image(image, "image/png")
    frame = FrameHeader(index=0, source_id="t", captured_at_s=1.0, width=640, height=512)
    fields = {"region_xyxy": (100, 60, 260, 188), "frame": frame, "media_type": "image/png"}
    fields["detections"] = (Detection(box_xyxy=(200, 100, 230, 120), label="Car", score=0.6),)
    case = make_case(payload, payload_sha256=hashlib.sha256(payload).hexdigest(), **fields)
    opened.add_cases([("uav", case, payload)])
    opened.add_review(Review("uav", case.case_id, "Debris", ((110, 70, 150, 90),), "craft", "ann", 3.0))
    yield opened
    opened.close()


def truth(item):
    rows = zip(item.labels, item.boxes_xyxy.tolist(), item.ignore.tolist(), strict=True)
    return [(label, [round(v, 3) for v in box], ignored) for label, box, ignored in rows]


@pytest.mark.parametrize("layout", ["coco", "yolo"])
def test_exported_cases_read_as_the_data_folder_does(store, tmp_path, layout):
    export(store, reviewed_cases(store), tmp_path / "out", layout, licence="")
    direct, exported = read_data_set(store.data_dir, "all"), read_data_set(tmp_path / "out", "all")
    expected = truth(direct.items[0])
    assert expected == [("Debris", [10, 10, 50, 30], False), ("DontCare", [100, 40, 130, 60], True)]
    assert truth(exported.items[0]) == (expected if layout == "coco" else expected[:1])
    np.testing.assert_array_equal(exported.image(0), direct.image(0))
