"""A craft asks a real cloud where its target is: over real sockets, to a teacher and to a person."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import numpy as np
import pytest
from builders import scene
from typer.testing import CliRunner

from cloud import cli
from cloud.store import CaseStore
from edge.agent import Agent, AgentSettings
from edge.bank import BankStore
from edge.capture import Frame
from edge.keys import CLOUD_NAME, EDGE_NAME, load_keys, new_keys
from edge.link import HelloProfile, Link, LinkSettings
from edge.pipeline import PipelineSettings
from edge.scheduler import SchedulerSettings
from edge.spool import Spool
from edge.student import Student
from edge.target_questions import QuestionSettings
from edge.target_requests import TargetRequest
from protocols.boxes import box_iou
from protocols.values import FrameHeader

GREEN, RED = (60, 220, 60), (40, 40, 230)
WAIT_S = 60


def wait_for(condition):
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


@contextmanager
def serving(data, bundle):
    """A real server whose teacher is the small bundle; gives its endpoint."""
    ports = free_port(), free_port()
    arguments = ["serve", "--bind", f"tcp://127.0.0.1:{ports[0]}", "--http", f"127.0.0.1:{ports[1]}"]
    arguments += ["--data", str(data), "--teacher", str(bundle.folder), "--student", str(bundle.folder)]
    launch = [sys.executable, "-c", "from cloud.cli import main; main()", *arguments]
    process = subprocess.Popen(launch, stderr=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        wait_for(lambda: is_ready(ports[1]))
        yield f"tcp://127.0.0.1:{ports[0]}"
    finally:
        process.kill()
        process.wait()


def is_ready(port):
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2).status == 200
    except OSError:
        return False


def centres(index):
    """Of the green and of the red square: one creeps to the right, the other to the left."""
    return (40 + index, 34), (120 - index, 94)


def box_around(centre):
    x, y = centre
    return np.array([x - 8, y - 8, x + 8, y + 8], np.float32)


class Flight:
    """An agent over a made-up video, linked to the cloud; follows the green square."""

    def __init__(self, tmp_path, bundle, endpoint):
        keys = new_keys(tmp_path / "edge", EDGE_NAME)
        CaseStore(tmp_path / "data").enroll("uav", keys.public.decode())
        spool, bank = Spool(tmp_path / "spool"), BankStore(tmp_path / "bank")
        profile = HelloProfile(bundle.manifest.space_id, "fp32", bundle.manifest.labels)
        cloud_key = load_keys(tmp_path / "data" / "keys", CLOUD_NAME).public
        self.link = Link(LinkSettings(endpoint=endpoint, retry_most_s=0.5), keys, cloud_key, spool, bank, profile)
        questions = QuestionSettings(per_100_frames=10, audit_frames=10)
        only_targets = SchedulerSettings(min_hardness=2.0, audit_share=0.0)  # no frame is that hard
        settings = AgentSettings(pipeline=PipelineSettings(questions=questions), scheduler=only_targets)
        student = Student.open(bundle, threads=1)
        self.agent = Agent(student=student, bank=bank, spool=spool, link=self.link, settings=settings)
        x1, y1, x2, y2 = box_around(centres(0)[0]).tolist()
        self.agent.pipeline.follow(TargetRequest((x1, y1, x2 - x1, y2 - y1), "thing"))
        self.index, self.targets = -1, ()

    def fly(self, frames):
        for _ in range(frames):
            self.index += 1
            green, red = centres(self.index)
            image = scene((*green, GREEN), (*red, RED))
            header = FrameHeader(
                index=self.index, source_id="s", captured_at_s=1e9 + self.index / 15, width=160, height=128
            )
            self.targets = self.agent.step(Frame(header, image, self.index / 15)).targets

    def overlap(self, which):
        (target,) = self.targets
        return float(box_iou(target.box_xyxy[None], box_around(centres(self.index)[which])[None])[0, 0])


@pytest.fixture
def flight(tmp_path, tiny_bundle):
    new_keys(tmp_path / "data" / "keys", CLOUD_NAME)
    with serving(tmp_path / "data", tiny_bundle) as endpoint:
        flight = Flight(tmp_path, tiny_bundle, endpoint)
        flight.link.start()
        yield flight
        flight.link.close()


def test_target_is_put_right_by_late_answers_of_teacher_and_person(flight, tmp_path):
    flight.fly(11)
    questions = flight.agent.pipeline.questions
    assert questions.asked == 1
    wait_for(lambda: flight.link.answers)
    answer = flight.link.answers[0]
    # The teacher finds what it is shown, at the frame that was asked about, and says what the craft's student sees.
    assert (answer.by, answer.target.verdict) == ("teacher", "here")
    place = np.array([answer.target.box_xyxy], np.float32)
    assert box_iou(place, box_around(centres(10)[0])[None])[0, 0] > 0.5
    assert len(answer.target.positives) == 1
    flight.fly(5)
    assert questions.answered == 1
    assert flight.overlap(which=0) > 0.5
    # A person knows better: it is the red one. Meanwhile the video goes on.
    (case,) = CaseStore(tmp_path / "data").list_cases(unsure_only=False, limit=5)
    x1, y1, x2, y2 = box_around(centres(10)[1]).tolist()
    words = ["review", case.case.case_id, "--box", f"{x1},{y1},{x2 - x1},{y2 - y1}", "--data", str(tmp_path / "data")]
    done = CliRunner().invoke(cli.app, words)
    assert done.exit_code == 0, done.output
    wait_for(lambda: flight.link.answers)
    assert flight.link.answers[0].by == "person"
    flight.fly(4)
    assert questions.answered == 2
    assert flight.overlap(which=1) > 0.6
    assert flight.targets[0].label == "thing"
    assert len(CaseStore(tmp_path / "data").bank("uav").prompts) == 0  # a place is no lesson about a label


def test_person_says_that_a_target_is_not_in_the_picture(flight, tmp_path):
    flight.fly(11)
    wait_for(lambda: flight.link.answers)
    flight.fly(1)
    (case,) = CaseStore(tmp_path / "data").list_cases(unsure_only=False, limit=5)
    done = CliRunner().invoke(cli.app, ["review", case.case.case_id, "--data", str(tmp_path / "data")])
    assert done.exit_code == 0, done.output
    wait_for(lambda: flight.link.answers)
    assert flight.targets[0].state == "tracked"
    flight.agent.pipeline.heed(flight.link.answers.popleft())
    (target,) = flight.agent.pipeline.targets
    assert (target.state, target.reason) == ("lost", "not there, says the cloud")
