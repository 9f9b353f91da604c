"""systemd hears that a flight begins and goes on, over a real socket."""

import json
import os
import socket
import subprocess
import sys

import cv2
import numpy as np
import pytest

from edge.service_manager import ServiceManager


@pytest.fixture(params=["a path", "an abstract name"])
def manager(request, tmp_path):
    """The socket that systemd would listen on, and its name as the environment tells it."""
    name = str(tmp_path / "notify") if request.param == "a path" else f"@skyloop-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name.replace("@", "\0", 1))
        listening.settimeout(0.2)
        yield listening, name


def heard(listening):
    lines = []
    while True:
        try:
            lines.append(listening.recv(100).decode())
        except TimeoutError:
            return lines


def test_watchdog_is_fed_three_times_in_its_period(manager, fake_clock):
    listening, name = manager
    told = ServiceManager({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "3000000"}, fake_clock)
    told.ready()
    for _ in range(21):
        told.alive()
        fake_clock.advance(0.1)
    assert heard(listening) == ["READY=1", *["WATCHDOG=1"] * 3]


@pytest.mark.parametrize("environment", [{}, {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}])
def test_watchdog_of_another_process_and_none_are_told_nothing(manager, environment):
    listening, name = manager
    told = ServiceManager({"NOTIFY_SOCKET": name, **environment})
    told.alive()
    assert heard(listening) == []
    ServiceManager({}).ready()  # no systemd


def test_socket_that_is_gone_ends_no_flight(tmp_path, capsys):
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()
    assert "systemd cannot be told" in capsys.readouterr().out


def test_flight_tells_that_it_begins_and_goes_on(manager, tmp_path, tiny_bundle):
    listening, name = manager
    (tmp_path / "film").mkdir()
    cv2.imwrite(str(tmp_path / "film" / "0.png"), np.zeros((48, 64, 3), np.uint8))
    command = [sys.executable, "-W", "ignore", "-c", "from edge.cli import main; main()", "run", "--json"]
    command += ["--source", str(tmp_path / "film"), "--bundle", str(tiny_bundle.folder), "--out", str(tmp_path / "out")]
    environment = os.environ | {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "60000000"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=60)
    assert json.loads(done.stdout)["frames"] == 1
    assert heard(listening) == ["READY=1", "WATCHDOG=1"]
