"""The way in and out that all command lines share: one line on standard error for everything that is foreseen.

Exit codes are those of most tools: 0, 2 where the command line itself cannot be meant, 1 for every other error.
"""

from __future__ import annotations

from typing import NoReturn

import typer
from rich.console import Console
from rich.text import Text

from protocols.errors import SkyloopError

USAGE_CODE = 2

# Typer carries its own copy of click since 0.26 and exports the leaves of its errors only.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def run_program(app: typer.Typer) -> NoReturn:
    """Runs a command line and ends the process.

    Raises:
        SystemExit: always; the exit code tells how it went.
    """
    try:
        code = app(standalone_mode=False)
    except SkyloopError as exc:
        fail(str(exc), getattr(exc, "exit_code", 1))
    except typer.Abort:
        fail("aborted")
    except _UsageError as exc:
        if type(exc).__name__ == "NoArgsIsHelpError":  # the help is printed; older versions have no such class
            raise SystemExit(USAGE_CODE) from exc
        fail(_usage_line(exc), USAGE_CODE)
    raise SystemExit(code if isinstance(code, int) else 0)


def fail(reason: str, code: int = 1) -> NoReturn:
    """Ends the process with one line.

    Raises:
        SystemExit: always.
    """
    # Text, not markup: a message may hold brackets, and some libraries' messages hold line breaks.
    line = Text.assemble(("error:", "red"), " ", " ".join(reason.split()))
    Console(stderr=True, soft_wrap=True, highlight=False).print(line)
    raise SystemExit(code)


def _usage_line(error: Exception) -> str:
    """What is wrong with the command line, and where its options are explained."""
    said: str = error.format_message() if hasattr(error, "format_message") else str(error)
    said = said.replace("Value error, ", "")  # a word of pydantic, which newer versions of Typer check with
    context = getattr(error, "ctx", None)
    program = context.command_path if context is not None else "the program"
    said = f"{said[:1].lower()}{said[1:].rstrip('. ')}"
    return f"{said}{'' if said.endswith('?') else ';'} see `{program} --help`"
