import itertools
import math

import pytest

from sim.errors import ScenarioError
from sim.link_schedule import Stretch, always, in_spans, read_trace, write_trace
from sim.scenario.conditions import LinkProfile

PROFILE = LinkProfile(edge_to_cloud_bps=1e6, latency_ms=30)
HEADER = "from_s,to_s,state,edge_to_cloud_bps,loss\n"


def trace(tmp_path, rows, header=HEADER):
    path = tmp_path / "trace.csv"
    path.write_text(header + rows)
    return read_trace(path, PROFILE)


def test_spans_are_up_and_all_else_is_cut():
    stretches = in_spans(PROFILE, [(1.0, 2.0), (3.0, math.inf)])
    assert [(s.from_s, s.state) for s in stretches] == [(0, "cut"), (1, "up"), (2, "cut"), (3, "up")]


def test_spans_from_the_beginning_are_up_at_once():
    assert [(s.from_s, s.state) for s in in_spans(PROFILE, [(0.0, 5.0)])] == [(0, "up"), (5, "cut")]
    assert always(PROFILE) == in_spans(PROFILE, [(0.0, math.inf)])


def test_a_trace_says_what_it_says_and_leaves_the_rest(tmp_path):
    found = trace(tmp_path, "# a pass\n0,10,cut,,\n\n10,12.5,up,256000,0.01\n")
    assert found.period_s == 12.5
    assert found.stretches[1].profile == PROFILE.model_copy(update={"edge_to_cloud_bps": 256_000, "loss": 0.01})
    assert found.stretches[0] == Stretch(0.0, "cut", PROFILE)


def test_a_trace_begins_again_after_its_end(tmp_path):
    found = trace(tmp_path, "0,10,up,,\n10,12,outage,,\n")
    starts = [(s.from_s, s.state) for s in itertools.islice(found.schedule(), 4)]
    assert starts == [(0, "up"), (10, "outage"), (12, "up"), (22, "outage")]


def test_a_trace_without_end_is_played_once(tmp_path):
    assert len(list(trace(tmp_path, "0,10,cut,,\n10,inf,up,,\n").schedule())) == 2


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("1,2,up,,\n", r"line 2: a gap: from_s is 1, and the line before ends at 0"),
        ("0,2,up,,\n3,4,up,,\n", r"line 3: a gap: from_s is 3, and the line before ends at 2"),
        ("0,2,up,,\n1,4,up,,\n", r"line 3: an overlap"),
        ("0,-2,up,,\n", r"line 2: to_s = -2 is negative"),
        ("0,2,up,-5,\n", r"line 2: edge_to_cloud_bps = -5 is negative"),
        ("0,2,up,,nan\n", r"line 2: loss = nan is negative or no number"),
        ("0,2,up,,0.9\n", r"line 2: loss: .*0\.5; got 0\.9"),
        ("0,2,up,fast,\n", r"line 2: edge_to_cloud_bps = 'fast' is no number"),
        ("0,2,broken,,\n", r"line 2: state = 'broken' is none of up, cut"),
        ("0,0,up,,\n", r"line 2: to_s = 0 is not after"),
        ("0,inf,up,,\n5,6,up,,\n", r"line 3: an overlap"),
        ("0,2,up,,0.1,7\n", r"line 2: 6 cells, and the header names 5 columns; remove '7'"),
        ("0,2,up,,\n2,4,up,,,\n", r"line 3: 6 cells, and the header names 5 columns"),
        ("", r"1 lines; give a header"),
    ],
)
def test_a_trace_that_cannot_be_meant_is_refused_in_one_line(tmp_path, rows, says):
    with pytest.raises(ScenarioError, match=says) as refused:
        trace(tmp_path, rows)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("header", ["from_s,to_s\n", "from_s,to_s,state,speed\n", "from_s,to_s,state,loss,loss\n"])
def test_a_trace_with_strange_columns_is_refused(tmp_path, header):
    with pytest.raises(ScenarioError, match="column"):
        trace(tmp_path, "0,1,up,,\n", header)


def test_a_trace_that_is_not_there_or_no_text_is_refused(tmp_path):
    (tmp_path / "image.csv").write_bytes(b"\xff\xd8\xff\xe0")
    for path in (tmp_path / "nowhere.csv", tmp_path / "image.csv"):
        with pytest.raises(ScenarioError, match="cannot be read"):
            read_trace(path, PROFILE)


def test_what_is_written_is_read(tmp_path):
    path, stretches = tmp_path / "t.csv", in_spans(PROFILE, [(1.25, 7.5)])
    write_trace(path, stretches, end_s=100.0)
    found = read_trace(path, LinkProfile())
    assert list(found.stretches) == stretches
    assert found.period_s == 100.0
