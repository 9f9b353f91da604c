"""The edge's end of the frame rate benchmark: the whole agent, which flies the same pictures over and over."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from threadpoolctl import threadpool_limits

from cloud.cli import configure_logging
from edge.agent import Agent, AgentSettings
from edge.bank import BankStore
from edge.bundle import bundled_student, load_bundle
from edge.keys import EDGE_NAME, load_keys, load_server_key
from edge.link import HelloProfile, Link, LinkSettings
from edge.outputs import RunOutputs
from edge.spool import Spool
from edge.student import Student
from sim.bench import ONE_CASE_A_SECOND, MemorySource, render_pictures
from sim.journal import Journal


@dataclass(frozen=True)
class FlyingSettings:
    """What flies.

    Attributes:
        endpoint: of the link before the cloud.
        keys: folder of the craft's keys, with the server's.
        state: folder for spool, bank and outputs.
        journal: the file that gets `started`, and `flown` after each round.
        frames: of one round.
        pictures: different frames, flown to and fro.
        threads: of ONNX Runtime, 0 for all cores.
    """

    endpoint: str
    keys: str
    state: str
    journal: str
    frames: int
    pictures: int
    threads: int


def fly(settings: FlyingSettings) -> None:
    """Fly rounds without a pause, one case a second, until the program is ended; notes each round when it is over."""
    pictures = render_pictures(settings.pictures, seed=1)
    state, keys = Path(settings.state), Path(settings.keys)
    bundle, journal = load_bundle(bundled_student()), Journal(Path(settings.journal))
    spool, bank = Spool(state / "spool"), BankStore(state / "bank")
    profile = HelloProfile(bundle.manifest.space_id, bundle.variant, bundle.manifest.labels)
    link_settings = LinkSettings(endpoint=settings.endpoint)
    link = Link(link_settings, load_keys(keys, EDGE_NAME), load_server_key(keys), spool, bank, profile)
    link.start()
    with threadpool_limits(1, user_api="blas"), RunOutputs(state / "out", fps=15.0, video=False) as outputs:
        student = Student.open(bundle, threads=settings.threads)
        agent_settings = AgentSettings(scheduler=ONE_CASE_A_SECOND)
        agent = Agent(student=student, bank=bank, spool=spool, link=link, outputs=outputs, settings=agent_settings)
        journal.note("started")
        while True:
            begin_s = time.monotonic()
            agent.run(MemorySource(pictures, settings.frames))
            fps = settings.frames / (time.monotonic() - begin_s)
            journal.note("flown", begin_s=begin_s, fps=fps, delivered=link.stats().cases_delivered)


def main() -> None:
    """Fly what the argument says; SIGTERM ends it at once: nothing that it keeps is needed any more."""
    configure_logging(as_json=False)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    fly(FlyingSettings(**json.loads(sys.argv[1])))
