"""What a long command shows while it works: bars on a terminal, one line per stage elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

console = Console(soft_wrap=True)
error_console = Console(stderr=True, soft_wrap=True)
"""Of every command: answers go to standard output, progress, warnings and errors to standard error."""

Advance = Callable[[int, str], None]
"""Takes how much of the stage is done, and a few words that follow its name."""


class Display:
    """Stages of a command, on standard error."""

    def __init__(self, console: Console | None = None) -> None:
        """Use a console; by default standard error, so that standard output stays a program's answer."""
        self._console = console or error_console

    def note(self, words: str) -> None:
        """One line between stages that the user should know."""
        self._console.print(words, highlight=False, markup=False)

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        """One stage, shown until the context ends.

        Args:
            name: what is being done.
            total: how much there is of it; None where nobody knows.
        """
        start_s = time.monotonic()
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        said = ""
        with Progress(*columns, console=self._console, disable=not self._console.is_terminal) as progress:
            task = progress.add_task(name, total=total)

            def advance(done: int, words: str = "") -> None:
                nonlocal said
                said = words
                progress.update(task, completed=done, description=f"{name}  {words}" if words else name)

            yield advance
        if not self._console.is_terminal:
            tail = f"  {said}" if said else ""
            self._console.print(f"{name}{tail}  ({time.monotonic() - start_s:.1f} s)", highlight=False)


def quiet_logs() -> None:
    """Only warnings, to stderr: the programs we start keep logs of their own."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(30),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
