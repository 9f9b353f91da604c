import io
import json
import sys

import numpy as np
import pytest
from moving_target import MovingTarget, request

from sim.display import Display
from sim.errors import OutputError, ProcessError
from sim.peers import PEER_PACKAGES, TrackerProcess, peers_python, python_of, set_up_peers
from sim.tracking_worker import Reinitialised, ours, peer, serve


def as_if_ready(folder, packages=PEER_PACKAGES):
    python_of(folder).parent.mkdir(parents=True)
    python_of(folder).symlink_to(sys.executable)
    (folder / "skyloop-peers.txt").write_text("\n".join(packages))


def test_set_up_peers_does_nothing_where_all_is_there(tmp_path, monkeypatch):
    as_if_ready(tmp_path)
    monkeypatch.setattr("venv.create", lambda *a, **k: pytest.fail("made again"))
    assert not set_up_peers(tmp_path, Display())


@pytest.fixture
def no_venv(monkeypatch):
    """`venv.create` makes a folder whose Python fails as pip does without a network."""

    def create(folder, **how):
        python_of(folder).parent.mkdir(parents=True, exist_ok=True)
        (folder / "pyvenv.cfg").write_text("")
        script = "#!/bin/sh\necho 'WARNING: retrying' >&2\necho 'ERROR: No matching distribution' >&2\nexit 1\n"
        python_of(folder).write_text(script)
        python_of(folder).chmod(0o755)

    monkeypatch.setattr("venv.create", create)


@pytest.mark.usefixtures("no_venv")
def test_set_up_peers_pip_that_fails_is_told_and_tried_again(tmp_path):
    for _ in range(2):
        with pytest.raises(ProcessError, match="No matching distribution"):
            set_up_peers(tmp_path / "peers", Display())
    with pytest.raises(ProcessError, match="skyloop-sim bench setup"):
        peers_python(tmp_path / "peers")


@pytest.mark.usefixtures("no_venv")
def test_set_up_peers_older_packages_are_replaced(tmp_path):
    as_if_ready(tmp_path, ["opencv-contrib-python==4.5.1.48"])
    python_of(tmp_path).unlink()
    (tmp_path / "pyvenv.cfg").write_text("")
    with pytest.raises(ProcessError, match="No matching distribution"):
        set_up_peers(tmp_path, Display())


def test_set_up_peers_leaves_another_folder_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="no virtual environment"):
        set_up_peers(tmp_path, Display())
    assert (tmp_path / "thesis.txt").exists()


def test_tracker_process_follows(tmp_path):
    video = MovingTarget()
    with TrackerProcess("skyloop", ["ours", "correlation"], None, threads=1) as tracker:
        assert tracker.start(video.image(0), [86, 70, 28, 20]) > 0
        for index in (1, 2, 3):
            box, seconds, is_claimed = tracker.update(video.image(index))
    assert box == pytest.approx([95, 76, 28, 20], abs=2.5)
    assert 0 < seconds < 5
    assert is_claimed


def test_tracker_process_that_ends_says_why():
    tracker = TrackerProcess("nano", ["ours", "nano:/nowhere"], None, threads=1)
    with tracker, pytest.raises(ProcessError, match=r"nano: its process ended: .*exactly one"):
        tracker.start(MovingTarget().image(0), [86, 70, 28, 20])


def test_tracker_process_in_another_environment_needs_opencv_alone():
    """`-I` and the file's path: neither our packages nor the files beside the worker are found."""
    video = MovingTarget()
    with TrackerProcess("mil", ["mil"], python=sys.executable, threads=1) as tracker:
        tracker.start(video.image(0), [86, 70, 28, 20])
        box = tracker.update(video.image(1)).box_xywh
    assert box == pytest.approx([89, 72, 28, 20], abs=8)


def test_reinitialised_control_heeds_answers_as_it_says(monkeypatch):
    """NanoTrack's weights are not at hand: a tracker that stays where it was begun shows where it was begun."""

    class Stays:
        def init(self, image, box):
            self.box, begun[:] = box, [*begun, (int(image[0, 0, 0]), box)]

        def update(self, image):
            return True, self.box

    begun = []
    monkeypatch.setattr("sim.tracking_worker._create", lambda name, files: Stays())
    pictures = [np.full((50, 50, 3), index, np.uint8) for index in range(6)]
    control = Reinitialised([])
    control.start(pictures[0], [10, 10, 10, 10])
    assert control.update(pictures[1], {"keep": True}) == ([10, 10, 10, 10], True)
    control.update(pictures[2], {})
    # Right then: begun anew in the newest picture, moved and sized as it was wrong.
    assert control.update(pictures[3], {"told": [11, 10, 10, 12]})[0] == [11, 10, 10, 12]
    assert begun[-1][0] == 2
    control.update(pictures[4], {"keep": True})
    # Wrong then: begun anew in the picture that was asked about.
    assert control.update(pictures[5], {"told": [30, 30, 10, 10]})[0] == [30, 30, 10, 10]
    assert begun[-1] == (4, (30, 30, 10, 10))
    assert control.update(pictures[5], {"told": None})[0] == [30, 30, 10, 10]


@pytest.mark.parametrize("made", [lambda: peer("mil", []), lambda: ours("correlation")], ids=["peer", "ours"])
def test_serve_answers_each_request_and_starts_again(made):
    video, answers = MovingTarget(), io.BytesIO()
    asked = (
        request(video.image(0), [86, 70, 28, 20]) + request(video.image(1)) + request(video.image(0), [1, 1, 30, 30])
    )
    serve(*made(), io.BytesIO(asked), answers)
    found = [json.loads(line) for line in answers.getvalue().splitlines()]
    assert [found[0]["box"], found[2]["box"]] == [[86, 70, 28, 20], [1, 1, 30, 30]]
    assert np.isfinite(found[1]["box"]).all()
