"""The server as a process: it comes up, uses a review, stops on SIGTERM, and says what is wrong in one line."""

import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import pytest

from cloud import cli
from cloud.store import CaseStore, Review
from edge.bank import BankStore
from edge.keys import CLOUD_NAME, EDGE_NAME, load_keys, new_keys
from edge.link import HelloProfile, Link, LinkSettings
from edge.spool import Spool


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


@pytest.fixture
def arguments(tmp_path, tiny_bundle):
    new_keys(tmp_path / "data" / "keys", CLOUD_NAME)
    return {
        "--bind": f"tcp://127.0.0.1:{free_port()}",
        "--http": f"127.0.0.1:{free_port()}",
        "--data": str(tmp_path / "data"),
        "--teacher": str(tiny_bundle.folder),
        "--student": str(tiny_bundle.folder),
    }


_SLOW_TEACHER = """
import time
from cloud.cli import main
from cloud.teachers.bundled import BundledTeacher

BundledTeacher.interpret = lambda self, frames: time.sleep(60)
main()
"""


def command(arguments, program=None):
    flat = [part for pair in arguments.items() for part in pair]
    begin = [program] if program else ["-c", "from cloud.cli import main; main()"]
    return [sys.executable, *begin, "serve", *flat]


@contextmanager
def serving(arguments, program=None):
    process = subprocess.Popen(command(arguments, program), stderr=subprocess.PIPE, text=True)
    try:
        wait_ready(arguments["--http"], process)
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_ready(http, process, limit_s=90):
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline and process.poll() is None:
        try:
            return urllib.request.urlopen(f"http://{http}/readyz", timeout=5).read()
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"not ready: {process.stderr.read() if process.poll() is not None else 'timeout'}")


def wait_for(condition, limit_s=30):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_server_answers_a_waiting_case_and_a_review_and_stops(arguments, tmp_path, painting):
    store = CaseStore(tmp_path / "data")
    store.enroll("uav", "c" * 40)
    case, payload = painting.make_case(painting.paint((50, 50, painting.GREEN)))
    store.add_cases([("uav", case, payload)])
    with serving(arguments) as process:
        wait_for(lambda: store.case_state("uav", case.case_id)[1] == "unsure")
        number = store.add_review(Review("uav", case.case_id, "debris", ((42, 42, 58, 58),), "craft", "ann", 1.0))
        wait_for(lambda: store.review_outcome(number)[0] == "done")
        metrics = urllib.request.urlopen(f"http://{arguments['--http']}/metrics", timeout=5).read().decode()
        assert 'skyloop_interpreted_total{state="unsure"} 1.0' in metrics
        assert "skyloop_crafts_online 0.0" in metrics
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert [p.label for p in store.bank("uav").prompts] == ["debris"]
    store.close()


def refused(arguments, monkeypatch, capsys):
    """The one line that `serve` ends with, run in this process."""
    monkeypatch.setattr("sys.argv", ["skyloop-cloud", "serve", *(part for pair in arguments.items() for part in pair)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    return line


def test_second_server_on_the_same_ports_or_data_says_so(arguments, tmp_path, monkeypatch, capsys):
    other = arguments | {"--data": str(tmp_path / "other"), "--keys": str(tmp_path / "data" / "keys")}
    free = {"--http": f"127.0.0.1:{free_port()}"}
    with serving(arguments):
        assert "cannot listen" in refused(other, monkeypatch, capsys)
        assert "another program has this port" in refused(other | free, monkeypatch, capsys)
        assert "another server uses" in refused(arguments, monkeypatch, capsys)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--teacher": "clip"}, "choose 'bundled'"),
        ({"--http": "nowhere"}, "HOST:PORT"),
        ({"--bind": "udp://x"}, "tcp://HOST:PORT"),
        ({"--keys": "absent"}, "keys new"),
        ({"--config": "absent.toml"}, "cannot be read"),
    ],
)
def test_server_refuses_bad_settings_in_one_line(arguments, changes, message, monkeypatch, capsys):
    assert message in refused(arguments | changes, monkeypatch, capsys)


def test_server_killed_after_the_receipt_still_answers_the_case(arguments, tmp_path, painting, tiny_bundle):
    keys = new_keys(tmp_path / "edge", EDGE_NAME)
    CaseStore(tmp_path / "data").enroll("uav", keys.public.decode())
    case, payload = painting.make_case(painting.paint((50, 50, painting.GREEN)))
    spool, answers = Spool(tmp_path / "spool"), []
    spool.put(case, payload, 1.0)
    link = Link(
        LinkSettings(endpoint=arguments["--bind"], retry_most_s=1.0),
        keys,
        load_keys(tmp_path / "data" / "keys", CLOUD_NAME).public,
        spool,
        BankStore(tmp_path / "bank"),
        HelloProfile(tiny_bundle.manifest.space_id, "fp32", tiny_bundle.manifest.labels),
        on_interpretation=answers.append,
    )
    slow_teacher = tmp_path / "slow.py"
    slow_teacher.write_text(_SLOW_TEACHER)  # it thinks, so that the kill comes before the answer
    try:
        with serving(arguments, program=str(slow_teacher)) as process:
            link.start()
            wait_for(lambda: link.stats().cases_delivered == 1)
            process.kill()
        assert answers == []
        with serving(arguments):
            wait_for(lambda: answers)
    finally:
        link.close()
    assert [answer.case_id for answer in answers] == [case.case_id]
