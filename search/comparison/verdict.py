"""Whether a claim held: differences of pairs with the same seed, and how sure they are."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from objectives.objective import OBJECTIVES
from search.comparison.file import Claim, Comparison

_ERRORS = 2.0


@dataclass(frozen=True)
class Result:
    """One recipe with one seed.

    Args:
        values, stderr: By objective.
        seconds: Training, compressing and measuring.
        strip: What the model draws, as a WEBP.
    """

    recipe: str
    seed: int
    values: Mapping[str, float]
    stderr: Mapping[str, float]
    seconds: float
    strip: bytes = b""


@dataclass(frozen=True)
class Verdict:
    """What became of a claim.

    Args:
        gain: By how much the better side is better, in the objective's unit; negative when it is worse.
        stderr: Of the gain, over the seeds.
        kind: ``holds`` or ``fails`` when the gain is beyond 2 standard errors and has the same sign with every seed.
    """

    claim: Claim
    by: str
    gain: float
    stderr: float
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
    if not gains:
        return Verdict(claim, by, math.nan, math.nan, "undecided")
    gain = statistics.fmean(gains)
    stderr = statistics.stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else math.inf
    is_clear = len(gains) > 1 and abs(gain) > _ERRORS * stderr and all(one * gain > 0 for one in gains)
    return Verdict(claim, by, gain, stderr, "undecided" if not is_clear else "holds" if gain > 0 else "fails")


def _mean(found: Mapping[tuple[str, int], float], recipes: Sequence[str], seed: int) -> float:
    return statistics.fmean(found[name, seed] for name in recipes)
