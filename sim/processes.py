"""The real programs as child processes on loopback: started, waited for, and always ended by their id."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

from sim.errors import OutputError, ProcessError

LOOPBACK = "127.0.0.1"
PROGRAMS = {
    "skyloop-edge": "edge.cli",
    "skyloop-cloud": "cloud.cli",
    "quiet-cloud": "sim.quiet_cloud",  # of the overhead benchmark
    "link-cloud": "sim.link_cloud",  # these four of the link benchmark
    "case-sender": "sim.case_sender",
    "many-edges": "sim.many_edges",
    "flying-agent": "sim.flying_agent",
    "serving-load": "sim.serving_load",  # of the serving benchmark
}
"""Module of each program; its function `main` is the entry point."""

# The child finds modules exactly where this process does: no console script on the PATH is needed, and a folder named
# `edge` where the user happens to stand is not mistaken for the package.
_LAUNCH = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); sys.argv[0] = {name!r}; "
    "from {module} import main; main()"
)

_TERM_GRACE_S = 10.0
_POLL_S = 0.05
_HTTP_TIMEOUT_S = 2.0


def command_of(program: str, *arguments: str) -> list[str]:
    """The command line that runs one of our programs with this very interpreter and source.

    Args:
        program: a key of `PROGRAMS`.
        arguments: what follows it.
    """
    launch = _LAUNCH.format(name=program, module=PROGRAMS[program])
    return [sys.executable, "-c", launch, json.dumps(sys.path), *arguments]


class Child:
    """One running program with its log; leaving the context ends it."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        has_children: bool = False,
    ) -> None:
        """Start it.

        Args:
            name: for messages.
            command: program and arguments.
            log: gets its standard output and standard error.
            environment: variables; None is ours.
            has_children: whether `stop` ends what it may have left behind, too.

        Raises:
            OutputError: the log cannot be written.
            ProcessError: the program cannot be started.
        """
        self.name, self.log, self._has_children = name, log, has_children
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("wb") as file:
                # A session of its own: Ctrl-C reaches us alone, and we end the children in order.
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
                    command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, env=environment
                )
        except FileNotFoundError as exc:
            raise ProcessError(f"{name}: {exc.filename} cannot be started; is Python still installed there?") from exc
        except OSError as exc:
            raise OutputError(f"{log}: cannot be written ({exc.strerror}); choose another folder") from exc

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.poll()

    def __enter__(self) -> Self:
        """This child."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it if it still runs."""
        self.stop()

    def ensure_running(self) -> None:
        """Nothing while it runs.

        Raises:
            ProcessError: it ended, well or not.
        """
        if self.returncode is not None:
            raise ProcessError(f"{self.name} ended with exit code {self.returncode}: {self.last_words()}")

    def wait(self, timeout_s: float, on_wait: Callable[[], None] | None = None) -> None:
        """Return once it ended well.

        Args:
            timeout_s: patience.
            on_wait: called about 20 times a second meanwhile.

        Raises:
            ProcessError: it ended with an error, or not in time.
        """
        deadline_s = time.monotonic() + timeout_s
        while self.returncode is None:
            if time.monotonic() > deadline_s:
                raise ProcessError(f"{self.name} did not end within {timeout_s:.0f} s; see {self.log}")
            if on_wait is not None:
                on_wait()
            time.sleep(_POLL_S)
        if self.returncode:
            self.ensure_running()

    def end(self) -> None:
        """SIGTERM, without waiting."""
        if self.returncode is None:
            self._process.terminate()

    def pause(self) -> None:
        """Stop it and what it started from running, until `resume`."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run again."""
        os.killpg(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL: it ends as if the power had gone."""
        if self.returncode is None:
            self._process.kill()
            self._process.wait()

    def stop(self, grace_s: float = _TERM_GRACE_S) -> int:
        """SIGTERM, and SIGKILL if it has not ended after the grace; returns its exit code."""
        if self.returncode is None:
            self.resume()  # where it was paused, it could not end
            self._process.terminate()
            try:
                self._process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
        if self._has_children:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)  # the session that it leads
        return self._process.wait()

    def last_words(self) -> str:
        """The line of its log that tells best why it ended: the last error, else the last line."""
        lines = [line.strip() for line in _tail(self.log).splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower()]
        return (errors or lines or ["it said nothing"])[-1].removeprefix("error: ")[:400] + f" (log: {self.log})"


def run_program(program: str, *arguments: str, log: Path, timeout_s: float = 90.0) -> None:
    """Run one of our programs to its end.

    Raises:
        ProcessError: it ended with an error, or not in time.
    """
    with Child(program, command_of(program, *arguments), log) as child:
        child.wait(timeout_s)


def ask_program(program: str, *arguments: str, timeout_s: float = 60.0) -> str:
    """What one of our programs prints.

    Raises:
        ProcessError: it ended with an error, which is told, or not in time.
    """
    command = command_of(program, *arguments)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as exc:
        raise ProcessError(f"{program} {arguments[0]} did not end within {timeout_s:.0f} s") from exc
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise ProcessError(f"{program} {arguments[0]}: {said[-1].removeprefix('error: ')}")
    return done.stdout


def wait_ready(child: Child, http_port: int, timeout_s: float = 90.0, path: str = "/readyz") -> None:
    """Return once a program answers 200 on its readiness page.

    Raises:
        ProcessError: it ended, or was not ready in time.
    """
    deadline_s = time.monotonic() + timeout_s
    while fetch(http_port, path) is None:
        child.ensure_running()
        if time.monotonic() > deadline_s:
            raise ProcessError(f"{child.name} was not ready within {timeout_s:.0f} s: {child.last_words()}")
        time.sleep(_POLL_S)


def fetch(port: int, path: str) -> str | None:
    """A page of a program on this machine; None unless it answers 200."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=_HTTP_TIMEOUT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read().decode("utf-8", "replace")
        return body if response.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def free_ports(count: int) -> list[int]:
    """Different TCP ports of loopback that nobody used a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for item in sockets:
            item.bind((LOOPBACK, 0))
        return [item.getsockname()[1] for item in sockets]
    finally:
        for item in sockets:
            item.close()


def _tail(path: Path, limit_bytes: int = 16_384) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - limit_bytes, 0))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def end_children_on_sigterm() -> None:
    """SIGTERM leaves through every `with`, so that the programs we started end before we do."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
