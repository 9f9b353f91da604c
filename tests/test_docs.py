"""What the documentation promises, tried."""

import re
from pathlib import Path

import pytest

from edge.cli import RunConfig
from edge.config import read_toml

ROOT = Path(__file__).parents[1]


def blocks(path: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / path).read_text(), re.DOTALL)


def test_configuration_page_edge_file_is_accepted(tmp_path):
    file = tmp_path / "edge.toml"
    file.write_text(blocks("docs/configuration.md", "toml")[0])
    config = read_toml(file, RunConfig)
    assert config.link is not None


@pytest.mark.parametrize(
    "page", sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob("**/*.md") if ".ci-venv" not in p.parts)
)
def test_relative_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / page).read_text()):
        assert ((ROOT / page).parent / target).exists(), target
