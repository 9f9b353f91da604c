"""The kernel's links beside the proxy's: the same throughput and delay, where the kernel and our rights allow."""

import json
import subprocess
import sys

import numpy as np
import pytest

from sim import netem
from sim.errors import ProcessError
from sim.link import LinkProxy
from sim.link_profiles import PROFILES
from sim.link_schedule import always
from sim.netem import CLOUD_HOST, NetemLink, netem_words
from sim.scenario.conditions import LinkProfile

BYTES, TRIPS = 400_000, 7

SERVER = """
import socket, sys
with socket.create_server((sys.argv[1], int(sys.argv[2]))) as listener:
    print(listener.getsockname()[1], flush=True)
    while True:
        with listener.accept()[0] as peer:
            while data := peer.recv(65536):
                peer.sendall(b"." * (len(data) == 1) or b"!" * data.count(b"e"))
"""
"""Answers every single byte, and the last one of many."""

CLIENT = """
import json, socket, statistics, sys, time
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=60) as sock:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    trips = []
    for _ in range(int(sys.argv[4])):
        begin = time.monotonic()
        sock.sendall(b"x")
        sock.recv(1)
        trips.append(time.monotonic() - begin)
    begin = time.monotonic()
    sock.sendall(b"d" * (int(sys.argv[3]) - 1) + b"e")
    sock.recv(1)
    print(json.dumps([statistics.median(trips), time.monotonic() - begin]))
"""


def measure(host, port, enter=()):
    """(seconds there and back, seconds for all bytes and their answer)."""
    command = [*enter, sys.executable, "-c", CLIENT, host, str(port), str(BYTES), str(TRIPS)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout)


class Server:
    def __init__(self, host, port=0, enter=()):
        command = [*enter, sys.executable, "-c", SERVER, host, str(port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def by_proxy(profile):
    rng = np.random.default_rng(1)
    with Server("127.0.0.1") as server, LinkProxy(always(profile), ("127.0.0.1", server.port), rng) as proxy:
        return measure("127.0.0.1", proxy.port)


def by_kernel(profile):
    with NetemLink(profile) as link:
        edge, cloud = (link.command(space, []) for space in (link.edge_namespace, link.cloud_namespace))
        with Server(CLOUD_HOST, 7600, enter=cloud):
            return measure(CLOUD_HOST, 7600, enter=edge)


@pytest.mark.parametrize("name", ["lte", "geo-satcom"])
def test_kernel_and_proxy_give_the_same_throughput_and_delay(name):
    profile = PROFILES[name].model_copy(update={"jitter_ms": 0.0, "loss": 0.0})
    if why := netem.refusal():
        pytest.skip(why)
    assert by_proxy(profile) == pytest.approx(by_kernel(profile), rel=0.1)


def test_kernel_and_proxy_give_the_same_throughput_where_the_kernel_knows_rates_alone(monkeypatch):
    """With the token bucket of `tc tbf`, which more kernels have than netem."""
    monkeypatch.setattr(
        netem, "netem_words", lambda _, bps: ["tbf", "rate", f"{bps:.0f}bit", "burst", "3000", "latency", "400ms"]
    )
    profile = LinkProfile(edge_to_cloud_bps=2e6, cloud_to_edge_bps=2e6, latency_ms=0)
    if why := netem.refusal():
        pytest.skip(why)
    assert by_proxy(profile)[1] == pytest.approx(by_kernel(profile)[1], rel=0.1)


def test_the_proxy_keeps_the_times_that_the_profile_says():
    """What the comparison above rests on, for machines where there is nothing to compare with."""
    profile = LinkProfile(edge_to_cloud_bps=4e6, cloud_to_edge_bps=4e6, latency_ms=60)
    trip_s, bulk_s = by_proxy(profile)
    assert trip_s == pytest.approx(0.12, rel=0.25)
    assert bulk_s == pytest.approx(8 * BYTES / 4e6 + 0.12, rel=0.25)  # a busy machine adds some


def test_netem_is_told_rate_delay_jitter_loss_and_damage():
    profile = LinkProfile(latency_ms=35, jitter_ms=10, loss=0.01, bit_error_rate=1e-6)
    assert " ".join(netem_words(profile, 6e6)) == (
        "netem limit 1000 delay 40.000ms 5.000ms loss 1.000000% corrupt 1.192829% rate 6000000bit"
    )
    assert " ".join(netem_words(LinkProfile(latency_ms=279), 432e3)) == (
        "netem limit 1000 delay 279.000ms rate 432000bit"
    )


def test_what_the_kernel_refuses_is_told_in_one_line_and_nothing_is_left(monkeypatch):
    ran = []

    def run(command, **how):
        ran.append(command)
        refuses = command[0] == "tc"
        said = "Error: Specified qdisc kind is unknown.\n" if refuses else ""
        return subprocess.CompletedProcess(command, 2 * refuses, "", said)

    monkeypatch.setattr(subprocess, "run", run)
    with (
        pytest.raises(ProcessError, match=r"qdisc kind is unknown.*use the proxy") as refused,
        NetemLink(LinkProfile()),
    ):
        pass
    assert "\n" not in str(refused.value)
    assert [command[:3] for command in ran[-2:]] == [("ip", "netns", "del")] * 2
    assert "unknown" in netem.refusal()


def test_a_machine_without_ip_is_told(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert "install iproute2" in netem.refusal()
