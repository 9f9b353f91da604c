"""Teachers of other packages: the one that docs/teachers.md shows, installed by pip, and some that do not work."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cloud.errors import TeacherError
from cloud.teachers import Exemplar, open_teacher
from edge.keys import CLOUD_NAME, new_keys

PAGE = Path(__file__).parents[2] / "docs" / "teachers.md"
TEACHER = """
class Teacher:
    name, space, labels = "mine", "my-space", ("Car",)
    def interpret(self, frames): return []
    def dense_features(self, frames): return None
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder into which the documentation's package is installed."""
    package, site = tmp_path_factory.mktemp("acme-hotspots"), tmp_path_factory.mktemp("site")
    for name, language in (("pyproject.toml", "toml"), ("acme_hotspots.py", "python")):
        block = re.search(rf"/{name}`:\n\n```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
        (package / name).write_text(block[1])
    how = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *how, "--target", str(site), str(package)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return site


@pytest.fixture
def installed(site, monkeypatch):
    monkeypatch.syspath_prepend(site)
    yield
    sys.modules.pop("acme_hotspots", None)


@pytest.fixture
def offer(tmp_path, monkeypatch):
    """Install a package by hand: `NAME = module:opener` and the module's text."""
    modules = []

    def install(code, name="mine", package="acme-mine", opener="open_mine"):
        folder, module = tmp_path / package, package.replace("-", "_")
        info = folder / f"{module}-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[skyloop.teachers]\n{name} = {module}:{opener}\n")
        (folder / f"{module}.py").write_text(code)
        monkeypatch.syspath_prepend(folder)
        modules.append(module)

    yield install
    for module in modules:
        sys.modules.pop(module, None)


@pytest.mark.usefixtures("installed")
def test_package_of_the_documentation_finds_what_is_hot():
    teacher = open_teacher("hotspots:200")
    image = np.zeros((48, 64, 3), np.uint8)
    image[8:16, 20:40] = 255
    warm, cold = teacher.interpret([image, image[:, :16, 0]])
    assert (warm.boxes_xyxy.tolist(), warm.labels, warm.scores.tolist()) == ([[20, 8, 40, 16]], ("Hotspot",), [1])
    assert (cold.boxes_xyxy.shape, cold.labels) == ((0, 4), ())
    assert teacher.dense_features([image, image]).shape == (2, 1, 3, 4)
    assert (teacher.name, teacher.labels) == ("hotspots/200", ("Hotspot",))


@pytest.mark.usefixtures("installed")
def test_plug_in_without_find_finds_by_its_features():
    dark = np.zeros((96, 96, 3), np.uint8)
    dark[32:64, 32:64] = 255
    frame = np.zeros((96, 160, 3), np.uint8)
    frame[48:80, 112:144] = 255
    (places,) = open_teacher("hotspots:200").find([Exemplar(dark, np.array([32, 32, 64, 64], np.float32))], [frame])
    assert places.scores[0] > 0.5
    middle = (places.boxes_xyxy[0, :2] + places.boxes_xyxy[0, 2:]) / 2
    assert np.abs(middle - [128, 64]).max() <= 8  # half a cell


def test_find_of_a_plug_in_is_its_own(offer):
    find = "    def find(self, chips, frames): return ['mine']"
    offer(f"{TEACHER}{find}\ndef open_mine(told, *, threads): return Teacher()")
    assert open_teacher("mine").find([], []) == ["mine"]


@pytest.mark.usefixtures("installed")
def test_plug_in_that_refuses_what_it_is_told_is_named():
    with pytest.raises(TeacherError, match=r"^teacher 'hotspots' of acme-hotspots 0\.1\.0: '' after the colon"):
        open_teacher("hotspots")


@pytest.mark.usefixtures("installed")
def test_unknown_name_lists_those_there_are(tmp_path, monkeypatch):
    with pytest.raises(TeacherError, match=r"'hotspot': no such name, .* choose 'bundled', 'hotspots', the folder"):
        open_teacher("hotspot")
    (tmp_path / "hotspots").mkdir()
    monkeypatch.chdir(tmp_path)
    assert open_teacher("hotspots:9").name == "hotspots/9"
    with pytest.raises(TeacherError, match=r"bundle\.json"):
        open_teacher("./hotspots")


def test_server_says_in_one_line_which_names_there_are(site, tmp_path):
    new_keys(tmp_path / "data" / "keys", CLOUD_NAME)
    code = f"import sys; sys.path.insert(0, {str(site)!r}); from cloud.cli import main; main()"
    command = [sys.executable, "-c", code, "serve", "--data", str(tmp_path / "data"), "--teacher", "clip"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: teacher 'clip': no such name, folder or file; choose 'bundled', 'hotspots', ")


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        pytest.param("import no_such_library", "No module named 'no_such_library'", id="library-missing"),
        pytest.param("raise RuntimeError('no\\n  licence')", r"RuntimeError: no licence", id="module-raises"),
        pytest.param("", "has no attribute 'open_mine'", id="opener-missing"),
    ],
)
def test_plug_in_that_does_not_import_is_named_with_cause_and_cure(offer, code, problem):
    offer(code)
    with pytest.raises(TeacherError, match=problem) as caught:
        open_teacher("mine")
    assert str(caught.value).startswith("teacher 'mine' of acme-mine 1.2: acme_mine:open_mine fails to import (")
    assert str(caught.value).endswith("install what it lacks, or mend it: python -c 'import acme_mine' shows where")


def test_plug_in_that_fails_when_opened_is_named(offer):
    offer("def open_mine(told, *, threads): return open(told)")
    with pytest.raises(TeacherError, match=r"fails when it is told '/gone' \(FileNotFoundError.* the colon in mine:"):
        open_teacher("mine:/gone")


@pytest.mark.parametrize(
    ("returned", "problem"),
    [
        pytest.param("None", "a NoneType without interpret and dense_features is no teacher; docs", id="nothing"),
        pytest.param("teacher(interpret=None)", "a Teacher without interpret is", id="no-method"),
        pytest.param("teacher(labels=())", r"Teacher\.labels: .* at least 1 item", id="no-labels"),
        pytest.param("teacher(labels=['Car'])", r"Teacher\.labels: .* valid tuple", id="list-of-labels"),
        pytest.param("teacher(labels=('x' * 65,))", r"Teacher\.labels\.0: .* at most 64", id="long-label"),
        pytest.param("teacher(space=7)", r"Teacher\.space: .* valid string", id="space-is-a-number"),
    ],
)
def test_what_is_no_teacher_is_refused_when_opened(offer, returned, problem):
    offer(
        f"{TEACHER}\ndef teacher(**facts):\n    made = Teacher()\n    vars(made).update(facts)\n    return made\n"
        f"def open_mine(told, *, threads): return {returned}\n"
    )
    with pytest.raises(TeacherError, match=f"^teacher 'mine' of acme-mine 1.2: .*{problem}"):
        open_teacher("mine")


def test_plug_in_is_told_what_follows_the_first_colon_and_the_threads(offer):
    opener = "def open_mine(told, *, threads):\n    made = Teacher()\n    made.told = told, threads\n    return made"
    offer(f"{TEACHER}\n{opener}")
    assert open_teacher("mine:tcp://far:80", threads=3).told == ("tcp://far:80", 3)
    assert open_teacher("mine").told == ("", 0)


def test_name_that_two_packages_offer_is_refused(offer):
    offer(TEACHER, package="acme-one")
    offer(TEACHER, package="acme-two")
    with pytest.raises(TeacherError, match=r"is offered by acme-one 1\.2 and acme-two 1\.2; uninstall all but one"):
        open_teacher("mine")


def test_bundled_stays_the_bundled_one(offer):
    offer("raise RuntimeError", name="bundled")
    assert open_teacher("bundled", threads=1).name.startswith("teacher")
