"""A cloud that asks for a better picture: the real server in a process of its own, the real agent over real sockets."""

import threading

import numpy as np
import pytest
import structlog
from builders import scene
from test_target_questions import serving, wait_for
from typer.testing import CliRunner

from cloud import cli
from cloud.store import CaseStore
from edge.agent import Agent, AgentSettings
from edge.bank import BankStore
from edge.capture import Frame
from edge.keys import CLOUD_NAME, EDGE_NAME, load_keys, new_keys
from edge.link import HelloProfile, Link, LinkSettings
from edge.pipeline import PipelineSettings
from edge.recent_frames import RecentFramesSettings
from edge.scheduler import SchedulerSettings
from edge.spool import Spool
from edge.student import Student
from protocols.imagery import decode_image
from protocols.values import FrameHeader

GREEN = (60, 220, 60)
FPS = 15


class Flight:
    """An agent that hovers over one unknown thing, in a thread of its own."""

    def __init__(self, tmp_path, bundle, endpoint, held_s):
        keys = new_keys(tmp_path / "edge", EDGE_NAME)
        self.store = CaseStore(tmp_path / "data")
        self.store.enroll("uav", keys.public.decode())
        spool, bank = Spool(tmp_path / "spool"), BankStore(tmp_path / "bank")
        profile = HelloProfile(bundle.manifest.space_id, "fp32", bundle.manifest.labels)
        cloud_key = load_keys(tmp_path / "data" / "keys", CLOUD_NAME).public
        self.link = Link(LinkSettings(endpoint=endpoint, retry_most_s=0.5), keys, cloud_key, spool, bank, profile)
        settings = AgentSettings(
            pipeline=PipelineSettings(recent=RecentFramesSettings(seconds=held_s)),
            scheduler=SchedulerSettings(jpeg_quality=30, cooldown_s=1e6, audit_share=0.0, patience_frames=1),
        )
        student = Student.open(bundle, threads=1)
        self.agent = Agent(student=student, bank=bank, spool=spool, link=self.link, settings=settings)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._fly)

    def start(self):
        self.link.start()
        self._thread.start()

    def close(self):
        self._stop.set()
        self._thread.join()
        self.link.close()
        self.store.close()

    def _fly(self):
        index, image = 0, scene((40, 34, GREEN))
        while not self._stop.is_set():
            header = FrameHeader(index=index, source_id="s", captured_at_s=1e9 + index, width=160, height=128)
            self.agent.step(Frame(header, image, index / FPS))
            index += 1
            self._stop.wait(1 / FPS)

    def cases(self):
        return self.store.list_cases(unsure_only=False)


@pytest.fixture
def fly(tmp_path, tiny_bundle):
    flights = []

    def take_off(held_s):
        flight = Flight(tmp_path, tiny_bundle, endpoint, held_s)
        flights.append(flight)
        flight.start()
        wait_for(flight.cases)
        return flight

    new_keys(tmp_path / "data" / "keys", CLOUD_NAME)
    with serving(tmp_path / "data", tiny_bundle) as endpoint:
        yield take_off
        for flight in flights:
            flight.close()


def refine(tmp_path, case_id, *options):
    done = CliRunner().invoke(cli.app, ["refine", case_id, *options, "--data", str(tmp_path / "data")])
    structlog.reset_defaults()  # the flight goes on, and logs
    return done


def test_person_gets_a_better_picture_whose_answer_supersedes(fly, tmp_path):
    flight = fly(held_s=60.0)
    (first,) = flight.cases()
    done = refine(tmp_path, first.case.case_id, "--quality", "95")
    assert done.exit_code == 0, done.output
    wait_for(lambda: any(stored.case.refines for stored in flight.cases()))
    better = next(stored for stored in flight.cases() if stored.case.refines)
    assert (better.case.refines, better.case.frame) == (first.case.case_id, first.case.frame)
    assert (first.case.quality, better.case.quality) == (30, 95)
    true = scene((40, 34, GREEN)).astype(int)
    x1, y1, x2, y2 = (int(v) for v in better.case.region_xyxy)
    errors = [
        np.abs(decode_image(flight.store.read_imagery(s), "image/jpeg").astype(int) - true[y1:y2, x1:x2]).mean()
        for s in (first, better)
    ]
    assert errors[1] < errors[0]
    wait_for(lambda: flight.store.teacher_answer("uav", better.case.case_id))
    assert flight.store.teacher_answer("uav", better.case.case_id).supersedes == first.case.case_id
    assert flight.link.refinements.counts == {"asked": 1, "answered": 1, "refused": 0}


def test_person_who_comes_too_late_is_told_in_one_line(fly, tmp_path):
    flight = fly(held_s=0.2)
    (first,) = flight.cases()
    wait_for(lambda: flight.agent.pipeline.recent.newest.index > first.case.frame.index + 30)
    done = refine(tmp_path, first.case.case_id)
    assert done.exit_code != 0
    assert f"uav shows nothing better: frame {first.case.frame.index}: is not held" in str(done.exception)
    assert len(flight.cases()) == 1
