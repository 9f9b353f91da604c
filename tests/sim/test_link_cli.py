import socket
import threading

import pytest
from typer.testing import CliRunner

from sim.cli import app
from sim.errors import OptionError, ScenarioError


def run(*words):
    return CliRunner().invoke(app, ["link", *words])


@pytest.fixture
def target():
    """A server that answers every connection with the same word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with peer:
                    peer.recv(10)
                    peer.sendall(b"welcome")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def test_link_stands_between_two_programs_and_counts(target):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def talk():
        for _ in range(100):
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
                    sock.sendall(b"hello")
                    assert sock.recv(10) == b"welcome"
                    return
            except ConnectionRefusedError:
                threading.Event().wait(0.05)

    talker = threading.Thread(target=talk)
    talker.start()
    answer = run("--to", target, "--listen", f"127.0.0.1:{port}", "--profile", "lan", "--seconds", "2")
    talker.join(10)
    assert answer.exit_code == 0, answer.output
    assert f"lan from port {port} to {target}" in answer.stdout
    assert "up: 0.0 kB to the cloud, 0.0 kB to the edge" in answer.stdout


def test_link_follows_a_trace(tmp_path, target):
    trace = tmp_path / "t.csv"
    trace.write_text("from_s,to_s,state\n0,inf,cut\n")
    answer = run("--to", target, "--listen", "127.0.0.1:0", "--trace", str(trace), "--seconds", "0.2")
    assert answer.exit_code == 0, answer.output
    assert "cut: 0.0 kB" in answer.stdout


@pytest.mark.parametrize(
    ("words", "error", "says"),
    [
        (["--to", "7600"], OptionError, "--to '7600': is not HOST:PORT"),
        (["--to", "127.0.0.1:x"], OptionError, "is not HOST:PORT"),
        (["--to", "127.0.0.1:9", "--listen", "127.0.0.1:99999"], OptionError, "--listen"),
        (["--to", "127.0.0.1:9", "--listen", "192.0.2.1:0"], OptionError, "cannot be taken"),
        (["--to", "127.0.0.1:9", "--profile", "pigeon"], OptionError, "pigeon"),
        (["--to", "127.0.0.1:9", "--trace", "/nowhere.csv"], ScenarioError, "cannot be read"),
    ],
)
def test_link_refuses_what_cannot_be_meant_in_one_line(words, error, says):
    answer = run(*words, "--seconds", "0")
    assert isinstance(answer.exception, error)
    assert says in str(answer.exception)
    assert "\n" not in str(answer.exception)
