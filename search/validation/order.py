"""How far the order of short trainings is that of full ones: rank correlation, and pairs that the trials told apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from scipy import stats

from search.front import indistinguishable
from search.rank_fidelity import Agreement, agreement

_TWO_SIDED_95 = 1.959964
_FEWEST = 5
"""The variance of Fisher's z of tau is 0.437 / (points - 4)."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A value and its standard error."""

    value: float
    stderr: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Order:
    """How well the trials foretold the order.

    Args:
        spearman: Rank correlation, with its 95 % interval.
        kendall: Kendall's tau, None where one side is constant; ``low`` and ``high`` are its 95 % interval, None where
            there are too few points.
        chance: How often chance alone gives an order as good as this, or better.
        told_apart: Pairs whose trials differ by more than their standard errors explain.
        kept: Those of them that are in the same order after full training.
    """

    spearman: Agreement
    kendall: float | None
    low: float | None
    high: float | None
    chance: float | None
    told_apart: int
    kept: int


def order(short: Sequence[Figure], full: Sequence[Figure]) -> Order:
    """The order of the same models after a short and after a full training; smaller is better in both, or larger."""
    values = ([figure.value for figure in side] for side in (short, full))
    short_N, full_N = values
    tau, chance = _kendall(short_N, full_N)
    low, high = _interval(tau, len(short)) if tau is not None else (None, None)
    clear = [
        (one, other)
        for one, other in combinations(range(len(short)), 2)
        if not indistinguishable(
            short_N[one], short_N[other], stderr=short[one].stderr, stderr_other=short[other].stderr
        )
    ]
    kept = sum((short_N[one] < short_N[other]) == (full_N[one] < full_N[other]) for one, other in clear)
    return Order(
        spearman=agreement(short_N, full_N),
        kendall=tau,
        low=low,
        high=high,
        chance=chance,
        told_apart=len(clear),
        kept=kept,
    )


def _kendall(short_N: Sequence[float], full_N: Sequence[float]) -> tuple[float | None, float | None]:
    """Tau, and its one-sided p-value, exact where there are no ties."""
    if len(short_N) < 2:
        return None, None
    found = stats.kendalltau(short_N, full_N, alternative="greater")
    if not math.isfinite(found.statistic):
        return None, None
    return float(found.statistic), float(found.pvalue)


def _interval(tau: float, points: int) -> tuple[float | None, float | None]:
    """By Fisher's z with the variance of Fieller, Hartley and Pearson (1957).

    A perfect order has an infinite z; it is taken for one that is half a swap of neighbours short of it.
    """
    if points < _FEWEST:
        return None, None
    largest = 1 - 2 / (points * (points - 1))
    held = min(max(tau, -largest), largest)
    margin = _TWO_SIDED_95 * math.sqrt(0.437 / (points - 4))
    return min(math.tanh(math.atanh(held) - margin), tau), max(math.tanh(math.atanh(held) + margin), tau)
