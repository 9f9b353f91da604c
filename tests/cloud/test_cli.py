"""The command line: what people type, and the one line they get when it is wrong."""

import json

import cv2
import pytest
from typer.testing import CliRunner

from cloud import cli
from cloud.store import CaseStore
from protocols.errors import SkyloopError

KEY = "k" * 40


@pytest.fixture
def run():
    def invoke(*arguments):
        result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    return invoke


@pytest.fixture
def data(open_store, painting):
    picture = painting.paint((50, 50, painting.GREEN))
    for state in ("unsure", "interpreted"):
        case, payload = painting.make_case(picture, origin=(100, 40))
        open_store.add_cases([("uav", case, payload)])
        open_store.set_case_state("uav", case.case_id, state, "low score", 0.3)
    return open_store.data_dir


def test_keys_enroll_and_revoke(run, tmp_path):
    run("keys", "new", "--out", tmp_path / "keys")
    run("enroll", tmp_path / "keys" / "cloud.pub", "--name", "uav", "--data", tmp_path / "data")
    run("enroll", KEY, "--name", "sat", "--data", tmp_path / "data")
    run("revoke", "sat", "--data", tmp_path / "data")
    store = CaseStore(tmp_path / "data")
    assert [(craft.name, craft.is_revoked) for craft in store.crafts()] == [("sat", True), ("uav", False)]
    store.close()


def test_cases_lists_the_unsure_and_writes_pictures(run, data, tmp_path):
    (listed,) = json.loads(run("cases", "--data", data, "--json", "--images", tmp_path / "out"))
    assert (listed["craft"], listed["state"], listed["reason"]) == ("uav", "unsure", "low score")
    assert listed["region_xyxy"] == [100, 40, 260, 200]
    assert cv2.imread(str(tmp_path / "out" / f"{listed['case_id']}.jpg")).shape[0] > 800
    assert len(json.loads(run("cases", "--data", data, "--json", "--all"))) == 2


def test_cases_as_a_table(run, data):
    listed = json.loads(run("cases", "--data", data, "--json"))
    heading, row = run("cases", "--data", data).splitlines()
    for cell in (listed[0]["case_id"][:12], "uav", "unsure", "0.30", "100,40,160,160", "low score"):
        assert cell in row
    assert "region x,y,w,h" in heading


def test_second_review_of_a_case_says_what_it_replaces(run, data, open_store):
    (case,) = open_store.list_cases()
    answer = ("review", case.case.case_id, "--label", "debris", "--box", "142,82,16,16", "--data", data)
    assert "replaces" not in run(*answer)
    open_store.set_case_state("uav", case.case.case_id, "reviewed")
    assert "replaces the earlier answer" in run(*answer)


def test_nothing_better_is_asked_of_a_craft_whose_key_is_revoked(run, data, open_store):
    (case,) = open_store.list_cases()
    open_store.revoke("uav")
    with pytest.raises(SkyloopError, match="uav: its key is revoked"):
        run("refine", case.case.case_id, "--data", data)


def test_review_is_kept_for_the_server(run, data, open_store):
    (case,) = open_store.list_cases()
    output = run(
        "review",
        case.case.case_id[:8],
        "--label",
        "debris",
        "--box",
        "142,82,16,16",
        "--data",
        data,
        "--reviewer",
        "ann",
    )
    assert "when it runs" in output
    (review,) = open_store.waiting_reviews()
    assert review.boxes_xyxy == ((142, 82, 158, 98),)
    assert (review.label, review.scope, review.reviewer) == ("debris", "craft", "ann")


@pytest.mark.parametrize(
    ("label", "box", "scope", "message"),
    [
        ("debris", "1,2,3", "craft", "not x,y,w,h"),
        ("debris", "142,82,0,5", "craft", "no area"),
        ("debris", "0,0,50,30", "craft", "outside the picture, which shows 100,40,160,160"),
        pytest.param("debris", "142,82,158,98", "craft", "x,y,w,h", id="corners-for-width-and-height"),
        ("", "142,82,16,16", "craft", "label"),
        ("debris", "142,82,16,16", "world", "not one of craft, mission, fleet"),
    ],
)
def test_review_refuses(run, data, open_store, label, box, scope, message):
    (case,) = open_store.list_cases()
    with pytest.raises(SkyloopError, match=message):
        run("review", case.case.case_id, "--label", label, "--box", box, "--scope", scope, "--data", data)


def test_prompts_list_and_revoke(run, data, open_store, desk, twin, painting):
    from cloud.case_images import CaseImage
    from cloud.evidence import look
    from cloud.prompting import Finding

    evidence = look(twin, CaseImage(painting.paint((50, 50, painting.GREEN))), None)
    boxes = painting.box_at((50, 50))
    desk.answer(twin, "uav", evidence, Finding("debris", boxes, boxes[:0], "teacher", 0.9, "craft", "0" * 32))
    (listed,) = json.loads(run("prompts", "list", "--data", data, "--json"))
    assert (listed["label"], listed["craft"]) == ("debris", "uav")
    (row,) = run("prompts", "list", "--data", data, "--craft", "uav").splitlines()[1:]
    assert row.startswith(listed["prompt_id"])
    assert "debris" in row
    assert "uav" in run("prompts", "revoke", listed["prompt_id"], "--data", data)
    assert json.loads(run("prompts", "list", "--data", data, "--json")) == []


def test_commands_need_a_store(run, tmp_path):
    with pytest.raises(SkyloopError, match="no case store"):
        run("cases", "--data", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_errors_are_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("sys.argv", ["skyloop-cloud", "revoke", "uav", "--data", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("error:")
    assert error.count("\n") == 1


def test_brackets_in_an_error_are_shown(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("sys.argv", ["skyloop-cloud", "revoke", "uav", "--data", str(tmp_path / "[red]mine")])
    with pytest.raises(SystemExit):
        cli.main()
    assert "[red]mine" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["serve", "enroll", "revoke", "cases", "review"])
def test_help_teaches_with_an_example(run, command):
    assert f"skyloop-cloud {command}" in run(command, "--help").replace("\n", " ")
