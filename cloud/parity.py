"""What a bundle's manifest must say before anybody may publish it: its INT8 files kept what the gate asks for.

The gate itself measures when a bundle is made (`distill/gate.py`); its report travels in the manifest. Here it is read
again, so that nothing is signed that the gate refused, or never saw.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cloud.errors import RequestError
from edge.bundle import Manifest

MIN_MEAN_COSINE = 0.99
MIN_P01_COSINE = 0.95
MAX_AP_LOSS = 0.01
"""Of mAP50 and of few-shot AP50 against FP32."""

UNGATED = ("fp32",)
"""Variants that need no report: the others are compared with them. Engines are built on the craft, never published."""

FINE_TUNING = "fine_tuning"
"""In the manifest's metrics: what `skyloop-distill from-cases` judged, old classes among it."""


def check_publishable(manifest: Manifest, variants: Iterable[str]) -> None:
    """Refuse a bundle that its gates refused, or never saw.

    Args:
        manifest: of the bundle.
        variants: the files that are to be published.

    Raises:
        RequestError: it says which variant lost what.
    """
    reports = manifest.metrics.get("parity", {})
    for name in variants:
        if manifest.variants[name].runs_on:
            raise RequestError(f"{name} runs on {manifest.variants[name].runs_on} alone; name other --variant")
        if name in UNGATED:
            continue
        report = reports.get(name) if isinstance(reports, Mapping) else None
        if not isinstance(report, Mapping):
            raise RequestError(
                f"{name}: no report of the parity gate in the manifest; quantize it with `skyloop-distill quantize`"
            )
        if faults := parity_faults(report):
            raise RequestError(f"{name}: the parity gate refuses it: {'; '.join(faults)}")
    if FINE_TUNING in manifest.metrics:
        _check_fine_tuning(manifest.metrics[FINE_TUNING])


def _check_fine_tuning(verdict: object) -> None:
    told = verdict if isinstance(verdict, Mapping) else {}
    if told.get("passed") is True:
        return
    gates = [told.get(name) for name in ("parity", "retention")]
    faults = [str(fault) for gate in gates if isinstance(gate, Mapping) for fault in gate.get("faults", ())]
    raise RequestError(f"its fine-tuning did not pass its gates: {'; '.join(faults)[:500] or 'no verdict'}")


def parity_faults(report: Mapping[str, Any]) -> list[str]:
    """What an INT8 file lost beyond the limits; a number that is missing is lost."""
    faults = []
    for what, least in (("mean_cosine", MIN_MEAN_COSINE), ("p01_cosine", MIN_P01_COSINE)):
        if not _number(report.get(what)) >= least:
            faults.append(f"{what} {_number(report.get(what)):.3f} (least {least})")
    before, after = report.get("before", {}), report.get("after", {})
    for what in ("map50", "fewshot_ap50"):
        if what in before and not _number(after.get(what)) >= _number(before[what]) - MAX_AP_LOSS:
            faults.append(f"{what} fell from {_number(before[what]):.3f} to {_number(after.get(what)):.3f}")
    return faults


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")
