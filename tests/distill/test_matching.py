"""The matching head: what it tells before it has learnt anything, its training, and its way into a bundle."""

import hashlib
import json
import shutil
import warnings

import numpy as np
import onnx
import pytest
import torch
from typer.testing import CliRunner

from cloud.errors import TeacherError
from cloud.teachers import Exemplar, open_teacher
from distill import match_training
from distill.bundle import write_bundle
from distill.cli import app
from distill.errors import DistillError, TrainingError
from distill.match_export import FILE_NAME, add_match, export_match
from distill.match_training import MatchRecipe, load_head, make_pair_batch, match_losses, train_match
from distill.matching import PARTS, Exemplars, MatchHead, _laid
from distill.network import Outputs
from distill.pairs import THINGS, OtherViews
from distill.recipe import Source, Workspace, open_source
from edge.bundle import BGR, read_manifest
from protocols.boxes import box_iou

DIM = 8


def make_recipe(**changes):
    settings = {"name": "tiny-match", "backbone": "tiny", "sources": (Source(path="hit_uav"),), "steps": 4, "batch": 2}
    return MatchRecipe(**settings | changes)


@pytest.fixture(scope="module")
def matched(finished, tmp_path_factory):
    """Recipe and workspace of a head that was trained for four steps and exported; not to be changed."""
    _, old = finished
    workspace = Workspace(old.data, shutil.copytree(old.runs, tmp_path_factory.mktemp("match") / "runs"))
    train_match(make_recipe(), workspace)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter warns of its own parts and of axes of one length
        export_match(make_recipe(), workspace)
    return make_recipe(), workspace


@pytest.fixture
def bundle(finished, tmp_path):
    """The bundle of the backbone, without a head."""
    write_bundle(*finished, tmp_path / "bundle")
    return tmp_path / "bundle"


def maps_like(features):
    """A network's outputs with these embeddings, which sees no objects and boxes of 2 x 2 cells."""
    count, _, height, width = features.shape
    return Outputs(
        features, torch.full((count, 1, height, width), -9.0), torch.zeros(count, 4, height, width), torch.zeros(0)
    )


def test_fingerprints_begin_as_the_networks_own_embedding():
    head, features = MatchHead(DIM).eval(), torch.randn(1, DIM, 16, 16)
    with torch.no_grad():
        prints = head.describe(torch.zeros(1, 3, 64, 64), maps_like(features))
    mine = torch.nn.functional.cosine_similarity(prints[:, :DIM], features, dim=1)
    assert float(mine.min()) > 0.999
    torch.testing.assert_close(prints.norm(dim=1), torch.ones(1, 16, 16))


def test_parts_of_an_exemplar_lie_in_and_around_its_box():
    prints = torch.zeros(1, 2, 12, 12)
    prints[:, 0], prints[:, 1, 4:8, 4:8] = 1.0, 50.0
    what = MatchHead(DIM).exemplars(prints, torch.tensor([[[4.0, 4.0, 8.0, 8.0]]]))
    assert what.parts.shape == (1, 1, PARTS, 2)
    assert what.sides.tolist() == [[[4.0, 4.0]]]
    assert (what.parts[0, 0, :10, 1] > 0.9).all()
    assert what.parts[0, 0, 10, 1] < 0.1


def test_cosines_meet_where_the_thing_is():
    maps = torch.zeros(1, 1, 13, 20, 20)
    sides, middle = torch.tensor([[[6.0, 3.0]]]), (10, 8)
    for part in range(9):
        maps[0, 0, part, middle[1] + part // 3 - 1, middle[0] + (part % 3 - 1) * 2] = 1.0
    laid = _laid(maps, sides)[0, 0, :9].mean(dim=0)
    assert laid.argmax() == middle[1] * 20 + middle[0]
    assert float(laid.max()) == pytest.approx(1.0, abs=1e-4)


def test_answers_are_those_of_each_exemplar_alone():
    head, prints = MatchHead(DIM).eval(), torch.nn.functional.normalize(torch.randn(1, DIM + 24, 10, 12), dim=1)
    maps = maps_like(torch.randn(1, DIM, 10, 12))
    parts = torch.nn.functional.normalize(torch.randn(1, 3, PARTS, DIM + 24), dim=3)
    sides = torch.rand(1, 3, 2) * 5 + 1
    with torch.no_grad():
        together = head(prints, maps, Exemplars(parts, sides))
        alone = head(prints, maps, Exemplars(parts[:, 1:2], sides[:, 1:2]))
    torch.testing.assert_close(together.logits[:, 1:2], alone.logits)
    torch.testing.assert_close(together.box_ltrb[:, 1:2], alone.box_ltrb)


def test_losses_reach_every_parameter_and_are_those_of_the_step(workspace):
    recipe = make_recipe()
    data = open_source(recipe.sources[0], workspace, BGR)
    batch = make_pair_batch(recipe, [(data, OtherViews(data))], 5)
    again = make_pair_batch(recipe, [(data, OtherViews(data))], 5)
    assert torch.equal(batch.views, again.views)
    assert batch.heat.shape[0] == recipe.batch * (THINGS + 1)
    assert float(batch.heat.amax()) == 1.0
    head = MatchHead(DIM)
    maps = [maps_like(torch.randn(2, DIM, side // 4, side // 4)) for side in (160, 192)]
    what = head.exemplars(head.describe(batch.chips, maps[0]), batch.chip_boxes)
    what = Exemplars(*(torch.cat([item, item[:, :1].roll(1, 0)], dim=1) for item in what))
    losses = match_losses(head(head.describe(batch.views, maps[1]), maps[1], what), batch)
    assert list(losses) == ["heat", "rank", "box"]
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_killed_run_goes_on_to_the_same_weights(matched, finished, tmp_path, monkeypatch):
    monkeypatch.setattr(match_training, "CHECKPOINT_EVERY_STEPS", 2)
    recipe, whole = matched
    broken = Workspace(whole.data, shutil.copytree(finished[1].runs, tmp_path / "runs"))

    def stop(step, _):
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_match(recipe, broken, stop)
    train_match(recipe, broken)
    first, second = (load_head(recipe, workspace, DIM).state_dict() for workspace in (whole, broken))
    assert all(torch.equal(first[name], second[name]) for name in first)
    with pytest.raises(TrainingError, match="belongs to another recipe"):
        train_match(make_recipe(batch=3), broken)


def test_head_finds_in_the_bundle_of_its_network(matched, bundle):
    manifest = add_match(*matched, bundle)
    assert manifest.extras["match"].file == FILE_NAME
    assert manifest.training["match"]["recipe"]["backbone"] == "tiny"
    assert (bundle / FILE_NAME).stat().st_size < 1_000_000
    teacher = open_teacher(str(bundle), threads=1)
    frame = np.random.default_rng(0).integers(0, 255, (70, 90, 3), dtype=np.uint8)
    chip = Exemplar(frame[:50, :60], np.array([10, 12, 30, 40], np.float32))
    large, gray = teacher.find([chip, chip], [frame, frame[..., 0]])
    for places in (large, gray):
        assert places.boxes_xyxy.shape == (len(places.scores), 4)
        assert (places.boxes_xyxy.max(axis=0, initial=0) <= [90, 70, 90, 70]).all()
    overlap = box_iou(large.boxes_xyxy, large.boxes_xyxy) - np.eye(len(large.scores))
    assert overlap.max(initial=0) <= 0.4


def test_head_of_another_network_is_refused(matched, bundle):
    add_match(*matched, bundle)
    path = bundle / "bundle.json"
    content = json.loads(path.read_text())
    model = bundle / "fp32.onnx"
    changed = onnx.load(str(model))
    changed.doc_string = "another"
    onnx.save(changed, str(model))
    content["variants"]["fp32"]["sha256"] = hashlib.sha256(model.read_bytes()).hexdigest()
    path.write_text(json.dumps(content))
    with pytest.raises(TeacherError, match=r"made for a network of digest .* make it anew with skyloop-distill match"):
        open_teacher(str(bundle), threads=1)
    with pytest.raises(DistillError, match=r"which .* was made for; train the head on it"):
        add_match(*matched, bundle)


def test_bundle_credits_the_data_of_its_head_too(matched, bundle):
    recipe, workspace = matched
    before = read_manifest(bundle).training["attribution"]
    seen = recipe.model_copy(update={"sources": (Source(path="aerial_rgb/aerial_cars", split="all"),)})
    credited = add_match(seen, workspace, bundle).training["attribution"]
    assert {*credited} > {*before}
    assert "aerial-cars-dataset" in (bundle / "MODEL_CARD.md").read_text()


def test_altered_head_is_refused(matched, bundle):
    add_match(*matched, bundle)
    (bundle / FILE_NAME).write_bytes(b"junk")
    with pytest.raises(TeacherError, match=r"match\.onnx: digest .* does not match the manifest"):
        open_teacher(str(bundle), threads=1)


def test_full_disk_leaves_the_old_bundle(matched, bundle, full_disk):
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    with full_disk(2000), pytest.raises(DistillError, match="cannot be written"):
        add_match(*matched, bundle)
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before


def test_command_puts_a_trained_head_into_a_bundle(matched, bundle, tmp_path):
    recipe, workspace = matched
    file = tmp_path / "match.toml"
    file.write_text('name = "tiny-match"\nbackbone = "tiny"\nsteps = 4\nbatch = 2\nsources = [{ path = "hit_uav" }]\n')
    command = ["match", str(file), "--into", str(bundle), "--data", str(workspace.data), "--runs", str(workspace.runs)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert (done.exit_code, "match.onnx, 0." in done.output) == (0, True)
    assert "match" in read_manifest(bundle).extras
    assert recipe.weights(workspace).is_file()
