import json

import pytest

from distill.ablation import planned, score, summary, without
from distill.dataset import DataSet
from distill.errors import DistillError
from distill.recipe import Source, open_source
from distill.train import train
from edge.bundle import BGR, load_bundle

WEIGHTS = {"heat": 1.0, "box": 2.0, "prompt": 0.5, "kd_heat": 1.0, "kd_dense": 1.0, "kd_box": 0.0}


@pytest.fixture
def whole(tiny_recipe):
    return tiny_recipe(teacher="big", loss_weights=WEIGHTS, seed=5)


def test_plan_is_the_whole_and_each_of_its_losses_left_out(whole):
    plan = planned(whole, [], 1)
    assert list(plan) == ["full", "heat", "box", "prompt", "kd_heat", "kd_dense"]
    assert plan["full"] == [whole]
    (recipe,) = plan["kd_heat"]
    assert (recipe.name, recipe.seed, recipe.teacher) == ("tiny-without-kd-heat", 5, "big")
    assert recipe.losses == {"heat": 1.0, "box": 2.0, "prompt": 0.5, "kd_dense": 1.0}


def test_runs_without_distillation_have_no_teacher_and_keep_the_prompts(whole):
    plan = planned(whole, ["distillation"], 3)
    assert [r.name for r in plan["full"]] == ["tiny", "tiny-seed-6", "tiny-seed-7"]
    names = ["tiny-without-distillation", "tiny-without-distillation-seed-6", "tiny-without-distillation-seed-7"]
    assert [r.name for r in plan["distillation"]] == names
    assert [r.seed for r in plan["distillation"]] == [5, 6, 7]
    assert all(r.teacher is None and list(r.losses) == ["heat", "box", "prompt"] for r in plan["distillation"])


def test_variants_differ_in_nothing_else(whole):
    changed = {"name", "loss_weights", "teacher"}
    left = [recipe.model_dump(exclude=changed) for recipe in (whole, without(whole, "distillation"))]
    assert left[0] == left[1]


@pytest.mark.parametrize(
    ("weights", "left_out", "words"),
    [
        pytest.param(WEIGHTS, "kd_box", "has no loss 'kd_box' to leave out; it has heat, box", id="switched-off"),
        pytest.param({"heat": 1.0}, "distillation", "has no loss 'distillation'", id="nothing-distilled"),
        pytest.param({"heat": 1.0}, "heat", "every loss is switched off", id="nothing-left"),
    ],
)
def test_loss_that_cannot_be_left_out_is_one_clear_line(tiny_recipe, weights, left_out, words):
    recipe = tiny_recipe(teacher="big", loss_weights=weights)
    with pytest.raises(DistillError, match=words):
        planned(recipe, [left_out], 1)


def test_summary_spreads_over_the_seeds(whole):
    scores = {"full": [{"map50": 0.5, "ap50_small": None}, {"map50": 0.7, "ap50_small": None}]}
    result = summary(whole, DataSet("dev", ()), 2, scores)
    assert result["seeds"] == [5, 6]
    assert result["ablation"]["full"]["map50"] == pytest.approx({"mean": 0.6, "min": 0.5, "max": 0.7})
    assert result["ablation"]["full"]["ap50_small"] is None


def test_damaged_scores_are_one_clear_line(run_copy):
    recipe, workspace = run_copy
    data = open_source(Source(path="hit_uav", split="val"), workspace, BGR)
    (workspace.folder("tiny") / "scores.json").write_text("{")
    with pytest.raises(DistillError, match=r"no readable scores .* delete it"):
        score(recipe, workspace, data, ("Person",))


RECIPE = """
name = "a"
labels = ["Person", "Car"]
steps = 2
batch = 2
crop_px = 64
network = {{ widths = [8, 8, 8, 8, 0], blocks = [0, 0, 0, 0], neck = 8, embedding_dim = 8 }}
sources = [{{ path = "hit_uav" }}]
teacher = "tiny"
loss_weights = {{ heat = 1.0, kd_dense = 1.0 }}
held_out = [{{ path = "hit_uav", split = "dev" }}]
"""


def test_ablate_trains_scores_and_writes_a_table_for_the_card(run_cli, run_copy, tiny_bundle, tmp_path):
    _, workspace = run_copy
    (tmp_path / "a.toml").write_text(RECIPE.format())
    places = "--data", workspace.data, "--runs", workspace.runs
    code, out, _ = run_cli("ablate", tmp_path / "a.toml", *places, "--labels", "Person,Car", "--split", "val", "--json")
    assert code == 0
    result = json.loads(out)
    assert result["data"] == "hit_uav/val"
    assert list(result["ablation"]) == ["full", "heat", "kd_dense"]
    assert all(0 <= row["map50"]["mean"] <= 1 for row in result["ablation"].values())
    kept = workspace.folder("a") / "ablation.json"
    assert json.loads(kept.read_text()) == result

    code, out, err = run_cli("ablate", tmp_path / "a.toml", *places, "--without", "kd_dense")
    assert code == 0
    assert "a-without-kd-dense: already trained, kept" in err
    assert len(json.loads((workspace.folder("a") / "scores.json").read_text())) == 2  # of val and of dev
    assert "left out" in out

    run_cli("bundle", tmp_path / "a.toml", *places, "--out", tmp_path / "bundle")
    run_cli("card", tmp_path / "bundle", "--command", "skyloop-distill ablate a.toml", "--numbers", kept)
    card = (tmp_path / "bundle" / "MODEL_CARD.md").read_text()
    assert "| left out | map50 | ap50_small |" in card
    assert "| kd_dense | " in card
    assert "| steps | 2 |" in card
    assert load_bundle(tmp_path / "bundle")


def test_scores_that_are_kept_are_not_measured_again(run_copy):
    recipe, workspace = run_copy
    data = open_source(Source(path="hit_uav", split="val"), workspace, BGR)
    first = score(recipe, workspace, data, ("Person",))
    (workspace.folder("tiny") / "fp32.onnx").unlink()
    assert score(recipe, workspace, data, ("Person",)) == first
    train(recipe, workspace)
    assert not (workspace.folder("tiny") / "scores.json").exists()
