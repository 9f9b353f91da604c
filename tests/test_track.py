"""A person in the cloud has a craft follow things: the real programs on loopback, over a flight painted here."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from cloud import cli as cloud
from edge import cli as edge
from protocols.errors import SkyloopError

RED, GREEN = (40, 40, 250), (60, 220, 60)
FRAMES, FPS = 600, 10


def command(package, *arguments):
    return [sys.executable, "-c", f"from {package}.cli import main; main()", *map(str, arguments)]


def run(app, *arguments):
    """What a person types, in this process: starting one takes seconds."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def wait_for(condition, limit_s=60):
    deadline = time.monotonic() + limit_s
    while not (result := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
    return result


@pytest.fixture(scope="module")
def flight(tmp_path_factory):
    """A minute: a known red thing that goes to and fro, and an unknown green one that stays."""
    folder = tmp_path_factory.mktemp("flight")
    for index in range(FRAMES):
        image = np.zeros((128, 160, 3), np.uint8)
        left = 40 + round(20 * np.sin(index / 20))
        image[26:42, left : left + 16] = RED
        image[90:106, 90:106] = GREEN
        cv2.imwrite(str(folder / f"{index:03d}.png"), image)
    (folder / "fps.txt").write_text(f"{FPS}\n")
    return folder


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


class Ground:
    """A cloud's folder, its ports, and what a person types."""

    def __init__(self, folder, bundle):
        self.folder, self.data, self.bundle = folder, folder / "data", bundle
        self.endpoint, self.http = f"tcp://127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        run(cloud.app, "keys", "new", "--out", self.data / "keys")
        run(edge.app, "keys", "new", "--out", folder / "edge")
        run(edge.app, "trust", self.data / "keys" / "cloud.pub", "--keys", folder / "edge")
        run(cloud.app, "enroll", folder / "edge" / "edge.pub", "--name", "uav1", "--data", self.data)

    def track(self, *options):
        return run(cloud.app, "track", "uav1", *options, "--data", self.data)

    def targets(self, *options):
        return {t["target"]: t for t in self._listed("targets", "--craft", "uav1", *options)}

    def cases(self):
        return self._listed("cases", "--all")

    def _listed(self, *arguments):
        return json.loads(run(cloud.app, *arguments, "--data", self.data, "--json"))

    def is_ready(self):
        try:
            return urllib.request.urlopen(f"http://{self.http}/readyz", timeout=2).status == 200
        except OSError:
            return False

    @contextmanager
    def serving(self):
        options = {"--bind": self.endpoint, "--http": self.http, "--data": self.data}
        options |= {"--teacher": self.bundle, "--student": self.bundle}
        flat = [part for pair in options.items() for part in pair]
        with running(command("cloud", "serve", *flat), self.folder / "cloud.log"):
            wait_for(self.is_ready)
            yield

    @contextmanager
    def flying(self, flight, out):
        (self.folder / "edge.toml").write_text("paced = true\nvideo = false\n[agent.pipeline.recent]\nseconds = 60\n")
        options = {"--source": flight, "--bundle": self.bundle, "--cloud": self.endpoint, "--out": out}
        options |= {"--keys": self.folder / "edge", "--config": self.folder / "edge.toml"}
        flat = [part for pair in options.items() for part in pair]
        with running(command("edge", "run", *flat), self.folder / "edge.log"):
            yield


@contextmanager
def running(arguments, log):
    """A program that ends well on SIGTERM."""
    with log.open("w") as file:
        process = subprocess.Popen(arguments, stdout=file, stderr=file)
    try:
        yield
        assert process.poll() is None, log.read_text()[-2000:]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, log.read_text()[-2000:]
    finally:
        process.kill()
        process.wait()


def test_targets_are_ordered_followed_refused_and_stopped(flight, tiny_bundle, tmp_path):
    ground = Ground(tmp_path, tiny_bundle.folder)
    by_label = json.loads(ground.track("--label", "Red", "--json"))["target"]  # nobody serves, nobody flies
    with ground.serving():
        with ground.flying(flight, tmp_path / "out"):
            wait_for(lambda: ground.targets()[by_label]["state"] == "tracked")
            case = wait_for(ground.cases)[0]
            seen = ("--case", case["case_id"], "--label", "thing", "--json")
            in_the_past = json.loads(ground.track("--box", "88,88,20,20", *seen))
            assert in_the_past["state"] in ("tentative", "tracked"), in_the_past
            with pytest.raises(SkyloopError, match=r"uav1 refuses .* is outside the frame of 160x128"):
                ground.track("--box", "500,500,40,40")
            assert ground.track("--stop", by_label) == f"target {by_label}: stopped (by the cloud)\n"
            wait_for(lambda: ground.targets()[in_the_past["target"]]["state"] == "tracked")
        with ground.flying(flight, tmp_path / "again"):
            wait_for(lambda: ground.targets("--all")[in_the_past["target"]]["state"] == "unknown")
    lines = [json.loads(line) for line in (tmp_path / "out" / "tracks.jsonl").read_text().splitlines()]
    of_id = {number: [t for line in lines for t in line["targets"] if t["target_id"] == number] for number in (1, 2)}
    assert {(t["label"]) for t in of_id[1]} == {"Red"}
    assert {(t["label"]) for t in of_id[2]} == {"thing"}
    np.testing.assert_allclose(of_id[2][-1]["box_xyxy"], (88, 88, 108, 108), atol=3)
    assert len(of_id[1]) < len(lines)
    assert not (tmp_path / "again" / "tracks.jsonl").read_text()
