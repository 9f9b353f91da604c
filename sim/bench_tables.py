"""What `skyloop-sim bench` found, as tables for people."""

from __future__ import annotations

from typing import Any

from rich.table import Table


def link_tables(result: dict[str, Any], by_kind: dict[str, dict[str, float]]) -> list[Table]:
    """Of `bench link`, a table for each part that was measured."""
    tables = []
    if "recovery" in result:
        found = result["recovery"]
        title = f"Recovery: {found['points']} faults, {found['lost']} cases lost, {found['doubled']} applied twice"
        tables.append(_table(title, "fault", "times", "median s", "most s"))
        for name, row in {**by_kind, "all": {"points": found["points"], **found["resume_s"]}}.items():
            tables[-1].add_row(name, str(row["points"]), f"{row['p50']:.2f}", f"{row['max']:.2f}")
    if "age_ms" in result:
        tables.append(
            _table("Age of a frame when its turn comes: 30 a second, 10 consumed", "system", "median ms", "p99 ms")
        )
        for name, row in result["age_ms"].items():
            tables[-1].add_row(name, f"{row['p50']:.0f}", f"{row['p99']:.0f}")
    if "throughput_mb_s" in result:
        tables.append(_table("Throughput of encoded 640x512 pictures on loopback", "system", "MB/s"))
        for name, rate in result["throughput_mb_s"].items():
            tables[-1].add_row(name, f"{rate:.1f}")
    if "many_edges" in result:
        found = result["many_edges"]
        tables.append(_table("One gateway", "edges", "cores", "receipt, median ms", "p99 ms"))
        receipt = found["receipt_ms"]
        tables[-1].add_row(
            str(found["edges"]), f"{found['cores']:.2f}", f"{receipt['p50']:.0f}", f"{receipt['p99']:.0f}"
        )
    if "agent_frame_rate" in result:
        tables.append(_frame_rate_table(result["agent_frame_rate"]))
    return tables


def _frame_rate_table(found: dict[str, Any]) -> Table:
    table = _table("The agent's frame rate", "link", "frames/s", "of the good link's", "quartiles", "cases delivered")
    for name, fps in found["fps"].items():
        low, high = found["quartiles"].get(name, (1.0, 1.0))
        ratio = f"{found['ratio'].get(name, 1.0):.3f}"
        table.add_row(name, f"{fps:.1f}", ratio, f"{low:.3f} to {high:.3f}", str(found["delivered"][name]))
    return table


def tracking_table(result: dict[str, Any]) -> Table:
    """Of `bench tracking`, a row for each tracker."""
    table = Table(title=f"{len(result['sequences'])} sequences, {result['threads']} thread(s), 95 % by bootstrap")
    columns = ("tracker", "AUC", "95 %", "20 px", "norm.", "false", "again", "fps", "ask", "kB")
    for name in columns:
        table.add_column(name, justify="left" if name == "tracker" else "right", no_wrap=name == "tracker")
    table.caption = (
        "20 px: share within; norm.: normalised precision; false: share claimed elsewhere; again: until found again; "
        "ask: questions in 100 frames"
    )
    for name, row in result["mean"].items():
        low, high = row["auc_interval"]
        scores = (f"{row[key]:.3f}" for key in ("p20", "norm_precision"))
        again = "" if row["reacquire_s"] is None else f"{row['reacquire_s']:.1f}s"
        claims = (f"{row['false_tracked']:.1%}", again, f"{row['fps']:.0f}")
        cost = (f"{row['requests_per_100']:.2f}", f"{row['bytes'] / 1000:.0f}")
        table.add_row(name, f"{row['auc']:.3f}", f"{low:.2f}-{high:.2f}", *scores, *claims, *cost)
    return table


def follow_table(result: dict[str, Any], title: str) -> Table:
    """Of `bench follow`, a row for each number of targets."""
    table = _table(title, "targets", "frames/s", "90 % within ms", "followed")
    for count, row in result["targets"].items():
        table.add_row(count, f"{row['fps']:.0f}", f"{row['ms_p90']:.1f}", f"{row['followed']:.0%}")
    return table


def presence_table(result: dict[str, Any]) -> Table:
    """Of `bench presence`, a row for targets with and without a label."""
    table = Table(title=f"{result['disappearances']} disappearances")
    for name in ("target", "lost in time", "found in time", "false tracked", "false lost"):
        table.add_column(name, justify="left" if name == "target" else "right")
    for name, row in result.items():
        if isinstance(row, dict):
            shares = (f"{row[key]:.1%}" for key in ("lost", "found", "false_tracked", "false_lost"))
            table.add_row(name.replace("_", " "), *shares)
    return table


def offload_table(result: dict[str, Any], split: str) -> Table:
    """Of `bench offload`, a row for each model."""
    counts = {"all": result["images"], "hard": result["hard_images"]}
    table = Table(title=f"HIT-UAV {split}, mAP50")
    table.add_column("model")
    for which, count in counts.items():
        table.add_column(f"{which} ({count} images)", justify="right")
    for model in result["all"]:
        table.add_row(model, *(_score(result[which][model]["map50"]) for which in counts))
    return table


def find_table(result: dict[str, Any]) -> Table:
    """Of `bench find`, three ways for each set."""
    table = Table(title="Found again")
    for name in ("set", "searches", "by", "best place", "best five", "best, < 16 px"):
        table.add_column(name, justify="left" if name in ("set", "by") else "right")
    for name, row in result.items():
        for way in ("teacher", "cosine", "label"):
            found = row[way]
            scores = (_score(found[key]) for key in ("top1", "recall5", "top1_small"))
            table.add_row(name, str(row["searches"]), way, *scores)
    return table


def models_table(result: dict[str, Any]) -> Table:
    """Of `bench models`, two splits for each model."""
    table = Table(title="HIT-UAV")
    for name in ("model", "split", "mAP50", "mAP50-95", "Person", "Car", "Bicycle", "< 16 px", "ms 1t", "ms 2t", "MB"):
        table.add_column(name, justify="left" if name in ("model", "split") else "right")
    for model, cost in result["cost"].items():
        for split in ("val", "dev"):
            row = result[split][model]
            scores = [row["map50"], row["map50_95"], *row["ap50"].values(), row["ap50_small"]]
            table.add_row(model, split, *map(_score, scores), *(f"{cost[key]:.1f}" for key in ("ms_1t", "ms_2t", "mb")))
    return table


def fewshot_table(result: dict[str, Any], splits: tuple[str, ...]) -> Table:
    """Of `bench fewshot`, two rows for each split."""
    table = Table(title=f"Bicycle, AP50, {result['seeds']} draws ({result['refused']} shots gave no prompt)")
    columns = ("split", "no prompt", *(f"{count} shots" for count in result[splits[0]]["shots"]), "reference")
    for name in columns:
        table.add_column(name, justify="right")
    for split in splits:
        row = result[split]
        shots = [f"{at['mean']:.3f} ({at['min']:.3f}-{at['max']:.3f})" for at in row["shots"].values()]
        table.add_row(split, _score(row["none_ap50"]), *shots, _score(row["reference_ap50"]))
        bare = [_score(value) for value in row["prototypes_ap50"].values()]
        table.add_row("", "prototypes alone", *bare, "")
    return table


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title)
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
