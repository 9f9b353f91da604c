"""The house rules that no single package can check: the import chain, the exports, what the wheel holds."""

import ast
import importlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHAIN = ["protocols", "edge", "cloud", "distill", "sim"]


def imported_packages(path: Path) -> set[str]:
    """Top-level names that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", CHAIN)
def test_package_imports_only_from_its_left(package):
    forbidden = set(CHAIN[CHAIN.index(package) + 1 :])
    offenders = {p.name: imported_packages(p) & forbidden for p in (ROOT / package).rglob("*.py")}
    assert not {name: found for name, found in offenders.items() if found}


@pytest.mark.parametrize("package", CHAIN)
def test_exports_are_what_all_says(package):
    module = importlib.import_module(package)
    assert sorted(module.__all__) == sorted(set(module.__all__))
    for name in module.__all__:
        assert hasattr(module, name)


@pytest.mark.parametrize("package", ["edge.cli", "cloud.cli", "sim.cli", "distill.cli"])
def test_command_line_starts_without_torch(package):
    code = f"import sys, {package}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 0


def test_wheel_holds_five_packages_and_the_bundled_models(tmp_path):
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == set(CHAIN)
    assert not [name for name in names if "test" in Path(name).name.lower().split("_")[0]]
    assert {"sim/missions/constellation.toml", "cloud/migrations/env.py"} <= set(names)
    assert any(name.startswith("cloud/migrations/versions/") for name in names)
    static = {"htmx.min.js", "htmx.LICENSE.txt", "console.css", "editor.js"}
    assert {f"cloud/review/static/{name}" for name in static} | {"cloud/review/templates/base.html"} <= set(names)
    assert {"cloud/api/static/swagger-ui-bundle.js", "cloud/api/static/swagger-ui.LICENSE"} <= set(names)
    assert {"sim/scenarios/disaster.toml", "sim/scenarios/template.toml", "sim/templates/live.html"} <= set(names)
    for bundle in ("edge/bundles/student", "cloud/bundles/teacher"):
        assert f"{bundle}/bundle.json" in names
        assert any(name.startswith(bundle) and name.endswith(".onnx") for name in names)
