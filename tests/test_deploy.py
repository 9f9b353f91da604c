"""What deployment rests on: that files, packages, commands and options named in `deploy/` are there."""

import functools
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from edge.config import tomllib

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONTAINERFILES = sorted(DEPLOY.glob("Containerfile.*"))


def instructions(path):
    """(instruction, rest) of each line of a Containerfile, continuations joined."""
    text = re.sub(r"\\\n", " ", path.read_text())
    lines = (line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines]


@functools.cache
def options_of(command, *words):
    """The options that a command of ours has, by its help."""
    package = command.removeprefix("skyloop-")
    code = f"from {package}.cli import main; main()"
    run = [sys.executable, "-W", "ignore", "-c", code, *words, "--help"]
    done = subprocess.run(
        run, capture_output=True, text=True, check=True, env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"}
    )
    return set(re.findall(r"--[a-z][a-z-]+", done.stdout))


@pytest.mark.parametrize("path", CONTAINERFILES, ids=lambda path: path.name)
def test_containerfile_copies_what_is_there_and_runs_as_nobody_special(path):
    found = instructions(path)
    copied = [word for name, rest in found if name == "COPY" and "--from" not in rest for word in rest.split()[:-1]]
    assert {"pyproject.toml", "constraints.txt", "protocols", "edge"} <= set(copied)
    assert [word for word in copied if not word.startswith("$") and not (ROOT / word).exists()] == []
    assert [rest for name, rest in found if name == "USER"] == ["skyloop"]
    last = {name: rest for name, rest in found}
    (program,) = yaml.safe_load(last["ENTRYPOINT"])
    assert program in PROJECT["scripts"]
    command = yaml.safe_load(last["CMD"])
    assert {word for word in command if word.startswith("--")} <= options_of(program, command[0])


@pytest.mark.parametrize("path", CONTAINERFILES, ids=lambda path: path.name)
def test_containerfile_installs_extras_that_exist(path):
    runs = " ".join(rest for name, rest in instructions(path) if name == "RUN")
    extras = {name for listed in re.findall(r"'\.\[([a-z,]+)\]'", runs) for name in listed.split(",")}
    assert extras <= set(PROJECT["optional-dependencies"])
    assert "opencv-python==" in (ROOT / "constraints.txt").read_text()  # which the headless build follows


def test_jetson_takes_every_dependency_but_onnxruntime():
    def names(lines):
        return {re.split(r"[<>=;\[ ]", line)[0] for line in lines if line and not line.startswith("#")}

    wanted = names(PROJECT["dependencies"]) - {"onnxruntime", "opencv-python"}
    given = names((DEPLOY / "requirements-jetson.txt").read_text().splitlines())
    assert given - {"opencv-python-headless"} == wanted


def test_compose_builds_from_our_files_and_gives_the_edge_real_options():
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    for service in services.values():
        folder = (DEPLOY / service["build"]["context"]).resolve()
        assert (folder / service["build"]["dockerfile"]).is_file()
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    given = {word.split("=")[0] for word in services["craft"]["command"] if word.startswith("--")}
    assert given <= options_of("skyloop-edge", "run")
    assert services["cloud"]["ports"][1].startswith("127.0.0.1:")  # the console speaks no TLS by itself


def test_data_folder_is_inside_the_volume_so_that_a_restore_can_take_its_place():
    found = dict(instructions(DEPLOY / "Containerfile.cloud"))
    command = yaml.safe_load(found["CMD"])
    data = Path(command[command.index("--data") + 1])
    cloud = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["cloud"]
    assert {volume.split(":")[1] for volume in cloud["volumes"]} == {str(data.parent)} == {found["VOLUME"]}
    told = re.findall(r"--data (/var/lib/skyloop\S*)", (ROOT / "docs" / "deployment.md").read_text())
    assert set(told) == {str(data)}


def unit_command():
    text = re.sub(r"\\\n", " ", (DEPLOY / "skyloop-edge.service").read_text())
    (line,) = re.findall(r"^ExecStart=(.*)$", text, re.M)
    return shlex.split(line)


def test_unit_starts_the_edge_with_options_it_has():
    program, command, *words = unit_command()
    assert Path(program).name in PROJECT["scripts"]
    assert {word for word in words if word.startswith("--")} <= options_of("skyloop-edge", command)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_unit_is_one_that_systemd_understands(tmp_path):
    unit = tmp_path / "skyloop-edge.service"
    text = (DEPLOY / "skyloop-edge.service").read_text()
    unit.write_text(text.replace("/opt/skyloop/bin/skyloop-edge", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    rated = ["systemd-analyze", "security", "--offline=true", "--threshold=25", unit]
    assert subprocess.run(rated, capture_output=True, check=False).returncode == 0
