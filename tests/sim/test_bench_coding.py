import json

import cv2
import pytest
from builders import scene

from sim.bench_coding import LADDER, CodingBench, bench_coding
from sim.display import Display
from sim.errors import SimError

RED = (40, 40, 230)


@pytest.fixture
def labelled(tmp_path):
    """Two pictures, each with a red thing, under a label."""

    def write(label):
        content = {"images": [], "annotations": [], "categories": [{"id": 1, "name": label}]}
        (tmp_path / "images").mkdir()
        for index, (x, y) in enumerate(((40, 34), (90, 70)), 1):
            cv2.imwrite(str(tmp_path / "images" / f"{index}.png"), scene((x, y, RED)))
            content["images"].append({"id": index, "file_name": f"{index}.png", "width": 160, "height": 128})
            box = {"id": index, "image_id": index, "category_id": 1, "bbox": [x - 8, y - 8, 16, 16], "iscrowd": 0}
            content["annotations"].append(box | {"area": 256})
        (tmp_path / "annotations.json").write_text(json.dumps(content))
        return tmp_path

    return write


def bench(folder, bundle):
    return bench_coding(CodingBench(folder, "dev", bundle.folder, bundle.folder, threads=1), Display())


def test_each_coding_tells_what_it_keeps_and_costs(labelled, tiny_bundle):
    result = bench(labelled(tiny_bundle.manifest.labels[0]), tiny_bundle)
    assert result["images"] == 2
    rows = {row["name"]: row for row in result["codings"]}
    assert len(rows) == len(LADDER)
    for codec in ("jpeg", "webp"):
        costs = [row["bytes_per_kilopixel"] for name, row in rows.items() if name.startswith(codec)]
        assert costs == sorted(costs)
    assert rows["jpeg 95"]["cosine"] > 0.95
    assert all(0 <= row["kept"] <= 1.5 for row in rows.values())


def test_images_that_show_nothing_known_are_refused(labelled, tiny_bundle):
    with pytest.raises(SimError, match="shows nothing that the teacher knows"):
        bench(labelled("Teapot"), tiny_bundle)
