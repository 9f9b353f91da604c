"""Accuracy against bytes: what each way to choose images reaches at each budget, and how sure that is.

Every way sends the same cases at the same prices and their answers are used alike: only the choice differs. The two
models' answers are judged once (`distill.matches`), so that a mixture of them costs milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.matches import Judged, f1_of, map50_of
from protocols.arrays import FloatArray

BUDGETS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
"""Shares of the bytes of sending everything."""

G_BUDGETS = (0.05, 0.1, 0.2, 0.3)
F1_FLOOR = 0.3
"""Score of a reported detection: the bundled student's own."""

RANDOM_DRAWS = 20
OURS = "ours"

Chosen = NDArray[np.bool_]


@dataclass(frozen=True)
class Stream:
    """One split, judged.

    Attributes:
        edge: each image as the student alone sees it.
        both: as student and teacher see it after it was sent.
        cloud: as the teacher alone sees it where everything is sent, at the quality that this takes.
        case_bytes: (N,) of sending each image.
        cloud_bytes: (N,) of each image where everything is sent.
        scores: by way of choosing, (N,) that sends the highest per byte first; see `chosen_by`.
        audited: (N,) images that ours sends whatever their score.
    """

    edge: Sequence[Judged]
    both: Sequence[Judged]
    cloud: Sequence[Judged]
    case_bytes: FloatArray
    cloud_bytes: FloatArray
    scores: Mapping[str, FloatArray]
    audited: Chosen


def chosen_by(order: Sequence[int], prices: FloatArray, budget_bytes: float) -> Chosen:
    """(N,) the images of an order that the budget pays; one that is too dear is passed over, not the end."""
    chosen = np.zeros(len(prices), np.bool_)
    for row in order:
        if prices[row] <= budget_bytes:
            budget_bytes -= prices[row]
            chosen[row] = True
    return chosen


class Frontier:
    """The curves of one split.

    Attributes:
        chosen: by way, for each budget the draws of which images are sent (one draw where nothing is random).
    """

    def __init__(self, stream: Stream, seed: int) -> None:
        """Choose for every way and budget."""
        self.stream, self._rng = stream, np.random.default_rng(seed)
        self._edge_f1, self._both_f1, self._cloud_f1 = (
            np.array([f1_of(image, F1_FLOOR) for image in images])
            for images in (stream.edge, stream.both, stream.cloud)
        )
        orders = {name: [self._order(name, score)] for name, score in stream.scores.items()}
        orders["oracle"] = [np.argsort(-(self._both_f1 - self._edge_f1) / stream.case_bytes, kind="stable")]
        orders["random"] = [self._rng.permutation(len(stream.edge)) for _ in range(RANDOM_DRAWS)]
        total = float(stream.cloud_bytes.sum())
        self.chosen = {
            name: {
                budget: [chosen_by(order.tolist(), stream.case_bytes, budget * total) for order in drawn]
                for budget in BUDGETS
            }
            for name, drawn in orders.items()
        }

    def _order(self, name: str, score: FloatArray) -> NDArray[np.int64]:
        """Most per byte first for ours, highest first for rules that know no prices; ties in random order."""
        shuffled = self._rng.permutation(len(score))
        key = score / self.stream.case_bytes if name == OURS else score
        order = shuffled[np.argsort(-key[shuffled], kind="stable")]
        if name == OURS:
            order = order[np.argsort(~self.stream.audited[order], kind="stable")]
        return np.asarray(order, dtype=np.int64)

    def f1s(self, name: str, budget: float) -> FloatArray:
        """(N,) F1 of each image, a mean over the draws."""
        sent = np.mean(self.chosen[name][budget], axis=0)
        return np.asarray(self._edge_f1 + sent * (self._both_f1 - self._edge_f1), dtype=np.float32)

    def map50(self, name: str, budget: float, rows: Sequence[int], draw: int | None = None) -> float:
        """Of some images: of one draw of what is random, or a mean over all."""
        edge, both = self.stream.edge, self.stream.both
        drawn = self.chosen[name][budget]
        drawn = drawn if draw is None else [drawn[draw % len(drawn)]]
        mixtures = ([both[i] if chosen[i] else edge[i] for i in rows] for chosen in drawn)
        return float(np.mean([map50_of(mixture) for mixture in mixtures]))

    def ends(self) -> dict[str, dict[str, float]]:
        """Of edge alone and of everything sent: mAP50, mean F1 and bytes."""
        return {
            "edge_only": _point(map50_of(self.stream.edge), self._edge_f1, 0.0),
            "cloud_only": _point(map50_of(self.stream.cloud), self._cloud_f1, float(self.stream.cloud_bytes.sum())),
        }

    def curves(self) -> dict[str, list[dict[str, float]]]:
        """For every way and budget what was reached, and the bytes really spent."""
        every = range(len(self.stream.edge))
        return {
            name: [
                {
                    "budget": budget,
                    **_point(self.map50(name, budget, every), self.f1s(name, budget), self._spent(drawn)),
                }
                for budget, drawn in by_budget.items()
            ]
            for name, by_budget in self.chosen.items()
        }

    def _spent(self, drawn: Sequence[Chosen]) -> float:
        return float(np.mean([self.stream.case_bytes[chosen].sum() for chosen in drawn]))

    def gains(self, draws: int, on_draw: Callable[[int], None] = lambda _: None) -> dict[str, Any]:
        """G, the gap recovered, and ours less every other way, each with its 95 % bootstrap interval over images.

        Args:
            draws: of the bootstrap.
            on_draw: progress hook.
        """
        count = len(self.stream.edge)
        picks = [self._rng.integers(count, size=count) for _ in range(draws)]
        gap = self._cloud_f1 - self._edge_f1
        low, high = _interval([float(gap[rows].mean()) for rows in picks])
        others = [name for name in self.chosen if name not in (OURS, "oracle")]
        return {
            "f1_gap_interval": [low, high],
            "g": {str(b): self._g(b, range(count)) if not low <= 0 <= high else None for b in G_BUDGETS},
            "g_interval": {str(b): _interval([self._g(b, rows.tolist()) for rows in picks]) for b in G_BUDGETS},
            **self._map50_gains(picks, others, on_draw),
            "f1_ahead": {name: {str(b): self._f1_ahead(name, b, picks) for b in BUDGETS} for name in others},
        }

    def _g(self, budget: float, rows: Sequence[int]) -> float:
        ours, chance, best = (float(self.f1s(name, budget)[list(rows)].mean()) for name in (OURS, "random", "oracle"))
        return round((ours - chance) / (best - chance), 4) if best != chance else 0.0

    def _f1_ahead(self, name: str, budget: float, picks: Sequence[NDArray[np.int64]]) -> list[float]:
        ahead = self.f1s(OURS, budget) - self.f1s(name, budget)
        return [round(float(ahead.mean()), 4), *_interval([float(ahead[rows].mean()) for rows in picks])]

    def _map50_gains(
        self, picks: Sequence[NDArray[np.int64]], others: Sequence[str], on_draw: Callable[[int], None]
    ) -> dict[str, Any]:
        """The gap recovered in mAP50, and how far ours is ahead: value, low, high."""
        whole, drawn = self._map50_row(range(len(self.stream.edge)), others), []
        for number, rows in enumerate(picks):
            drawn.append(self._map50_row(rows.tolist(), others, number))
            on_draw(number)
        spread = {key: [whole[key], *_interval([row[key] for row in drawn])] for key in whole}
        return {
            "gap_recovered": {str(b): whole["gap", b] for b in BUDGETS},
            "gap_interval": {str(b): spread["gap", b][1:] for b in BUDGETS},
            "map50_share_of_cloud": {str(b): whole["share", b] for b in BUDGETS},
            "map50_ahead": {name: {str(b): spread[name, b] for b in BUDGETS} for name in others},
        }

    def _map50_row(
        self, rows: Sequence[int], others: Sequence[str], draw: int | None = None
    ) -> dict[tuple[str, float], float]:
        """Of some images, by what and budget; see `map50`."""
        edge = map50_of([self.stream.edge[i] for i in rows])
        cloud = map50_of([self.stream.cloud[i] for i in rows])
        values: dict[tuple[str, float], float] = {}
        for budget in BUDGETS:
            ours = self.map50(OURS, budget, rows)
            values["gap", budget] = round((ours - edge) / (cloud - edge), 4) if cloud != edge else 0.0
            values["share", budget] = round(ours / cloud, 4) if cloud else 0.0
            for name in others:
                values[name, budget] = round(ours - self.map50(name, budget, rows, draw), 4)
        return values


def _point(map50: float, f1s: FloatArray, total_bytes: float) -> dict[str, float]:
    return {"map50": round(map50, 4), "f1": round(float(f1s.mean()), 4), "bytes": round(total_bytes)}


def _interval(values: Sequence[float]) -> list[float]:
    """Where 95 of 100 lie."""
    return [round(float(v), 4) for v in np.percentile(values, (2.5, 97.5))]
