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

#: Of Student's t distribution: how often a difference this sure would be chance.
_CHANCE = 0.05


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
        stderr: Of the gain, over the seeds; None with fewer than two.
        kind: ``holds`` or ``fails`` when the gain's 95 % interval is on one side of 0 (Student's t, pairs of one seed).
    """

    claim: Claim
    by: str
    gain: float
    stderr: float | None
    kind: Literal["holds", "fails", "undecided"]


def verdict(comparison: Comparison, claim: Claim, results: Sequence[Result]) -> Verdict:
    """The verdict on a claim; seeds that lack a recipe do not count."""
    by = claim.by or OBJECTIVES.name_of(comparison.objectives[0])
    sign = next(1 if piece.goal == "min" else -1 for name, piece in OBJECTIVES if name == by)
    found = {(result.recipe, result.seed): result.values[by] for result in results}
    better, than = claim.sides()
    gains = [
        sign * (_mean(found, than, seed) - _mean(found, better, seed))
        for seed in range(comparison.seeds)
        if all((name, seed) in found for name in (*better, *than))
    ]
    if len(gains) < 2:
        return Verdict(claim, by, gains[0] if gains else 0.0, None, "undecided")
    gain = statistics.fmean(gains)
    stderr = statistics.stdev(gains) / math.sqrt(len(gains))
    is_clear = abs(gain) > stderr * float(stats.t.ppf(1 - _CHANCE / 2, len(gains) - 1))
    return Verdict(claim, by, gain, stderr, "undecided" if not is_clear else "holds" if gain > 0 else "fails")


def _mean(found: Mapping[tuple[str, int], float], recipes: Sequence[str], seed: int) -> float:
    return statistics.fmean(found[name, seed] for name in recipes)
