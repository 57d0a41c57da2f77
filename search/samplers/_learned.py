"""The process of a learned objective: results say whether of its logarithm, and over which observations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.samplers._allowed import Allowed
from search.samplers._gaussian_process import GaussianProcess
from search.samplers._history import Observation

_PAIRS_TO_JUDGE = 8
"""Results before it is judged whether other studies help to foresee them."""
_FULL_ENOUGH = 4
"""Full trainings from which on processes are judged by how they foresee these alone."""
_TO_JUDGE_LOGARITHMS = 8
"""Results before it is judged whether values are foreseen better as they are than by their logarithms."""
_LEAD = 6.0
"""By how much: the difference of the logarithms of their leave-one-out densities, over all results."""


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What is thought of one objective.

    Args:
        is_log: Whether the process is that of the logarithm.
        odds: Logarithm of how much more probable the results are if full trainings go as small shares do than if the
            two have nothing to do with each other; 0 where there are no small shares.
    """

    process: GaussianProcess
    is_log: bool
    odds: float


def learned_from(studies: Sequence[Sequence[Observation]], allowed: Allowed, column: int, *, limit: float) -> Learned:
    """The process of an objective over this study, which comes first, and others.

    Losses, errors and FID are products of what the knobs do to them, so the logarithm it is where all values are
    positive, until the results have shown that they are foreseen better without it.
    """
    own = studies[0]
    values_N = np.array([observation.values[column] for observation in own])
    if not (values_N > 0).all() or limit <= 0:
        return _fitted(studies, allowed, column, is_log=False)
    logarithmic = _fitted(studies, allowed, column, is_log=True)
    shares_N = np.array([observation.share for observation in own])
    least_share = _least_judged(shares_N)
    logs_N = np.log(values_N[shares_N >= least_share])
    if len(logs_N) < _TO_JUDGE_LOGARITHMS:
        return logarithmic
    plain = _fitted(studies, allowed, column, is_log=False)
    # The density of a value is that of its logarithm, divided by the value.
    logarithmic_foresight = logarithmic.process.foresight(least_share=least_share) - logs_N.mean()
    lead = plain.process.foresight(least_share=least_share) - logarithmic_foresight
    return plain if lead * len(logs_N) > _LEAD else logarithmic


def _least_judged(own_shares_N: NDArray[np.float64]) -> float:
    """The least share of those own observations on which processes are judged."""
    return 1.0 if (own_shares_N >= 1).sum() >= _FULL_ENOUGH else 0.0


def _fitted(studies: Sequence[Sequence[Observation]], allowed: Allowed, column: int, *, is_log: bool) -> Learned:
    seen = [
        (number, observation)
        for number, observations in enumerate(studies)
        for observation in observations
        # A study that measures in other units may go below 0.
        if observation.values[column] > (0 if is_log else -math.inf)
    ]
    studies_N = np.array([number for number, _ in seen])
    shares_N = np.array([observation.share for _, observation in seen])
    values_N = np.array([observation.values[column] for _, observation in seen])
    values_N = np.log(values_N) if is_log else values_N
    features_NF = allowed.space.features(allowed.space.rows([observation.candidate for _, observation in seen]))

    def fitted(rows_N: NDArray[np.bool_], *, related: bool = True) -> GaussianProcess:
        return GaussianProcess.fitted(
            features_NF[rows_N],
            values_N[rows_N],
            groups=allowed.space.groups,
            shares_N=shares_N[rows_N],
            studies_N=studies_N[rows_N],
            related=related,
        )

    is_own = studies_N == 0
    process, odds = fitted(is_own), 0.0
    if (shares_N[is_own] < 1).any():
        unrelated = fitted(is_own, related=False)
        odds = process.evidence - unrelated.evidence
        process = unrelated if odds < 0 else process
    least_share = _least_judged(shares_N[is_own])
    # Other studies count once they have shown that they help.
    if not is_own.all() and (least_share >= 1 or is_own.sum() >= _PAIRS_TO_JUDGE):
        with_others = fitted(np.ones(len(seen), dtype=bool), related=process.related)
        process = max(process, with_others, key=lambda each: each.foresight(least_share=least_share))
    return Learned(process=process, is_log=is_log, odds=odds)
