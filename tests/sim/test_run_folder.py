import pytest

from sim.errors import OutputError
from sim.run_folder import RunFolder, make_ready


def test_a_single_craft_lies_in_the_folder_itself(tmp_path):
    folder = RunFolder.of(tmp_path, ["a"])
    assert folder.craft[0].edge == tmp_path / "edge"
    assert folder.log("edge") == tmp_path / "logs" / "edge.log"


def test_several_craft_have_a_folder_each(tmp_path):
    folder = RunFolder.of(tmp_path, ["a", "b"])
    assert [craft.keys for craft in folder.craft] == [tmp_path / "craft" / name / "keys" for name in "ab"]


def test_an_earlier_run_is_replaced_and_other_files_stay(tmp_path):
    make_ready(tmp_path, "run", "skyloop-sim run")
    (tmp_path / "craft" / "a" / "edge").mkdir(parents=True)
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("mine")
    make_ready(tmp_path, "run", "skyloop-sim run")
    assert {path.name for path in tmp_path.iterdir()} == {".skyloop-run", "notes.txt"}


def test_a_demos_folder_is_not_a_runs(tmp_path):
    make_ready(tmp_path, "demo", "skyloop-sim demo")
    with pytest.raises(OutputError, match="not a run's"):
        make_ready(tmp_path, "run", "skyloop-sim run")
