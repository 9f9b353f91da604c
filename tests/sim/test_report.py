import json
from dataclasses import replace

import numpy as np
import pytest

from cloud.teachers import TeacherAnswer
from edge.student import Student
from sim.errors import OutputError
from sim.evaluation import evaluate_flight
from sim.figures import bytes_figure, loop_figure, recall_figure, stills
from sim.report import build_report, loop_problem, render_html, requirements, versions_of, write_report

KEYS = {
    "frames", "fps", "cases_sent", "bytes", "prompts_applied", "loop_ms", "unfamiliar", "known", "wall_s", "versions",
    "seed",
}  # fmt: skip
UNFAMILIAR_KEYS = {
    "label", "instances_before", "instances_after", "recall_before", "recall_after", "false_alarms_per_frame",
    "ap50_edge_only", "ap50_with_prompts", "ap50_cloud",
}  # fmt: skip


class TruthfulTeacher:
    """Finds the debris of the made-up flight, always at the same place."""

    name, space, labels = "truthful", "none", ("Debris",)

    def interpret(self, frames):
        answer = TeacherAnswer(np.array([[20, 20, 50, 50]], np.float32), ("Debris",), np.array([0.9], np.float32))
        return [answer for _ in frames]

    def dense_features(self, frames):
        raise NotImplementedError


@pytest.fixture(scope="module")
def evaluation(record, tiny_bundle):
    return evaluate_flight(record, "Debris", Student.open(tiny_bundle), TruthfulTeacher())


@pytest.fixture(scope="module")
def report(record, evaluation):
    return build_report(
        record, evaluation, cases_sent=1, seed=7, wall_s=61.23, versions=versions_of(record.summary, "truthful")
    )


def test_report_has_exactly_the_agreed_keys(report):
    assert set(report) == KEYS
    assert set(report["unfamiliar"]) == UNFAMILIAR_KEYS
    assert set(report["known"]) == {"ap50_edge_only", "ap50_with_prompts"}
    assert set(report["bytes"]) == {"edge_to_cloud", "cloud_to_edge"}
    assert set(report["loop_ms"]) == {"p50", "p99"}


def test_values_come_from_the_edges_summary(report):
    assert (report["frames"], report["cases_sent"], report["prompts_applied"]) == (60, 1, 1)
    assert report["bytes"] == {"edge_to_cloud": 41_000, "cloud_to_edge": 9_000}
    assert report["wall_s"] == 61.2


def test_the_student_alone_is_computed_and_finds_nothing_unfamiliar(report):
    assert report["unfamiliar"]["ap50_edge_only"] == 0.0
    assert report["unfamiliar"]["ap50_cloud"] == pytest.approx(1.0)
    assert 0.5 < report["unfamiliar"]["ap50_with_prompts"] < 1.0


def test_precision_is_sampled_from_frames_after_the_prompt(evaluation):
    assert evaluation.sample_frames == 45
    assert evaluation.teacher_frames == 40


def with_unfamiliar(report, **values):
    return {**report, "unfamiliar": {**report["unfamiliar"], **values}}


def test_a_closed_loop_is_no_problem(report):
    assert loop_problem(report) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"recall_after": 0.4}, "after the first prompt is 0.40", id="recall after"),
        pytest.param({"recall_after": None}, "no prompt for Debris", id="never in force"),
        pytest.param({"recall_before": 0.2}, "before the first prompt is 0.20", id="recall before"),
    ],
)
def test_an_open_loop_is_told_in_one_line(report, changes, words):
    problem = loop_problem(with_unfamiliar(report, **changes))
    assert words in problem
    assert "\n" not in problem


def test_no_prompt_applied_is_an_open_loop(report):
    assert "no prompt reached the craft" in loop_problem({**report, "prompts_applied": 0})


def test_requirements_fail_where_a_value_is_missing_or_beyond_its_limit(report):
    changed = with_unfamiliar(report, recall_after=None, false_alarms_per_frame=0.21, ap50_with_prompts=0.39)
    failed = [item.name for item in requirements(changed) if not item.is_met]
    assert "Recall of Debris after the first prompt" in failed
    assert "False alarms per frame" in failed
    assert "AP50 of Debris with prompts" in failed
    assert "Loop time, median (ms)" not in failed


def test_page_is_self_contained_and_tells_the_numbers(record, evaluation, report):
    tallies = list(evaluation.tallies)
    figures = [recall_figure(record, tallies, "Debris"), bytes_figure(record, "Debris"), loop_figure(record)]
    frames = stills(record, tallies, "Debris")
    page = render_html(report, evaluation, figures, frames, "skyloop-sim demo --seed 7")
    assert [picture.name for picture in frames] == ["before.jpg", "case.jpg", "after.jpg", "late.jpg"]
    assert page.count("data:image/png;base64,") == 3
    assert page.count("data:image/jpeg;base64,") == 4
    assert "http://" not in page
    assert "https://" not in page
    assert "0.00 → 0.76" in page


def test_page_of_an_open_loop_says_so(record, evaluation, report):
    page = render_html({**report, "prompts_applied": 0}, evaluation, [], [], "skyloop-sim demo")
    assert "the loop did not close" in page


def test_figures_and_frames_do_without_a_prompt(record, evaluation):
    silent = replace(record, banks=[], traffic=[])
    tallies = [replace(t, is_after=False, recalled=0) for t in evaluation.tallies]
    assert recall_figure(silent, tallies, "Debris").content
    assert bytes_figure(silent, "Debris").content
    assert loop_figure(silent).content
    assert {"before.jpg", "case.jpg"} <= {picture.name for picture in stills(silent, tallies, "Debris")}


def test_report_is_written_with_its_figures(tmp_path, record, evaluation, report):
    picture = loop_figure(record)
    write_report(tmp_path, report, "<html></html>", [picture])
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert (tmp_path / "figures" / "loop.png").read_bytes() == picture.content


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path, report):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_report(tmp_path / "file", report, "", [])
