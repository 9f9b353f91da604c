"""What the documentation promises, tried."""

import re
from pathlib import Path

import pytest
from fastapi import FastAPI

from cloud.api import add_api
from cloud.config import CloudSettings
from cloud.retention_settings import RetentionSettings
from cloud.teachers.huggingface import FoundationSettings
from cloud.teachers.onnx_detector import DetectorSettings
from distill.fine_tune import FineTuning
from distill.recipe import Recipe, Source
from edge.cli import RunConfig
from edge.config import read_toml
from sim.scenario.loader import parse_scenario

ROOT = Path(__file__).parents[1]


def blocks(path: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / path).read_text(), re.DOTALL)


def test_configuration_page_edge_file_is_accepted(tmp_path):
    file = tmp_path / "edge.toml"
    file.write_text(blocks("docs/configuration.md", "toml")[0])
    config = read_toml(file, RunConfig)
    assert config.link is not None


def test_data_folder_page_names_every_key_of_retention_with_its_default(tmp_path):
    file = tmp_path / "cloud.toml"
    file.write_text(blocks("docs/data-folder.md", "toml")[0])
    retention = read_toml(file, CloudSettings).retention
    assert retention.model_fields_set == set(RetentionSettings.model_fields)
    assert retention == RetentionSettings()


def test_api_page_names_every_call():
    app = FastAPI()
    app.state.backend = app.state.doorman = None
    page = (ROOT / "docs/api.md").read_text()
    told = set(re.findall(r"/[a-z_{}/]+", re.sub(r"\{(name|id)\}", "{}", page)))
    for path in add_api(app).openapi()["paths"]:
        plain = re.sub(r"\{(craft|review_id|prompt_id|rollout_id)\}", "{}", path)
        assert plain in told, path


@pytest.mark.parametrize(("number", "model"), [(0, DetectorSettings), (1, FoundationSettings)])
def test_teachers_page_files_name_every_key(tmp_path, number, model):
    file = tmp_path / "teacher.toml"
    file.write_text(blocks("docs/teachers.md", "toml")[number])
    assert read_toml(file, model).model_fields_set == set(model.model_fields)


def test_scenario_page_file_is_accepted():
    scenario = parse_scenario(blocks("docs/scenarios.md", "toml")[0], "docs/scenarios.md")
    assert scenario.fault


@pytest.mark.parametrize(
    "page", [page for page in sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("**/*.md")) if page[0] != "."]
)
def test_relative_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / page).read_text()):
        assert ((ROOT / page).parent / target).exists(), target


def test_data_page_source_names_every_key():
    names = re.findall(r"^(\w+) =", blocks("docs/data.md", "toml")[0], re.MULTILINE)
    assert {*names, "root"} == set(Source.model_fields)


def test_data_page_recipe_parts_are_accepted(tmp_path):
    file = tmp_path / "recipe.toml"
    file.write_text('name = "page"\nlabels = ["Car"]\n' + "".join(blocks("docs/data.md", "toml")))
    recipe = read_toml(file, Recipe)
    assert (len(recipe.network.bands), len(recipe.sources)) == (6, 2)


def test_learning_page_file_is_accepted(tmp_path):
    file = tmp_path / "lessons.toml"
    file.write_text(blocks("docs/learning.md", "toml")[0])
    settings = read_toml(file, FineTuning)
    assert (settings.labels, len(settings.replay), len(settings.held_out)) == (("Bicycle",), 2, 2)
