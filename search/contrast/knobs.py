"""Which values of the knobs the fronts of several studies hold, and how far they agree."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """Values of a knob on a front.

    Args:
        median, low, high: Over the points that have the knob.
    """

    median: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Values of a choice on a front, by label: the part of the points with it, the most frequent first."""

    parts: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class KnobContrast:
    """One knob on several fronts.

    Args:
        found: Study -> its values; None where no point of its front has the knob.
        agreement: 1 less the largest difference between the distributions on any two fronts, from 0 to 1: the
            Kolmogorov-Smirnov distance of numbers, the total variation of choices. None where fewer than two have it.
    """

    path: str
    found: Mapping[str, Numbers | Shares | None]
    agreement: float | None

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        from dataclasses import asdict

        found = {name: None if values is None else asdict(values) for name, values in self.found.items()}
        return {"path": self.path, "agreement": self.agreement, "studies": found}


def knob_contrasts(fronts: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[KnobContrast]:
    """Every knob of the candidates on any front; those in which the fronts agree least come first, lone ones last."""
    paths = dict.fromkeys(path for candidates in fronts.values() for candidate in candidates for path in candidate)
    found = [_contrast(path, fronts) for path in paths]
    return sorted(found, key=lambda knob: 2.0 if knob.agreement is None else knob.agreement)


def _contrast(path: str, fronts: Mapping[str, Sequence[Mapping[str, Any]]]) -> KnobContrast:
    values = {name: [each[path] for each in candidates if path in each] for name, candidates in fronts.items()}
    is_number = all(
        isinstance(value, int | float) and not isinstance(value, bool) for each in values.values() for value in each
    )
    there = [each for each in values.values() if each]
    distance = _apart if is_number else _variation
    return KnobContrast(
        path=path,
        found={name: _summary(each, is_number=is_number) for name, each in values.items()},
        agreement=1.0 - max(distance(*pair) for pair in itertools.combinations(there, 2)) if len(there) > 1 else None,
    )


def _summary(values: Sequence[Any], *, is_number: bool) -> Numbers | Shares | None:
    if not values:
        return None
    if is_number:
        return Numbers(median=statistics.median(values), low=min(values), high=max(values))
    return Shares(parts={label: count / len(values) for label, count in Counter(map(str, values)).most_common()})


def _apart(one: Sequence[float], other: Sequence[float]) -> float:
    from scipy.stats import ks_2samp

    return float(ks_2samp(one, other, method="asymp").statistic)


def _variation(one: Sequence[Any], other: Sequence[Any]) -> float:
    parts = [Counter(map(str, values)) for values in (one, other)]
    labels = {label for part in parts for label in part}
    return sum(abs(parts[0][label] / len(one) - parts[1][label] / len(other)) for label in labels) / 2
