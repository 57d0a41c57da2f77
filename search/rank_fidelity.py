"""How well a short training's order foretells the full one's: rank correlation, and what picking by it would cost.

Only trials that were trained to the end have both values, and these were chosen by the short one: a sample of narrowed
range, whose correlation is lower than that over all trials. The corrected figure says what it would have been, had all
gone on. Final values are first measurements, taken in the same way as those of the shares.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from search.front import minimised

if TYPE_CHECKING:
    from search.record import Record

_FEWEST_PAIRS = 4
"""The variance of Fisher's z is about 1 / (pairs - 3)."""
_TWO_SIDED_95 = 1.959964
_LARGEST_RATIO = 3.0
"""Of the spread of all to that of the chosen: beyond it the correction follows its assumptions more than the data."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Spearman's rank correlation with its 95 % interval; None where there are too few pairs or all are equal."""

    pairs: int
    spearman: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class RungFidelity(Agreement):
    """How well the order at one share foretells the final one.

    Args:
        share, images: Of the full training and its ``full_images``.
        corrected: The correlation over all trials that came to this share, those that were stopped included.
        regret: By which part the final value of the trial that was best at this share is worse than the best final one.
        within: The same agreement over the trials that ended within the limits, where it counts.
    """

    share: float
    images: int
    full_images: int
    corrected: float | None = None
    regret: float | None = None
    within: Agreement


def rank_fidelity(
    records: Sequence[Record], *, objective: str, goal: str, rungs: Sequence[int], within: Collection[int]
) -> list[dict[str, Any]]:
    """One row for each rung below the last, as plain data.

    Args:
        objective: A learned one, of ``goal`` ("min" or "max").
        rungs: Images seen at each, rising; the last is the full training.
        within: Numbers of the trials that ended within the limits.
    """
    rows = []
    for images in rungs[:-1]:
        reached = {record.number: value for record in records if (value := _at(record, images, objective)) is not None}
        ended = [record for record in records if record.state == "complete" and record.number in reached]
        low_N = _turned([reached[record.number] for record in ended], goal)
        final_N = _turned([record.values[objective] for record in ended], goal)
        is_within_N = np.array([record.number in within for record in ended], dtype=bool)
        overall = agreement(low_N, final_N)
        row = RungFidelity(
            share=images / rungs[-1],
            images=images,
            full_images=rungs[-1],
            **asdict(overall),
            corrected=_rounded(corrected_correlation(low_N, final_N, _turned(list(reached.values()), goal))),
            regret=_rounded(regret(low_N, final_N)),
            within=agreement(low_N[is_within_N], final_N[is_within_N]),
        )
        rows.append(asdict(row))
    return rows


def described(rows: Sequence[RungFidelity]) -> list[str]:
    """One line for each share, for people."""
    return [_described(row) for row in rows]


def agreement(low_N: ArrayLike, final_N: ArrayLike) -> Agreement:
    """Rank correlation with the interval of Fisher's z and the variance of Bonett and Wright (2000).

    A perfect order has an infinite z. It is taken for one that is half a swap of neighbours short of it, so that four
    pairs in perfect order do not make a certainty.
    """
    measured, pairs = spearman(low_N, final_N), np.size(low_N)
    if measured is None or pairs < _FEWEST_PAIRS:
        return Agreement(pairs=pairs, spearman=_rounded(measured))
    largest = 1 - 6 / (pairs * (pairs**2 - 1))
    held = min(max(measured, -largest), largest)
    margin = _TWO_SIDED_95 * math.sqrt((1 + held**2 / 2) / (pairs - 3))
    low, high = (math.tanh(math.atanh(held) + side * margin) for side in (-1, 1))
    return Agreement(
        pairs=pairs,
        spearman=_rounded(measured),
        low=_rounded(min(low, measured)),
        high=_rounded(max(high, measured)),
    )


def spearman(low_N: ArrayLike, final_N: ArrayLike) -> float | None:
    """Rank correlation, equal values sharing their rank; None for fewer than 2 pairs, or where one side is constant.

    >>> spearman([3.0, 1.0, 2.0], [30.0, 10.0, 20.0])
    1.0
    """
    low_N, final_N = np.asarray(low_N, float), np.asarray(final_N, float)
    if len(low_N) < 2 or np.ptp(low_N) == 0 or np.ptp(final_N) == 0:
        return None
    return float(np.corrcoef(_ranks(low_N), _ranks(final_N))[0, 1].clip(-1.0, 1.0))


def corrected_correlation(low_N: ArrayLike, final_N: ArrayLike, everyone_N: ArrayLike) -> float | None:
    """Rank correlation of the chosen trials, corrected for their having been chosen by ``low_N``.

    Thorndike (1949), case 2, with the spread of ``everyone_N``, the low values of all trials, over that of ``low_N``;
    of logarithms where all are positive. A sample that is not narrower than everyone is left as it is.

    Returns:
        None where there is no correlation to correct.
    """
    measured = spearman(low_N, final_N)
    if measured is None:
        return None
    chosen_N, all_N = np.asarray(low_N, float), np.asarray(everyone_N, float)
    if chosen_N.min() > 0 and all_N.min() > 0:
        chosen_N, all_N = np.log(chosen_N), np.log(all_N)
    ratio = float(np.clip(all_N.std() / max(chosen_N.std(), 1e-12), 1.0, _LARGEST_RATIO))
    return measured * ratio / math.sqrt(1 - measured**2 + measured**2 * ratio**2)


def regret(low_N: ArrayLike, final_N: ArrayLike) -> float | None:
    """By which part the final value of the lowest at the share is above the lowest final one: 0.08 is 8 % worse.

    Both are minimised, so values of an objective to be maximised are negative. None without pairs, and where values of
    both signs, or 0, leave no ratio.
    """
    low_N, final_N = np.asarray(low_N, float), np.asarray(final_N, float)
    if len(low_N) == 0:
        return None
    picked, best = float(final_N[low_N.argmin()]), float(final_N.min())
    if picked * best <= 0:
        return None
    return picked / best - 1 if best > 0 else best / picked - 1


def _described(row: RungFidelity) -> str:
    where = f"{row.images:,} of {row.full_images:,} images"
    if row.spearman is None or row.low is None or row.high is None:
        trials = "1 trial has" if row.pairs == 1 else f"{row.pairs} trials have"
        return f"{where}: {trials} a value here and at the end, too few to tell how well the order agrees"
    remarks = [f"{row.low:.2f} to {row.high:.2f}, {row.pairs} trials"]
    if row.corrected is not None and abs(row.corrected - row.spearman) >= 0.005:
        remarks.append(f"{row.corrected:.2f} had all gone on")
    if row.within.spearman is not None and _FEWEST_PAIRS <= row.within.pairs < row.pairs:
        remarks.append(f"{row.within.spearman:.2f} for the {row.within.pairs} within the limits")
    said = f"{where}: order agrees {row.spearman:.2f} ({'; '.join(remarks)})"
    if row.regret is None:
        return said
    return f"{said}; picking by it costs {f'{row.regret:.0%}'.replace('%', ' %') if row.regret else 'nothing'}"


def _at(record: Record, images: int, objective: str) -> float | None:
    """What a trial measured at a rung; a value that is no finite number says nothing about order."""
    for rung in record.rungs:
        value = rung["values"].get(objective)
        if rung["images"] == images and value is not None and math.isfinite(value):
            return float(value)
    return None


def _turned(values: Sequence[float], goal: str) -> NDArray[np.float64]:
    return minimised(np.reshape(values, (-1, 1)), [goal])[:, 0]


def _ranks(values_N: NDArray[np.float64]) -> NDArray[np.float64]:
    _, place_N, counts = np.unique(values_N, return_inverse=True, return_counts=True)
    return np.asarray((counts.cumsum() - (counts - 1) / 2)[place_N])


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
