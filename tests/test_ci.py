"""The run of CI itself: what it must not pass over in silence."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

RUN = Path(__file__).parents[1] / ".ci" / "run"


@pytest.fixture
def machine(tmp_path):
    """A folder of programs, as root's on a machine without chromium, where apt installs nothing."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "dirname", "rm", "mkdir", "touch"):
        (programs / name).symlink_to(shutil.which(name))
    written = {
        "apt-get": "exit 100",
        "id": "echo 0",
        "python3": 'mkdir -p "$3/bin"; touch "$3/bin/activate"',
        "pip": "echo pip was reached; exit 7",
    }
    for name, text in written.items():
        (programs / name).write_text(f"#!{shutil.which('bash')}\n{text}\n")
        (programs / name).chmod(0o755)
    (tmp_path / ".ci").mkdir()
    shutil.copy(RUN, tmp_path / ".ci" / "run")
    return tmp_path


@pytest.mark.parametrize(("is_ci", "code", "said"), [("true", 1, "CI must try the console"), ("", 7, "are skipped")])
def test_ci_fails_without_a_browser_and_a_developer_is_told(machine, is_ci, code, said):
    env = {"PATH": str(machine / "bin"), "CI": is_ci, "HOME": os.environ.get("HOME", "/")}
    run = ["bash", str(machine / ".ci" / "run")]
    done = subprocess.run(run, env=env, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True)
