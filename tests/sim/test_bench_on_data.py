"""Benchmarks on HIT-UAV's layout: here with green squares for bicycles, which a tiny student has never heard of."""

import hashlib
import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from typer.testing import CliRunner

from distill.dataset import read_data_set
from distill.errors import DataSetError, DistillError
from distill.fewshot import draw_shots
from edge.bundle import load_bundle
from edge.errors import ModelError
from sim.bench_cli import bench_app
from sim.bench_fewshot import FewShotBench, bench_fewshot
from sim.bench_find import FindBench, bench_find, searches
from sim.bench_frontier import FrontierBench, bench_frontier
from sim.bench_models import ModelsBench, bench_models
from sim.bench_offload import OffloadBench, bench_offload
from sim.display import Display
from sim.errors import SimError

GREEN, WHITE = (30, 250, 30), (240, 240, 240)
SIDE_PX, BOX_PX = 96, 16
CATEGORIES = ("Person", "Car", "Bicycle", "OtherVehicle", "DontCare")


@pytest.fixture(scope="module")
def hit_uav(tmp_path_factory):
    """16 training pictures in two groups, one of them dev, and 6 of val; each shows a bicycle and a person."""
    folder = tmp_path_factory.mktemp("data") / "hit_uav"
    rng = np.random.default_rng(3)
    _write(
        folder,
        "train",
        [f"0_60_30_0_{i:05d}.png" for i in range(12)] + [f"1_80_30_0_{i:05d}.png" for i in range(4)],
        rng,
    )
    _write(folder, "val", [f"0_60_30_0_{i + 50:05d}.png" for i in range(6)], rng)
    (folder / "dev_groups.txt").write_text("1_80_30_0\n")
    return folder


def _write(folder, part, names, rng):
    (folder / part).mkdir(parents=True)
    (folder / "annotations").mkdir(exist_ok=True)
    annotations = []
    for number, name in enumerate(names):
        picture = rng.integers(10, 30, (SIDE_PX, SIDE_PX, 3)).astype(np.uint8)
        left, right = (int(v) for v in rng.integers(0, 5, 2))
        for x, y, colour, label in ((left * 4, 8, GREEN, "Bicycle"), (56 + right * 4, 60, WHITE, "Person")):
            picture[y : y + BOX_PX, x : x + BOX_PX] = colour
            row = {"bbox": [x, y, BOX_PX, BOX_PX], "category_id": CATEGORIES.index(label)}
            annotations.append(row | {"id": len(annotations), "image_id": number})
        cv2.imwrite(str(folder / part / name), picture)
    images = [{"id": i, "filename": n, "width": SIDE_PX, "height": SIDE_PX} for i, n in enumerate(names)]
    categories = [{"id": i, "name": name} for i, name in enumerate(CATEGORIES)]
    content = {"images": images, "annotation": annotations, "categories": categories}
    (folder / "annotations" / f"{part}.json").write_text(json.dumps(content))


def copy_bundle(bundle, out, content, *, labels, names=("fp32",)):
    """A folder with one ONNX file under some variant names and a manifest like another bundle's."""
    out.mkdir()
    entries = {}
    for name in names:
        (out / f"{name}.onnx").write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        entries[name] = {"file": f"{name}.onnx", "sha256": digest, "size_bytes": len(content)}
    manifest = bundle.manifest.model_dump(mode="json") | {"labels": labels, "variants": entries}
    (out / "bundle.json").write_text(json.dumps(manifest))
    return out


@pytest.fixture(scope="module")
def reference(tiny_bundle, tmp_path_factory):
    """The tiny student as it would be had it learnt that green things are bicycles."""
    model = onnx.load(str(tiny_bundle.model_path))
    red = next(w for w in model.graph.initializer if w.name == "red")
    green = numpy_helper.to_array(red)[:, [0, 2, 1]].astype(np.float32)
    red.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(green), "red"))
    out = tmp_path_factory.mktemp("reference") / "bundle"
    return copy_bundle(tiny_bundle, out, model.SerializeToString(), labels=["Bicycle"])


def options(hit_uav, tiny_bundle, reference, **changes):
    return FewShotBench(hit_uav, tiny_bundle.folder, reference, shots=(1, 2), seeds=2, **changes)


def test_few_shots_find_what_the_student_never_saw(hit_uav, tiny_bundle, reference):
    result = bench_fewshot(options(hit_uav, tiny_bundle, reference), Display())
    assert result["refused"] == 0
    for split in ("dev", "val"):
        scores = result[split]
        assert scores["reference_ap50"] == pytest.approx(1.0)
        assert scores["none_ap50"] < 0.8  # the white squares are objects, too
        assert scores["shots"]["1"] == {"mean": 1.0, "min": 1.0, "max": 1.0}
        assert set(scores["shots"]) == set(scores["prototypes_ap50"]) == {"1", "2"}


def test_shots_are_drawn_by_seed_from_images_of_their_own(hit_uav):
    train = read_data_set(hit_uav, "train")
    shots = draw_shots(train, "Bicycle", 5, seed=1)
    assert shots == draw_shots(train, "Bicycle", 5, seed=1)
    assert shots != draw_shots(train, "Bicycle", 5, seed=2)
    assert len({shot.image for shot in shots}) == 5
    assert all(train.items[shot.image].labels[shot.row] == "Bicycle" for shot in shots)


def test_more_shots_than_images_are_refused(hit_uav, tiny_bundle, reference):
    with pytest.raises(DataSetError, match="12 images show Bicycle, 13 shots wanted; ask for fewer"):
        bench_fewshot(replace(options(hit_uav, tiny_bundle, reference), shots=(13,)), Display())


def test_student_that_knows_the_label_is_refused(hit_uav, reference):
    with pytest.raises(SimError, match="knows Bicycle already"):
        bench_fewshot(FewShotBench(hit_uav, reference, reference), Display())


def test_models_are_scored_and_timed(hit_uav, tiny_bundle, reference, tmp_path):
    student = copy_bundle(
        tiny_bundle,
        tmp_path / "student",
        load_bundle(reference).model_path.read_bytes(),
        labels=["Bicycle"],
        names=("fp32", "u8s8"),
    )
    result = bench_models(ModelsBench(hit_uav, student, tiny_bundle.folder, timed=3), Display())
    assert result["val"]["student_int8"]["ap50"] == {"Person": 0.0, "Car": None, "Bicycle": 1.0}
    assert result["val"]["teacher"]["map50"] == 0.0
    assert result["dev"]["student_fp32"]["ap50_small"] is None  # every square is 16 px wide
    assert set(result["cost"]["teacher"]) == {"ms_1t", "ms_2t", "mb"}
    assert all(value > 0 for row in result["cost"].values() for value in row.values())
    assert set(result["ratios"]) == {"int8_speedup_1t", "teacher_over_student_ms"}


def test_bundle_without_int8_is_named(hit_uav, tiny_bundle):
    with pytest.raises(ModelError, match="has no variant 'u8s8'"):
        bench_models(ModelsBench(hit_uav, tiny_bundle.folder, tiny_bundle.folder), Display())


def test_teacher_is_compared_on_the_images_its_student_finds_hard(hit_uav, tiny_bundle, reference):
    options = OffloadBench(hit_uav, tiny_bundle.folder, tiny_bundle.folder, reference, hardest=0.5)
    result = bench_offload(options, Display())
    assert (result["images"], result["hard_images"]) == (4, 2)
    assert result["hard"]["student"] == result["hard"]["second"]
    gain = result["hard"]["teacher"]["map50"] - result["hard"]["second"]["map50"]
    assert result["teacher_gain"] == pytest.approx(100 * gain, abs=0.1)
    assert result["hard"]["teacher"]["ap50"]["Bicycle"] == 1.0


@pytest.fixture
def two_flights(hit_uav, tmp_path):
    """The same pictures, both groups of the training ones dev."""
    folder = tmp_path / "hit_uav"
    shutil.copytree(hit_uav, folder)
    (folder / "dev_groups.txt").write_text("0_60_30_0\n1_80_30_0\n")
    return folder


def test_frontier_command_tells_curves_of_both_splits_and_draws_them(two_flights, tiny_bundle, reference, tmp_path):
    plot = tmp_path / "frontier.png"
    arguments = ["--data", two_flights, "--student", tiny_bundle.folder, "--teacher", reference, "--draws", 20]
    arguments += ["--naive", tiny_bundle.folder]
    words = [str(word) for word in ["frontier", *arguments, "--plot", plot, "--json"]]
    done = CliRunner().invoke(bench_app, words, catch_exceptions=False)
    result = json.loads(done.stdout)
    assert plot.read_bytes().startswith(b"\x89PNG")
    prompted = result["with_prompts"]
    assert prompted["images"] == 6
    for way in ("ours", "random"):
        assert [point["budget"] for point in prompted["policies"][way]] == [0.05, 0.1, 0.2]
    for split in ("val", "dev"):
        found = result[split]
        assert found["edge_only"] == {"map50": 0.0, "f1": 0.0, "bytes": 0}  # it knows red things alone
        # The teacher finds every bicycle and no person: half of mAP50, and one of three boxes wanted or said.
        assert found["cloud_only"]["map50"] == found["teacher_on_raw_map50"] == 0.5
        assert found["cloud_only"]["f1"] == pytest.approx(2 / 3, abs=1e-3)
        ways = ["ours", "random", "oracle", "sedna_ibt", "sedna_threshold", "axonmesh_margin", "difficult_case"]
        assert set(ways) <= set(found["policies"])
        assert set(found["policies"]["ours"][0]) == {"budget", "bytes", "map50", "f1"}
        assert set(found["g"]) == {"0.05", "0.1", "0.2", "0.3"}
        assert found["policies"]["oracle"][-1]["f1"] > 0


def test_frontier_of_one_flight_is_refused(hit_uav, tiny_bundle, reference):
    with pytest.raises(DistillError, match=r"1 flight\(s\) teach no reward"):
        bench_frontier(FrontierBench(hit_uav, tiny_bundle.folder, reference, tiny_bundle.folder, draws=20), Display())


@pytest.mark.slow
def test_models_of_the_package_on_real_images(data_root):
    done = CliRunner().invoke(
        bench_app, ["models", "--data", str(data_root / "hit_uav"), "--images", "20", "--timed", "5", "--json"]
    )
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["val"]["teacher"]["map50"] > 0.3
    assert result["cost"]["student_int8"]["mb"] < 3.0


def test_search_knows_where_the_thing_went(hit_uav):
    found = [search for _, search in searches(read_data_set(hit_uav, "dev"), 4, seed=3)]
    assert len(found) == 4
    for search in found:
        x1, y1, x2, y2 = np.round(search.box_xyxy).astype(int)
        inside = search.frame[max(y1 + 2, 0) : y2 - 2, max(x1 + 2, 0) : x2 - 2].max(axis=2)
        assert inside.mean() > 100  # the squares are bright and nothing else is
        cx, cy = ((search.chip.box_xyxy[:2] + search.chip.box_xyxy[2:]) / 2).astype(int)
        assert search.chip.image[cy, cx].max() > 200


def test_searches_of_renders_end_in_other_images(hit_uav):
    data = read_data_set(hit_uav, "val")
    named = [replace(item, things=("one/bicycle", f"other/{n}")) for n, item in enumerate(data)]
    pairs = list(searches(replace(data, items=tuple(named)), 6, seed=0))
    assert [done for done, _ in pairs] == list(range(1, 7))
    frames = [data.image(index).tobytes() for index in range(len(data))]
    assert {search.label for _, search in pairs} == {"Bicycle"}
    assert all(frames.index(search.frame.tobytes()) != done - 1 for done, search in pairs)


def test_find_scores_a_teacher_without_a_head_like_the_cosine(tiny_bundle, hit_uav):
    options = FindBench(hit_uav, None, tiny_bundle.folder, images=4)
    (row,) = bench_find(options, Display()).values()
    assert row["searches"] == 4
    assert row["teacher"] == row["cosine"]
    assert row["label"] == {"top1": 0.0, "recall5": 0.0, "top1_small": row["label"]["top1_small"]}  # knows red alone


def test_find_command_prints_a_table(tiny_bundle, hit_uav):
    arguments = ["find", "--data", str(hit_uav), "--teacher", str(tiny_bundle.folder), "--images", "2"]
    done = CliRunner().invoke(bench_app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert "best five" in done.output
