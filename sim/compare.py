"""Two runs side by side: what `run.json` or a demo's `report.json` says of each, and the difference."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sim.errors import RecordError

DEMO_SCENARIO, DEMO_CRAFT = "disaster", "demo-craft"
"""What the demo flies; its `report.json` does not say so."""

Curve = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class CraftMeasures:
    """What is compared of one craft.

    Attributes:
        values: by name of the measure, in the order shown; None where it was not measured.
        recall: recall over time by label.
        sent_kb: kB from edge to cloud over time.
        loops_ms: loop latency by the second at which its case was taken.
        power_w: the power estimate over time.
    """

    values: Mapping[str, float | None]
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
    """

    folder: Path
    scenario: str
    seed: int
    craft: Mapping[str, CraftMeasures]
    is_demo: bool = False


@dataclass(frozen=True)
class Row:
    """One measure of both runs.

    Attributes:
        measure: its name.
        a: of the first run; None where it was not measured.
        b: of the second.
        difference: b - a; None where one is missing.
    """

    measure: str
    a: float | None
    b: float | None
    difference: float | None


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
    def rows(self) -> dict[str, list[Row]]:
        """The measures of every pair."""
        return {name: list(_rows(a.values, b.values)) for name, (a, b) in self.pairs.items()}

    def as_json(self) -> dict[str, Any]:
        """For a program."""
        runs = {
            key: {"folder": str(run.folder), "scenario": run.scenario, "seed": run.seed}
            for key, run in (("a", self.a), ("b", self.b))
        }
        craft = {name: [asdict(row) for row in rows] for name, rows in self.rows.items()}
        return {**runs, "warnings": list(self.warnings), "craft": craft}


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
            return read(folder, json.loads(path.read_text("utf-8")))
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
    return Comparison(a, b, list(_warnings(a, b, list(common))), common or in_order)


def _rows(a: Mapping[str, float | None], b: Mapping[str, float | None]) -> Iterator[Row]:
    for name in dict.fromkeys([*a, *b]):
        of_a, of_b = a.get(name), b.get(name)
        yield Row(name, of_a, of_b, None if of_a is None or of_b is None else round(of_b - of_a, 6))


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
    return RunMeasures(folder, str(run["scenario"]), int(run["seed"]), craft)


def _craft_of_run(row: Mapping[str, Any]) -> CraftMeasures:
    """One craft; recall, loops and power are missing in runs of earlier versions."""
    wire, recalls, power = row["bytes_on_the_wire"], row.get("recall", ()), row.get("power", {})
    values = {
        **_common(row, wire, row["loop_ms"]),
        **{f"recall of {item['label']}": item["recall"] for item in recalls},
        **{f"recall of {r['label']} after its prompt": r["after"] for r in recalls if r["after"] is not None},
        "power (W, estimate)": power.get("mean_w"),
    }
    return CraftMeasures(
        values=values,
        recall={item["label"]: _curve(item["over_time"]) for item in recalls},
        sent_kb=[(float(at_s), up / 1000) for at_s, up, _ in row["traffic"]],
        loops_ms=_curve(row.get("loops", ())),
        power_w=_curve(power.get("over_time", ())),
    )


def _of_demo(folder: Path, report: Mapping[str, Any]) -> RunMeasures:
    unfamiliar = report["unfamiliar"]
    values = {
        **_common(report, report["bytes"], report["loop_ms"]),
        f"recall of {unfamiliar['label']} after its prompt": unfamiliar["recall_after"],
    }
    return RunMeasures(folder, DEMO_SCENARIO, int(report["seed"]), {DEMO_CRAFT: CraftMeasures(values)}, is_demo=True)


def _common(
    row: Mapping[str, Any], wire: Mapping[str, float], loop_ms: Mapping[str, float | None]
) -> dict[str, float | None]:
    return {
        "frames": row["frames"],
        "frames/s": row["fps"],
        "cases sent": row["cases_sent"],
        "kB edge to cloud": wire["edge_to_cloud"] / 1000,
        "kB cloud to edge": wire["cloud_to_edge"] / 1000,
        "prompts applied": row["prompts_applied"],
        "loop p50 (ms)": loop_ms["p50"],
        "loop p99 (ms)": loop_ms.get("p99"),
    }


def _curve(points: Sequence[Sequence[float]]) -> Curve:
    return [(float(at_s), float(value)) for at_s, value in points]
