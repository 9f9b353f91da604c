"""What a link is like when: stretches of time, from windows, from a trace file, or from passes of a satellite."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from pydantic import ValidationError

from edge.config import first_problem
from sim.errors import ScenarioError
from sim.scenario.conditions import LinkProfile
from sim.scenario.intervals import Span

LinkState: TypeAlias = Literal["up", "cut", "outage", "black-hole", "half-open"]
"""`up` passes bytes on. `cut` refuses connections and cuts those there are, as a router without a route. `outage` is
silence: nothing is refused and nothing is lost, and TCP finds out by itself when the path is back. `black-hole` accepts
connections and swallows what comes; who lost something in it is cut afterwards. `half-open` forgets the connections
there are at its beginning without a word to either side; new ones pass.
"""

STATES: tuple[LinkState, ...] = get_args(LinkState)

_PLACE_COLUMNS = ("from_s", "to_s", "state")
_NUMBER_COLUMNS = ("edge_to_cloud_bps", "cloud_to_edge_bps", "latency_ms", "jitter_ms", "loss", "bit_error_rate")
_MOST_ROWS = 1_000_000
_SEAM_S = 1e-6
"""Rounding that two rows may differ by where they meet."""


@dataclass(frozen=True)
class Stretch:
    """How a link is from a moment on, until the next stretch.

    Attributes:
        from_s: seconds since the link's begin.
        state: see `LinkState`.
        profile: rates, delays and errors.
    """

    from_s: float
    state: LinkState
    profile: LinkProfile


def always(profile: LinkProfile) -> list[Stretch]:
    """A link that is up for ever."""
    return [Stretch(0.0, "up", profile)]


def in_spans(profile: LinkProfile, spans: Sequence[Span]) -> list[Stretch]:
    """A link that is up in these spans, in order and without overlap, and cut between and after them."""
    stretches = [Stretch(0.0, "cut", profile)]
    for start_s, end_s in spans:
        stretches += [Stretch(start_s, "up", profile), Stretch(end_s, "cut", profile)]
    starts = [stretch.from_s for stretch in stretches] + [math.inf]
    return [stretch for stretch, end_s in zip(stretches, starts[1:], strict=True) if stretch.from_s < end_s]


def repeated(stretches: Sequence[Stretch], period_s: float) -> Iterator[Stretch]:
    """The same stretches again and again, `period_s` apart; once where that is infinite."""
    if math.isinf(period_s):
        yield from stretches
        return
    for turn in itertools.count():
        for stretch in stretches:
            yield Stretch(stretch.from_s + turn * period_s, stretch.state, stretch.profile)


@dataclass(frozen=True)
class Trace:
    """A link as a file tells it; after its end it begins again.

    Attributes:
        stretches: the first from second 0.
        period_s: its length; infinite where its last row never ends.
    """

    stretches: tuple[Stretch, ...]
    period_s: float

    def schedule(self) -> Iterator[Stretch]:
        """Its stretches, without end where it ends."""
        return repeated(self.stretches, self.period_s)


def read_trace(path: Path, profile: LinkProfile) -> Trace:
    """A link from a CSV file.

    Its first line names the columns: `from_s`, `to_s` and `state`, and any of `edge_to_cloud_bps`,
    `cloud_to_edge_bps`, `latency_ms`, `jitter_ms`, `loss`, `bit_error_rate`. Every further line is a stretch; the
    first begins at 0, each begins where the one before ends, and the last may end at `inf`. An empty cell, or a column
    that is not there, is as in `profile`. Lines that begin with `#` are comments.

    Args:
        path: the file.
        profile: what the file does not say.

    Raises:
        ScenarioError: the file cannot be read, or a line of it cannot be meant; the message names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise ScenarioError(f"{path}: cannot be read as text ({exc}); give a CSV file of docs/link.md") from exc
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    if len(numbered) < 2 or len(numbered) > _MOST_ROWS:
        raise ScenarioError(f"{path}: {len(numbered)} lines; give a header and 1 to {_MOST_ROWS} stretches")
    columns = _columns(path, numbered[0][1])
    stretches: list[Stretch] = []
    end_s = 0.0
    for number, line in numbered[1:]:
        try:
            cells = _cells(columns, next(csv.reader([line])))
            start_s, end_s = _span(cells, end_s)
            stretches.append(Stretch(start_s, _state(cells), _profile(cells, profile)))
        except ValueError as exc:
            raise ScenarioError(f"{path}, line {number}: {exc}") from exc
    return Trace(tuple(stretches), end_s)


def write_trace(path: Path, stretches: Iterable[Stretch], end_s: float) -> None:
    """Write stretches as `read_trace` reads them.

    Args:
        path: the file; replaced.
        stretches: in order, the first from second 0, finitely many.
        end_s: of the last one.
    """
    rows = list(stretches)
    ends = [*(stretch.from_s for stretch in rows[1:]), end_s]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow((*_PLACE_COLUMNS, *_NUMBER_COLUMNS))
        for stretch, until_s in zip(rows, ends, strict=True):
            numbers = (f"{getattr(stretch.profile, name):.10g}" for name in _NUMBER_COLUMNS)
            writer.writerow((f"{stretch.from_s:.6f}", f"{until_s:.6f}", stretch.state, *numbers))


def _columns(path: Path, header: str) -> list[str]:
    columns = [name.strip() for name in next(csv.reader([header]))]
    known = (*_PLACE_COLUMNS, *_NUMBER_COLUMNS)
    strange = [name for name in columns if name not in known] + [name for name in _PLACE_COLUMNS if name not in columns]
    if strange or len(set(columns)) < len(columns):
        raise ScenarioError(
            f"{path}: column {(strange or ['named twice'])[0]!r}: the header names from_s, to_s, state and any of "
            f"{', '.join(_NUMBER_COLUMNS)}, each once"
        )
    return columns


def _cells(columns: list[str], row: list[str]) -> dict[str, str]:
    if len(row) > len(columns):
        raise ValueError(f"{len(row)} cells, and the header names {len(columns)} columns; remove {row[len(columns)]!r}")
    return dict(zip(columns, row, strict=False))


def _span(cells: dict[str, str], before_s: float) -> Span:
    start_s, end_s = (_number(cells, name) for name in ("from_s", "to_s"))
    if abs(start_s - before_s) > _SEAM_S:
        what = "a gap" if start_s > before_s else "an overlap"
        raise ValueError(f"{what}: from_s is {start_s:g}, and the line before ends at {before_s:g}; let them meet")
    if end_s <= start_s:
        raise ValueError(f"to_s = {end_s:g} is not after from_s = {start_s:g}; give a stretch of some length")
    return before_s, end_s


def _number(cells: dict[str, str], name: str) -> float:
    text = cells.get(name, "").strip()
    try:
        value = float(text)
    except ValueError as exc:
        raise ValueError(f"{name} = {text!r} is no number") from exc
    if math.isnan(value) or value < 0:
        raise ValueError(f"{name} = {text} is negative or no number; give 0 or more")
    return value


def _state(cells: dict[str, str]) -> LinkState:
    state = cells.get("state", "").strip()
    for known in STATES:
        if state == known:
            return known
    raise ValueError(f"state = {state!r} is none of {', '.join(STATES)}")


def _profile(cells: dict[str, str], profile: LinkProfile) -> LinkProfile:
    told = {name: _number(cells, name) for name in _NUMBER_COLUMNS if cells.get(name, "").strip()}
    try:
        return LinkProfile.model_validate({**profile.model_dump(), **told})
    except ValidationError as exc:
        raise ValueError(first_problem(exc)) from exc
