import socket
import sys
import time

import pytest

from sim.errors import ProcessError
from sim.processes import Child, ask_program, command_of, fetch, free_ports, run_program, wait_ready

SLEEP = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
SERVE = """
import http.server, sys
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 503)
        self.end_headers()
        self.wfile.write(b"ready")
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
"""


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def wait_for_log(child: Child) -> None:
    deadline_s = time.monotonic() + 20
    while "up" not in child.log.read_text():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_leaving_the_context_ends_the_child_by_its_id(tmp_path):
    with Child("sleeper", python(SLEEP), tmp_path / "log") as child:
        assert child.returncode is None
        assert child.pid > 0
    assert child.returncode == -15


def test_a_child_that_ignores_sigterm_is_killed(tmp_path):
    child = Child("stubborn", python(STUBBORN), tmp_path / "log")
    wait_for_log(child)
    assert child.stop(grace_s=0.1) == -9


def test_an_error_raised_inside_still_ends_the_child(tmp_path):
    with pytest.raises(KeyError), Child("sleeper", python(SLEEP), tmp_path / "log") as child:
        raise KeyError
    assert child.returncode is not None


def test_a_failed_child_tells_its_last_error_line(tmp_path):
    code = "import sys; print('fine'); sys.exit('error: port 7600 is in use; choose another')"
    with Child("the cloud", python(code), tmp_path / "log") as child, pytest.raises(ProcessError) as caught:
        child.wait(20)
    assert "the cloud ended with exit code 1: port 7600 is in use; choose another" in str(caught.value)


def test_a_child_that_does_not_end_in_time_is_an_error(tmp_path):
    seen = []
    with (
        Child("sleeper", python(SLEEP), tmp_path / "log") as child,
        pytest.raises(ProcessError, match="did not end within"),
    ):
        child.wait(0.1, lambda: seen.append(1))
    assert seen


def test_a_child_that_ended_well_is_not_running_either(tmp_path):
    with Child("the cloud", python("print('bye')"), tmp_path / "log") as child:
        child.wait(20)
        with pytest.raises(ProcessError, match="ended with exit code 0: bye"):
            child.ensure_running()


def test_wait_ready_returns_once_the_page_answers(tmp_path):
    (port,) = free_ports(1)
    with Child("server", python(SERVE, str(port)), tmp_path / "log") as child:
        wait_ready(child, port)
        assert fetch(port, "/readyz") == "ready"
        assert fetch(port, "/other") is None


def test_wait_ready_tells_of_a_child_that_ended(tmp_path):
    with (
        Child("server", python("raise SystemExit('no data folder')"), tmp_path / "log") as child,
        pytest.raises(ProcessError, match="no data folder"),
    ):
        wait_ready(child, free_ports(1)[0])


def test_free_ports_are_different_and_free():
    first, second = free_ports(2)
    assert first != second
    with socket.socket() as item:
        item.bind(("127.0.0.1", first))


def test_our_programs_run_wherever_we_stand(tmp_path, monkeypatch):
    (tmp_path / "edge").mkdir()
    (tmp_path / "edge" / "__init__.py").write_text("raise SystemExit('the wrong package')")
    monkeypatch.chdir(tmp_path)
    run_program("skyloop-edge", "keys", "new", "--out", str(tmp_path / "keys"), log=tmp_path / "log")
    assert (tmp_path / "keys" / "edge.pub").is_file()


def test_the_child_is_named_after_its_program():
    assert "skyloop-cloud" in command_of("skyloop-cloud", "serve")[2]


def test_a_child_is_asked_to_end_without_waiting(tmp_path):
    with Child("sleeper", python(SLEEP), tmp_path / "log") as child:
        wait_for_log(child)
        child.end()
        assert child.stop() == -15


def test_a_killed_child_has_no_last_word(tmp_path):
    with Child("stubborn", python(STUBBORN), tmp_path / "log") as child:
        wait_for_log(child)
        child.kill()
        child.kill()
        assert child.returncode == -9


def test_a_program_is_asked_and_its_error_told(tmp_path):
    said = ask_program("skyloop-edge", "keys", "new", "--out", str(tmp_path / "keys"))
    assert "edge.pub" in said
    with pytest.raises(ProcessError, match=r"skyloop-cloud cases: .*no case store"):
        ask_program("skyloop-cloud", "cases", "--data", str(tmp_path))
    with pytest.raises(ProcessError, match="did not end within 0 s"):
        ask_program("skyloop-edge", "keys", "new", "--out", str(tmp_path / "other"), timeout_s=0.01)
