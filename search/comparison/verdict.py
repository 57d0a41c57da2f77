"""Whether a claim held: differences of pairs with the same seed, and how sure they are."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import stats

from objectives.objective import OBJECTIVES
from search.comparison.file import Claim, Comparison

_CHANCE = 0.05
_LEVEL = 0.05
"""Two sides are level when the difference is surely less than this part of what they measure."""


def chance(comparison: Comparison) -> float:
    """How often a claim may hold or fail by chance: 0.05 of a single look at the results, else each look's share.

    Who adds seeds to a claim that is undecided has several chances to see it hold (Bonferroni's correction).
    """
    return _CHANCE / comparison.looks


@dataclass(frozen=True)
class Result:
    """One recipe with one seed.

    Args:
        values, stderr: By objective.
        seconds: Training, compressing and measuring.
        key: Changes with anything in the file that the figures depend on.
        strip: What the model draws, as a WEBP.
    """

    recipe: str
    seed: int
    values: Mapping[str, float]
    stderr: Mapping[str, float]
    seconds: float
    key: str = ""
    strip: bytes = b""


@dataclass(frozen=True)
class Verdict:
    """What became of a claim.

    Args:
        gain: By how much the better side is better, in the objective's unit; negative when it is worse.
        margin: Half of the gain's interval (Student's t, pairs of one seed; 95 % after one look, more after several);
            None with fewer than two seeds.
        kind: ``holds`` or ``fails`` when the interval is on one side of 0; ``level`` when it holds 0 and nothing that
            is 5 % of the measured values, so that there is no difference worth speaking of; else ``undecided``.
    """

    claim: Claim
    by: str
    gain: float
    margin: float | None
    kind: Literal["holds", "fails", "level", "undecided"]


def verdict(comparison: Comparison, claim: Claim, results: Sequence[Result]) -> Verdict:
    """The verdict on a claim; seeds that lack a recipe do not count."""
    by = claim.by or OBJECTIVES.name_of(comparison.objectives[0])
    sign = next(1 if piece.goal == "min" else -1 for name, piece in OBJECTIVES if name == by)
    found = {(result.recipe, result.seed): result.values[by] for result in results}
    better, than = claim.sides()
    seeds = [seed for seed in range(comparison.seeds) if all((name, seed) in found for name in (*better, *than))]
    better_N = [_mean(found, better, seed) for seed in seeds]
    than_N = [_mean(found, than, seed) for seed in seeds]
    gains = [sign * (worse - good) for good, worse in zip(better_N, than_N, strict=True)]
    if len(gains) < 2:
        return Verdict(claim, by, gains[0] if gains else 0.0, None, "undecided")
    gain = statistics.fmean(gains)
    sure = float(stats.t.ppf(1 - chance(comparison) / 2, len(gains) - 1))
    margin = statistics.stdev(gains) / math.sqrt(len(gains)) * sure
    largest_level = _LEVEL * abs(statistics.fmean([*better_N, *than_N]))
    return Verdict(claim, by, gain, margin, _kind(gain, margin, largest_level=largest_level))


def _kind(gain: float, margin: float, *, largest_level: float) -> Literal["holds", "fails", "level", "undecided"]:
    if abs(gain) > margin:
        return "holds" if gain > 0 else "fails"
    return "level" if abs(gain) + margin < largest_level else "undecided"


def _mean(found: Mapping[tuple[str, int], float], recipes: Sequence[str], seed: int) -> float:
    return statistics.fmean(found[name, seed] for name in recipes)
