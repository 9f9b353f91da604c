import json

import numpy as np
import pytest
from moving_target import MovingTarget
from typer.testing import CliRunner

from edge.followed_target import Target
from sim.bench_cli import bench_app
from sim.bench_presence import PresenceBench, Told, bench_presence, judged
from sim.disappearances import AFTER, AWAY, BEFORE, DEPARTURES, VIEW_PX, Disappearance, usable
from sim.display import Display
from sim.errors import OptionError
from sim.tracking_data import read_sequence

BOX = np.array([0, 0, 10, 10], np.float32)


@pytest.fixture
def folder(tmp_path):
    MovingTarget(size=(680, 540), step_px=(1.0, 0.5)).write(tmp_path / "one", 12)
    return tmp_path


@pytest.fixture
def video(folder):
    return read_sequence(folder / "one", "one")


@pytest.mark.parametrize("departure", DEPARTURES)
def test_target_is_there_then_gone_then_there_again(video, departure):
    moments = list(Disappearance(video, departure).moments())
    there = "".join("x" if moment.is_there else " " for moment in moments)
    assert len(there) == BEFORE + AWAY + AFTER
    assert len(there.split()) == 2
    assert there.count(" ") >= AWAY
    assert all(moment.image.shape == (VIEW_PX[1], VIEW_PX[0], 3) for moment in moments)


def test_box_is_where_the_target_is_seen(video):
    first = next(Disappearance(video, "turned_away").moments())
    whole, box = video.image(0), video.truth_xywh[0]
    x, y, width, height = (round(float(v)) for v in box)
    left, top = (round(float(v)) for v in first.box_xyxy[:2])
    np.testing.assert_array_equal(
        first.image[top : top + height, left : left + width], whole[y : y + height, x : x + width]
    )


def test_camera_that_turned_away_does_not_see_the_target(video):
    moment = list(Disappearance(video, "turned_away").moments())[BEFORE + AWAY // 2]
    x1, y1, x2, y2 = moment.box_xyxy
    assert x2 < 0 or y2 < 0 or x1 > VIEW_PX[0] or y1 > VIEW_PX[1]


def test_covered_target_is_not_to_be_seen_and_the_rest_is(video):
    covered, bare = (list(Disappearance(video, way).moments()) for way in ("covered", "turned_away"))
    np.testing.assert_array_equal(covered[2].image, bare[2].image)
    hidden, shown = covered[BEFORE + 2].image, covered[BEFORE - 2].image
    x1, y1, x2, y2 = (round(float(v)) for v in covered[BEFORE + 2].box_xyxy)
    assert hidden[y1:y2, x1:x2].std() < 0.3 * shown[y1:y2, x1:x2].std()
    assert hidden[:y1].std() > 0.9 * shown[:y1].std()


def test_target_that_fills_the_picture_or_leaves_it_by_itself_is_not_used(tmp_path):
    MovingTarget(size=(680, 540), side=(300, 200), step_px=(0, 0)).write(tmp_path / "large", 3)
    MovingTarget(size=(680, 540), step_px=(-20, 0)).write(tmp_path / "leaving", 8)
    MovingTarget(size=(320, 240)).write(tmp_path / "narrow", 3)
    assert not any(usable(read_sequence(path, path.name)) for path in sorted(tmp_path.iterdir()))
    with pytest.raises(OptionError, match="no target stays whole"):
        bench_presence(PresenceBench(tmp_path), Display())


def told(states, there, overlap=0.8):
    """One letter a frame: what was said (`T`racked, `r`e_found, `.` lost), and whether the target is there."""
    names = {"T": "tracked", "r": "re_found", ".": "lost", "t": "tentative"}
    return [
        Told(Target(1, "x", names[s], "", BOX, 0.5), h == "x", overlap if h == "x" else 0.0)
        for s, h in zip(states, there, strict=True)
    ]


@pytest.mark.parametrize(
    ("states", "there", "measures"),
    [
        ("tTTT....rT", "xxxx    xx", (1, 1, 0, 0)),
        ("tTTTTT..rT", "xxxx    xx", (1, 1, 0.2, 0)),
        ("tTTTTTTTTT", "xxxx    xx", (0, 1, 0.4, 0)),
        ("t..T......", "xxxx    xx", (1, 0, 0, 0.5)),
        ("tTTT.rTTTT", "xxxx    xx", (1, 1, 0.3, 0)),
    ],
    ids=["perfect", "late", "never-lost", "lost-too-early", "taken-for-another"],
)
def test_judged_counts_what_is_asked(states, there, measures):
    found = judged(told(states, there))
    assert tuple(found.values()) == pytest.approx(measures)


def test_bench_presence_runs_the_real_tracker_on_both_ways_of_leaving(folder, tiny_bundle):
    command = ["presence", "--data", str(folder), "--bundle", str(tiny_bundle.folder)]
    result = json.loads(CliRunner().invoke(bench_app, [*command, "--json"]).stdout)
    assert result["disappearances"] == 2
    assert set(result) == {"disappearances", "all", *DEPARTURES}
    assert result["turned_away"]["lost"] == 1
