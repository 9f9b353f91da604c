"""Two runs side by side: what `run.json` or a demo's `report.json` says of each, and the difference."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from sim.day.settings import KIND
from sim.errors import RecordError
from sim.flight_curves import broken

DEMO_SCENARIO, DEMO_CRAFT = "disaster", "demo-craft"
"""What the demo flies; its `report.json` does not say so."""

_SLOWDOWN, _OTHER_PACE = "slowdown of the edge", 0.1
_WORDS = ("name", "description")

Curve = Sequence[tuple[float, float]]


class Measure(NamedTuple):
    """One number of one run.

    Attributes:
        value: None where it was not measured.
        digits: after the decimal point, as it is shown.
        label: of truth and detections that it is about; empty where it is about the whole flight.
    """

    value: float | None
    digits: int = 0
    label: str = ""


@dataclass(frozen=True)
class CraftMeasures:
    """What is compared of one craft.

    Attributes:
        values: by name of the measure, in the order shown.
        recall: recall over time by label.
        sent_kb: kB from edge to cloud over time.
        loops_ms: loop latency by the second at which its case was taken.
        power_w: the power estimate over time.
    """

    values: Mapping[str, Measure]
    recall: Mapping[str, Curve] = field(default_factory=dict)
    sent_kb: Curve = ()
    loops_ms: Curve = ()
    power_w: Curve = ()


@dataclass(frozen=True)
class RunMeasures:
    """What is compared of one run.

    Attributes:
        folder: as given.
        scenario: its name.
        seed: of the run.
        craft: by name.
        is_demo: whether it is a demo's report, which tells less.
        speed: seconds of flight in one second of the programs' clock.
        settings: of the scenario, by dotted key; empty where the run does not tell them.
    """

    folder: Path
    scenario: str
    seed: int
    craft: Mapping[str, CraftMeasures]
    is_demo: bool = False
    speed: float = 1.0
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One measure of both runs.

    Attributes:
        measure: its name.
        a: of the first run; None where it was not measured.
        b: of the second.
        difference: b - a; None where one is missing.
        digits: after the decimal point, as it is shown.
    """

    measure: str
    a: float | None
    b: float | None
    difference: float | None
    digits: int = 0


@dataclass(frozen=True)
class Setting:
    """A setting of the scenario in which two runs differ.

    Attributes:
        key: dotted, as in `link.latency_ms`.
        a: in the first run; None where it has no such key.
        b: in the second.
    """

    key: str
    a: str | None
    b: str | None


@dataclass(frozen=True)
class Comparison:
    """Two runs compared.

    Attributes:
        a: the first.
        b: the second.
        warnings: what makes the comparison doubtful, a line each.
        pairs: which craft are compared, by a name for both.
    """

    a: RunMeasures
    b: RunMeasures
    warnings: Sequence[str]
    pairs: Mapping[str, tuple[CraftMeasures, CraftMeasures]]

    @property
    def settings(self) -> list[Setting]:
        """Settings of the scenarios that differ; none where one of the runs does not tell its settings."""
        a, b = self.a.settings, self.b.settings
        keys = dict.fromkeys([*a, *b]) if a and b else ()
        return [Setting(key, a.get(key), b.get(key)) for key in keys if a.get(key) != b.get(key)]

    @property
    def rows(self) -> dict[str, list[Row]]:
        """The measures of every pair."""
        return {name: list(_rows(a.values, b.values)) for name, (a, b) in self.pairs.items()}

    def as_json(self) -> dict[str, Any]:
        """For a program."""
        runs = {
            key: {"folder": str(run.folder), "scenario": run.scenario, "seed": run.seed}
            for key, run in (("a", self.a), ("b", self.b))
        }
        craft = {name: [_without_digits(row) for row in rows] for name, rows in self.rows.items()}
        settings = [asdict(item) for item in self.settings]
        return {**runs, "warnings": list(self.warnings), "settings": settings, "craft": craft}


def read_run(folder: Path) -> RunMeasures:
    """What a run folder says of its run.

    Raises:
        RecordError: it is no run's and no demo's, or damaged.
    """
    for name, read in (("run.json", _of_run), ("report.json", _of_demo)):
        path = folder / name
        if not path.is_file():
            continue
        try:
            content = json.loads(path.read_text("utf-8"))
            if content.get("kind") == KIND:
                raise RecordError(f"{folder}: is of a satellite's day, whose checks stand in its report; give flights")
            return read(folder, content)
        except OSError as exc:
            raise RecordError(f"{path}: cannot be read ({exc.strerror}); check its permissions") from exc
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            what = f"no {exc}" if isinstance(exc, KeyError) else str(exc)
            raise RecordError(f"{path}: not what `skyloop-sim` writes ({what}); run the scenario again") from exc
    why = "holds neither run.json nor report.json" if folder.is_dir() else "is no folder"
    raise RecordError(f"{folder}: {why}; give a folder that `skyloop-sim run` or `skyloop-sim demo` wrote")


def compare_runs(a: RunMeasures, b: RunMeasures) -> Comparison:
    """Both runs side by side: craft of the same name, or, where no name is in both, craft in their order."""
    common = {name: (a.craft[name], b.craft[name]) for name in a.craft if name in b.craft}
    in_order = {
        f"{one} / {other}": (a.craft[one], b.craft[other]) for one, other in zip(a.craft, b.craft, strict=False)
    }
    pairs = common or in_order
    return Comparison(a, b, [*_warnings(a, b, list(common)), *_pace_warnings(a, b, pairs)], pairs)


def _rows(a: Mapping[str, Measure], b: Mapping[str, Measure]) -> Iterator[Row]:
    """The whole flight first, then label by label; what neither run measured of a label is left out."""
    found = {**b, **a}
    labels = list(dict.fromkeys(measure.label for measure in (*a.values(), *b.values())))
    for name in sorted(dict.fromkeys([*a, *b]), key=lambda name: labels.index(found[name].label)):
        of_a, of_b = (run[name].value if name in run else None for run in (a, b))
        if of_a is None and of_b is None and found[name].label:
            continue
        difference = None if of_a is None or of_b is None else round(of_b - of_a, 6)
        yield Row(name, of_a, of_b, difference, found[name].digits)


def _without_digits(row: Row) -> dict[str, Any]:
    return {"measure": row.measure, "a": row.a, "b": row.b, "difference": row.difference}


def _pace_warnings(
    a: RunMeasures, b: RunMeasures, pairs: Mapping[str, tuple[CraftMeasures, CraftMeasures]]
) -> Iterator[str]:
    if a.speed != b.speed:
        yield (
            f"flown {a.speed:g} and {b.speed:g} times as fast as it happens: "
            "cloud, link and people answer later in a faster flight"
        )
    for name, pair in pairs.items():
        of_a, of_b = (craft.values.get(_SLOWDOWN, Measure(None)).value for craft in pair)
        if of_a is not None and of_b is not None and abs(of_a - of_b) > _OTHER_PACE:
            yield (
                f"{name}: the edge took {of_a:.2f} s in A and {of_b:.2f} s in B for each recorded second, "
                "so that link and cloud had more time in one of them"
            )


def _warnings(a: RunMeasures, b: RunMeasures, common: Sequence[str]) -> Iterator[str]:
    if a.scenario != b.scenario:
        yield f"different scenarios, {a.scenario} and {b.scenario}: a difference may come from the scene alone"
    elif a.seed != b.seed:
        yield f"different seeds, {a.seed} and {b.seed}: another seed is another scene"
    if a.is_demo != b.is_demo:
        yield f"{(a if a.is_demo else b).folder} is a demo, whose bytes are counted before encryption"
    if not common:
        yield f"no craft in common: {', '.join(a.craft)} and {', '.join(b.craft)} are compared in this order"
        return
    for run in (a, b):
        if alone := [name for name in run.craft if name not in common]:
            yield f"only {run.folder} flew {', '.join(alone)}: left out"


def _of_run(folder: Path, run: Mapping[str, Any]) -> RunMeasures:
    craft = {name: _craft_of_run(row) for name, row in run["craft"].items()}
    if not craft:
        raise ValueError("it holds no craft")
    settings = {key: value for key, value in flat(run.get("settings", {})).items() if key not in _WORDS}
    speed = float(run.get("speed", 1.0))
    return RunMeasures(folder, str(run["scenario"]), int(run["seed"]), craft, speed=speed, settings=settings)


def flat(value: object, key: str = "") -> dict[str, str]:
    """Nested settings as JSON texts by dotted key; tables of a list are numbered from 0."""
    if isinstance(value, Mapping):
        items = [(str(name), inner) for name, inner in value.items()]
    elif isinstance(value, list) and any(isinstance(inner, Mapping) for inner in value):
        items = [(str(number), inner) for number, inner in enumerate(value)]
    else:
        return {key: json.dumps(value)}
    found = {}
    for name, inner in items:
        found.update(flat(inner, f"{key}.{name}" if key else name))
    return found


def _craft_of_run(row: Mapping[str, Any]) -> CraftMeasures:
    """One craft; recall, loops and power are missing in runs of earlier versions."""
    wire, recalls, power = row["bytes_on_the_wire"], row.get("recall", ()), row.get("power", {})
    values = {
        **_common(row, wire, row["loop_ms"]),
        "power (W, estimate)": Measure(power.get("mean_w"), 1),
        _SLOWDOWN: Measure(row.get("slowdown"), 2),
    }
    for item in (*recalls, *row.get("strays", ())):
        label = item["label"]
        values[f"recall of {label}"] = Measure(item.get("recall"), 2, label)
        values[f"recall of {label} after its prompt"] = Measure(item.get("after"), 2, label)
        values[f"false alarms of {label} a frame"] = Measure(item.get("false_alarms_per_frame"), 2, label)
    return CraftMeasures(
        values=values,
        recall={item["label"]: _recall_curve(item) for item in recalls},
        sent_kb=[(float(at_s), up / 1000) for at_s, up, _ in row["traffic"]],
        loops_ms=_curve(row.get("loops", ())),
        power_w=_curve(power.get("over_time", ())),
    )


def _of_demo(folder: Path, report: Mapping[str, Any]) -> RunMeasures:
    unfamiliar = report["unfamiliar"]
    label = unfamiliar["label"]
    values = {
        **_common(report, report["bytes"], report["loop_ms"]),
        f"recall of {label} after its prompt": Measure(unfamiliar["recall_after"], 2, label),
        f"false alarms of {label} a frame": Measure(unfamiliar.get("false_alarms_per_frame"), 2, label),
    }
    return RunMeasures(folder, DEMO_SCENARIO, int(report["seed"]), {DEMO_CRAFT: CraftMeasures(values)}, is_demo=True)


def _common(
    row: Mapping[str, Any], wire: Mapping[str, float], loop_ms: Mapping[str, float | None]
) -> dict[str, Measure]:
    return {
        "frames": Measure(row["frames"]),
        "frames/s": Measure(row["fps"], 1),
        "cases sent": Measure(row["cases_sent"]),
        "kB edge to cloud": Measure(wire["edge_to_cloud"] / 1000),
        "kB cloud to edge": Measure(wire["cloud_to_edge"] / 1000),
        "prompts applied": Measure(row["prompts_applied"]),
        "loop p50 (ms)": Measure(loop_ms["p50"]),
        "loop p99 (ms)": Measure(loop_ms.get("p99")),
    }


def _recall_curve(item: Mapping[str, Any]) -> Curve:
    """With gaps; runs of earlier versions do not tell the length of a bin, whose least distance stands for it."""
    points = _curve(item["over_time"])
    apart_s = [later[0] - sooner[0] for sooner, later in pairwise(points)]
    return broken(points, float(item.get("bin_s") or min(apart_s, default=1.0)))


def _curve(points: Sequence[Sequence[float]]) -> Curve:
    return [(float(at_s), float(value)) for at_s, value in points]
