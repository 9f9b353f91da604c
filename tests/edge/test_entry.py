from typing import Annotated

import pytest
import typer

from edge.entry import run_program
from edge.errors import ConfigError

app = typer.Typer(no_args_is_help=True)


@app.command()
def fly(frames: Annotated[int, typer.Option(min=1, max=9)] = 1, broken: bool = False, tired: bool = False) -> None:
    """Fly."""
    if broken:
        raise ConfigError("wing[0] = 'left':\nis missing; add one")
    if tired:
        raise typer.Exit(3)


@app.command()
def land() -> None:
    """Land."""


@pytest.fixture
def run(monkeypatch, capsys):
    """Exit code and standard error of a command line."""

    def call(*words):
        monkeypatch.setattr("sys.argv", ["skyloop-x", *words])
        with pytest.raises(SystemExit) as caught:
            run_program(app)
        return caught.value.code, capsys.readouterr().err

    return call


@pytest.mark.parametrize(
    ("words", "line"),  # the rest of the line is Typer's, and another one in each of its versions
    [
        (["fly", "--frames", "0"], "error: invalid value for '--frames': "),
        (["fly", "--frames", "abc"], "error: invalid value for '--frames': "),
        (["fly", "--farmes", "1"], "error: no such option: --farmes"),
        (["lnad"], "error: no such command 'lnad'"),
        (["fly", "extra"], "error: got unexpected extra argument"),
    ],
    ids=["range", "number", "option", "command", "argument"],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(run, words, line):
    code, said = run(*words)
    assert code == 2
    assert said.startswith(line)
    assert said.endswith(f"skyloop-x{' fly' if words[0] == 'fly' else ''} --help`\n")
    assert said.count("\n") == 1


def test_a_foreseen_error_is_one_line_and_exit_code_1(run):
    assert run("fly", "--broken") == (1, "error: wing[0] = 'left': is missing; add one\n")


def test_other_exit_codes_are_kept(run):
    assert run("fly")[0] == 0
    assert run("fly", "--tired")[0] == 3


def test_no_command_shows_the_help(run):
    code, said = run()
    assert code in (0, 2)
    assert "error" not in said
