"""A real `skyloop-cloud serve` in a process of its own, on free ports of loopback."""

import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def arguments_of(data, bundle):
    """Options of `serve` on a data folder, the bundle as teacher and student."""
    return {
        "--bind": f"tcp://127.0.0.1:{free_port()}",
        "--http": f"127.0.0.1:{free_port()}",
        "--data": str(data),
        "--teacher": str(bundle),
        "--student": str(bundle),
    }


@contextmanager
def serving_process(arguments):
    """The process, ready; killed at the end, however that is reached."""
    flat = [part for pair in arguments.items() for part in pair]
    words = [sys.executable, "-c", "from cloud.cli import main; main()", "serve", *flat]
    # A file, for a pipe that nobody reads would stop it once it is full.
    with tempfile.TemporaryFile("w+") as errors, subprocess.Popen(words, stderr=errors) as process:
        try:
            wait_ready(arguments["--http"], process, errors)
            yield process
        finally:
            process.kill()
            process.wait()


def wait_ready(http, process, errors, limit_s=90):
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline and process.poll() is None:
        try:
            return urllib.request.urlopen(f"http://{http}/readyz", timeout=5).read()
        except OSError:
            time.sleep(0.05)
    errors.seek(0)
    raise AssertionError(f"not ready: {errors.read()[-4000:]}")
