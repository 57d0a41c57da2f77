"""What a study's history makes one expect of any candidate.

Legend: C candidates, D knobs, F features, M objectives, K known ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from search.samplers._allowed import Allowed
from search.samplers._budget_improvement import Belief, Budgets
from search.samplers._gaussian_process import GaussianProcess
from search.samplers._history import History, Others
from search.samplers._learned import Learned, learned_from

Array = NDArray[np.float64]

_MARGIN = 0.1
"""Without a limit the reference lies this part of the range seen beyond the worst."""
_LEAST_SUCCESS = 0.02
_PRIOR_ERROR = 0.05
_PRIOR_ERRORS = 3
"""The relative error of a foretold cost before it is known, and how many measurements that is worth."""

_NEWS, _LIKELY = np.polynomial.hermite_e.hermegauss(15)
_LIKELY = _LIKELY / _LIKELY.sum()
"""What a look may tell, in standard deviations, and how likely each is."""
_HALVINGS = 40


@dataclass(frozen=True, kw_only=True)
class Prospect:
    """Processes of the learned objectives and the budgets that are still to be improved.

    Args:
        learned: Column of each process; the first is the one that budgets seek.
        known: Columns that ``allowed`` computes.
        errors: Of each known column, by which factor its logarithm is off: mean and standard deviation; 0, 0 is exact.
        budgets: Bounds on what is spent, and the best within each.
        success: Probability that a candidate gives a result; None while none has failed.
        odds: That full trainings go as small shares do, over all learned objectives (see ``Learned``).
    """

    allowed: Allowed
    processes: Sequence[GaussianProcess]
    is_log: Sequence[bool]
    learned: Sequence[int]
    known: Sequence[int]
    errors: Sequence[tuple[float, float]]
    budgets: Budgets
    success: GaussianProcess | None
    odds: float

    @classmethod
    def of(
        cls,
        history: History,
        allowed: Allowed,
        *,
        known: Sequence[int],
        limits_M: Array,
        seed: int,
        others: Others = (),
    ) -> Prospect:
        """The prospect after ``history``, of at least one observation, without what runs; no limit is NaN."""
        learned = [column for column in range(len(limits_M)) if column not in known]
        studies = [history.observations, *others]
        found = [learned_from(studies, allowed, column, limit=limits_M[column]) for column in learned]
        return cls(
            allowed=allowed,
            processes=[each.process for each in found],
            is_log=[each.is_log for each in found],
            learned=learned,
            known=known,
            errors=_errors(history, allowed, known),
            budgets=_budgets(history, allowed, dict(zip(learned, found, strict=True)), known, limits_M, seed=seed),
            success=_success(history, allowed),
            odds=math.fsum(each.odds for each in found),
        )

    def gain_C(self, rows_CD: Array) -> Array:
        """Budget expected improvement of each row, times the probability that it gives a result."""
        return self._gain_C(rows_CD, self.allowed.costs_NK(rows_CD))

    def estimated_gain_C(self, rows_CD: Array, beside_CD: Array) -> Array:
        """``gain_C`` with costs judged by those of a row beside each: some spaces take a millisecond to say one."""
        return np.nan_to_num(self._gain_C(rows_CD, self.allowed.estimated_costs_NK(rows_CD, beside_CD)))

    def _gain_C(self, rows_CD: Array, costs_CK: Array) -> Array:
        if len(rows_CD) == 0:
            return np.zeros(0)
        beliefs = self._beliefs(rows_CD, costs_CK)
        gain_C = self.budgets.gain_C(beliefs[0], beliefs[1:]) * self._success_C(rows_CD)
        return np.where(self._is_likely_within_C(costs_CK), gain_C, 0.0)

    def _is_likely_within_C(self, costs_CK: Array) -> NDArray[np.bool_]:
        """Where costs as they turned out, not as foretold, are within the limits: the best are close to these."""
        limits = self.allowed.problem.limits
        limits_K = np.array([limits.get(name, np.inf) for name in self.allowed.known])
        factors_K = np.exp([mean for mean, _ in self.errors])
        return np.asarray((costs_CK * factors_K <= limits_K).all(axis=1))

    def rates_SC(self, rows_CD: Array, *, reached: float, shares: Sequence[float]) -> Array:
        """What each row, trained to ``reached``, promises for each full training's worth still to be paid.

        One row for each coming share S at which it is looked at once more, and then finished or left, whichever is
        better: the way to the look is paid always, the rest sometimes. The rate is the price of a training at which
        this is worth nothing (the index of Weitzman 1979). At share 1 it is the gain by what is left to pay.
        What a look tells of several learned objectives is taken to be good or bad for all of them.
        """
        features = self.allowed.space.features(rows_CD)
        beliefs, success_C = self._beliefs(rows_CD, self.allowed.costs_NK(rows_CD)), self._success_C(rows_CD)
        learned, known = beliefs[: len(self.learned)], beliefs[len(self.learned) :]
        looks = [process.looks(features, shares) for process in self.processes]
        # With one learned objective the budgets that a candidate fits do not depend on what a look tells.
        fitting_CB = self.budgets.fitting_CB(known, count=len(rows_CD)) if len(learned) == 1 else None
        rates_SC = np.zeros((len(shares), len(rows_CD)))
        for number, share in enumerate(shares):
            gains = []
            for news in _NEWS if share < 1 else (0.0,):
                seen = [
                    Belief(mean_C=belief.mean_C + news * moved_SC[number], sd_C=left_SC[number], is_log=belief.is_log)
                    for belief, (moved_SC, left_SC) in zip(learned, looks, strict=True)
                ]
                if fitting_CB is None:
                    gains.append(self.budgets.gain_C(seen[0], [*seen[1:], *known]))
                else:
                    gains.append(self.budgets.gain_within_C(seen[0], fitting_CB))
            likely_Q = _LIKELY if share < 1 else np.ones(1)
            rates_SC[number] = _rate_C(np.array(gains) * success_C, likely_Q, way=share - reached, rest=1 - share)
        # Who looks can go on whatever it tells: less than the whole training is only a rounding of the quadrature.
        return np.maximum(rates_SC, rates_SC[-1]) if len(shares) and shares[-1] >= 1 else rates_SC

    def hope_C(self, rows_CD: Array) -> Array:
        """What each row would improve if it cost nothing; no costs are asked for."""
        return self.budgets.hope_C(self._learned_beliefs(rows_CD)[0])

    def _learned_beliefs(self, rows_CD: Array) -> list[Belief]:
        features = self.allowed.space.features(rows_CD)
        found = []
        for process, log in zip(self.processes, self.is_log, strict=True):
            mean, sd = process.predict(features)
            found.append(Belief(mean_C=mean, sd_C=sd, is_log=log))
        return found

    def _beliefs(self, rows_CD: Array, costs_CK: Array) -> list[Belief]:
        """Learned objectives first."""
        foretold = [_foretold(cost_C, *error) for cost_C, error in zip(costs_CK.T, self.errors, strict=True)]
        return self._learned_beliefs(rows_CD) + foretold

    def with_running(self, rows_CD: Array) -> Prospect:
        """As if each running trial it had given what is expected of it: less is left to improve, nearby least."""
        if len(rows_CD) == 0:
            return self
        beliefs = self._beliefs(rows_CD, self.allowed.costs_NK(rows_CD))
        points = np.column_stack([belief.likely_C() for belief in beliefs])
        features = self.allowed.space.features(rows_CD)
        processes = [
            process.conditioned(features, belief.mean_C)
            for process, belief in zip(self.processes, beliefs, strict=False)
        ]
        return replace(self, processes=processes, budgets=self.budgets.after(points[np.isfinite(points).all(axis=1)]))

    def _success_C(self, rows_CD: Array) -> Array:
        if self.success is None:
            return np.ones(len(rows_CD))
        return np.clip(self.success.predict(self.allowed.space.features(rows_CD))[0], _LEAST_SUCCESS, 1.0)


def _rate_C(gain_QC: Array, likely_Q: Array, *, way: float, rest: float) -> Array:
    """The price at which paying the ``way``, and then the ``rest`` where the gain is worth it, is worth nothing."""
    low, high = np.zeros(gain_QC.shape[1]), gain_QC.max(axis=0) / way
    for _ in range(_HALVINGS):
        price = (low + high) / 2
        is_cheap = likely_Q @ np.maximum(gain_QC - price * rest, 0.0) > price * way
        low, high = np.where(is_cheap, price, low), np.where(is_cheap, high, price)
    return np.asarray((low + high) / 2)


def _foretold(cost_C: Array, mean: float, sd: float) -> Belief:
    if sd == 0:
        return Belief(mean_C=cost_C, sd_C=np.zeros(len(cost_C)))
    return Belief(mean_C=np.log(cost_C) + mean, sd_C=np.full(len(cost_C), sd), is_log=True)


def _errors(history: History, allowed: Allowed, known: Sequence[int]) -> list[tuple[float, float]]:
    """How what was measured differs from what was foretold (a latency, say), as logarithms: mean and deviation."""
    full = history.full
    if not full or not known:
        return [(0.0, 0.0)] * len(known)
    rows = allowed.space.filled(allowed.space.rows([observation.candidate for observation in full]))
    foretold_NK = allowed.costs_NK(rows)
    measured_NK = np.array([observation.values for observation in full])[:, list(known)]
    return [_error(*columns) for columns in zip(foretold_NK.T, measured_NK.T, strict=True)]


def _error(foretold_N: Array, measured_N: Array) -> tuple[float, float]:
    is_told = np.isfinite(foretold_N) & (foretold_N > 0) & (measured_N > 0)
    if not is_told.all() or np.allclose(foretold_N, measured_N, rtol=1e-6, atol=0):
        return 0.0, 0.0
    logs = np.log(measured_N / foretold_N)
    weight = len(logs) / (len(logs) + _PRIOR_ERRORS)
    # Drawn towards 0 it would leave the best candidates just beyond a limit, since these are sought close to it.
    mean = float(np.median(logs))
    # The median of absolute deviations: one measurement beside a busy neighbour must not count as the rule.
    spread = 1.4826 * float(np.median(np.abs(logs - mean)))
    return mean, math.sqrt(weight * spread**2 + (1 - weight) * _PRIOR_ERROR**2)


def _success(history: History, allowed: Allowed) -> GaussianProcess | None:
    """A process over 1 for what gave a result and 0 for what did not: plain, but it learns which knobs matter to it."""
    if not history.failed:
        return None
    space = allowed.space
    worked = {row.tobytes(): row for row in space.rows([each.candidate for each in history.observations])}
    rows = np.vstack([*worked.values(), space.rows(history.failed)])
    labels = np.repeat([1.0, 0.0], [len(worked), len(history.failed)])
    return GaussianProcess.fitted(space.features(rows), labels, groups=space.groups)


def _budgets(
    history: History,
    allowed: Allowed,
    learned: Mapping[int, Learned],
    known: Sequence[int],
    limits_M: Array,
    *,
    seed: int,
) -> Budgets:
    order = [*learned, *known]
    full = np.array([observation.values for observation in history.full]).reshape(-1, len(limits_M))
    seen = full if len(full) else np.array([observation.values for observation in history.observations])
    pool = np.full((len(allowed.pool_ND), len(limits_M)), np.nan)
    pool[:, list(known)] = allowed.costs_NK(allowed.pool_ND)
    lowest = np.nanmin(np.vstack([seen, pool]), axis=0)
    highest = np.nanmax(seen, axis=0)
    span = np.where(highest > lowest, highest - lowest, 1.0)
    reference = np.where(np.isnan(limits_M), highest + _MARGIN * span, limits_M)
    # What is learned may go below anything seen so far.
    for column in learned:
        lowest[column] -= 0.5 * max(reference[column] - lowest[column], 0.0)
    # A lucky measurement is not a mark to beat: what a process makes of all of them is.
    front = full.copy()
    if len(full):
        features = allowed.space.features(allowed.space.rows([observation.candidate for observation in history.full]))
        for column, each in learned.items():
            mean, sd = each.process.predict(features)
            front[:, column] = Belief(mean_C=mean, sd_C=sd, is_log=each.is_log).likely_C()
    return Budgets.drawn(
        front[:, order], lowest_M=np.minimum(lowest, reference)[order], reference_M=reference[order], seed=seed
    )
