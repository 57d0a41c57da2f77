"""What further trainings are expected to add: the search is played on over functions that the process holds possible.

For each such function a search by budget expected improvement chooses among a few hundred candidates, learns what the
function gives there, and chooses again. That promises too much: what the process holds possible is easier to search
than the truth. So the study is taken back to where it was, twice, and the promises made there are compared with what
came.

Legend: C candidates, S functions drawn, M objectives, the learned one first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from search.insight.course import bounds_of, course, eligible_points, volume_of
from search.insight.importance import drawn
from search.insight.study_model import StudyModel, model_of
from search.samplers._allowed import Allowed
from search.samplers._budget_improvement import Belief, Budgets
from search.simulation.from_study import FEWEST

if TYPE_CHECKING:
    from search.views import StudyViews

Array = NDArray[np.float64]

_EVEN = 512
_NEARBY = 384
_AT_MOST = 400
"""Candidates among which is chosen; covariances are as large as their square."""
_STEP = 0.15
_FUNCTIONS = 16
_BUDGETS = 256
_BACK = 20
"""Trainings by which the study is taken back, and half of that, but never to before its middle."""
_LEAST_DOUBT = 0.1
_SEED = 2


@dataclass(frozen=True, kw_only=True)
class Hindsight:
    """What a study's earlier part promised of the trainings that followed, and what these added to the hypervolume."""

    trainings: int
    promised: float
    came: float

    @property
    def kept(self) -> float:
        """The part of the promise that was kept, at most 1: what came beside it is no reason to promise more."""
        return min(self.came / self.promised, 1.0) if self.promised > 0 else 1.0


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What so many further full trainings are expected to add to the hypervolume.

    Args:
        before: The hypervolume now.
        gain, spread: Mean and standard deviation of what is added, multiplied by what hindsight teaches.
        hindsights: Empty where no earlier part foretells anything.
    """

    trainings: int
    before: float
    gain: float
    spread: float
    hindsights: tuple[Hindsight, ...]

    @property
    def kept(self) -> float:
        """The part of its promises that the study has kept; 1 where that is not known."""
        promised = sum(each.promised for each in self.hindsights)
        return sum(each.kept * each.promised for each in self.hindsights) / promised if promised > 0 else 1.0


@lru_cache(maxsize=4)
def forecast(model: StudyModel, trainings: int) -> Forecast | None:
    """The forecast; None where the process foretells nothing, or no limits or costs tell what a front is worth."""
    gains = _gains(model, trainings)
    if gains is None:
        return None
    before = volume_of(model.views, eligible_points(model.views))
    found = Forecast(trainings=trainings, before=before, gain=0.0, spread=0.0, hindsights=_hindsights(model))
    ratios = [each.kept for each in found.hindsights]
    # What was wrong by different factors before may be so again; two hindsights alone cannot tell that it will not.
    doubt = max(float(np.ptp(ratios)), found.kept, _LEAST_DOUBT) / 2 * float(gains.mean()) if ratios else 0.0
    return replace(
        found,
        gain=found.kept * float(gains.mean()),
        spread=math.hypot(found.kept * float(gains.std()), doubt),
    )


@lru_cache(maxsize=4)
def _hindsights(model: StudyModel) -> tuple[Hindsight, ...]:
    views, count = model.views, len(model.views.complete)
    volumes = course(views).volumes
    found = []
    for then in sorted({max(count // 2, count - _BACK), max(3 * count // 4, count - _BACK // 2)}):
        if then < FEWEST or then == count:
            continue
        gains = _gains(model_of(_taken_back(views, then), model.space), count - then)
        if gains is not None:
            came = volumes[-1] - volumes[then - 1]
            found.append(Hindsight(trainings=count - then, promised=float(gains.mean()), came=came))
    return tuple(found)


def _taken_back(views: StudyViews, count: int) -> StudyViews:
    """The study when so many trials were complete and nothing had been measured again."""
    last = views.complete[count - 1].number
    trials = [replace(trial, confirmed={}) for trial in views.trials if trial.number <= last]
    return replace(views, trials=trials, front=replace(views.front, points=[]))


def _gains(model: StudyModel, trainings: int) -> Array | None:
    """What the trainings add under each function that was drawn."""
    views = model.views
    order = _learned_first(model)
    bound_M = bounds_of(views)[order]
    if model.process is None or not np.isfinite(bound_M).all() or len(model.spent) < len(views.costs):
        return None
    rows, costs_CK = _candidates(model)
    if len(rows) == 0:
        return None
    points = eligible_points(views)
    before = volume_of(views, points)
    mean_C, covariance_CC = model.process.posterior(model.knobs.features(rows))
    values_SC = drawn(mean_C, covariance_CC, count=_FUNCTIONS, seed=_SEED)
    budgets = _budgets(points[:, order], costs_CK, bound_M)
    generator = np.random.default_rng(_SEED)
    gains = []
    for values_C in values_SC:
        luck = model.learned.noise * generator.standard_normal(trainings)
        chosen = _search(model, values_C, mean_C, covariance_CC.copy(), costs_CK, budgets, luck)
        found = np.column_stack([model.sign * model.as_measured(values_C[chosen]), costs_CK[chosen]])
        gains.append(volume_of(views, np.vstack([points, found[:, np.argsort(order)]])) - before)
    return np.array(gains)


def _search(
    model: StudyModel,
    values_C: Array,
    mean_C: Array,
    covariance_CC: Array,
    costs_CK: Array,
    budgets: Budgets,
    luck: Array,
) -> list[int]:
    """The candidates that a search chooses one after the other; the covariance is changed."""
    costs = [Belief(mean_C=cost_C, sd_C=np.zeros(len(cost_C))) for cost_C in costs_CK.T]
    chosen: list[int] = []
    for each in luck:
        sd_C = np.sqrt(np.maximum(np.diag(covariance_CC), 1e-12))
        sought = Belief(mean_C=model.sign * mean_C, sd_C=sd_C, is_log=model.learned.is_log)
        gain_C = budgets.gain_C(sought, costs)
        gain_C[chosen] = 0.0
        best = int(gain_C.argmax())
        seen = values_C[best] + each
        pull_C = covariance_CC[best] / (covariance_CC[best, best] + model.learned.noise**2 + 1e-12)
        mean_C = mean_C + pull_C * (seen - mean_C[best])
        covariance_CC -= np.outer(pull_C, covariance_CC[best])
        told = model.sign * model.as_measured(np.array([seen]))
        budgets = budgets.after(np.concatenate([told, costs_CK[best]])[None])
        chosen.append(best)
    return chosen


def _candidates(model: StudyModel) -> tuple[Array, Array]:
    """Rows within the limits, spread over the space and near the front, and their costs, minimised."""
    knobs, views = model.knobs, model.views
    even = knobs.spread(qmc.Sobol(len(knobs.names), seed=_SEED).random(_EVEN))
    parents = knobs.rows([point.candidate for point in (views.front.points or views.complete)])
    near = Allowed(knobs, seed=_SEED).changed(parents, _NEARBY, step=_STEP, generator=np.random.default_rng(_SEED))
    # Each second one from near the front, so that a part has as many of both.
    mixed = np.vstack([np.vstack(pair) for pair in zip(near, even[:_NEARBY], strict=True)] + [even[_NEARBY:]])
    names = list(model.spent)
    measured_NK = model.costs_NK(mixed)
    sign_K = np.array([-1.0 if cost.goal == "max" else 1.0 for cost in views.costs])
    costs_NK = measured_NK * sign_K
    is_within_N = (costs_NK <= bounds_of(views)[_learned_first(model)][1:]).all(axis=1)
    if model.space.constraints:
        is_within_N &= [
            model.keeps_constraints(knobs.candidate(row), dict(zip(names, measured, strict=True)))
            for row, measured in zip(mixed, measured_NK.tolist(), strict=True)
        ]
    return mixed[is_within_N][:_AT_MOST], costs_NK[is_within_N][:_AT_MOST]


def _budgets(points_PM: Array, costs_CK: Array, bound_M: Array) -> Budgets:
    within_PM = points_PM[(points_PM <= bound_M).all(axis=1)]
    lowest_M = np.vstack([within_PM[:, 1:], costs_CK]).min(axis=0)
    budgets = Budgets.drawn(within_PM, lowest_M=np.concatenate([[0.0], lowest_M]), reference_M=bound_M, seed=_SEED)
    return Budgets(bounds_ZM=budgets.bounds_ZM[:_BUDGETS], best_Z=budgets.best_Z[:_BUDGETS])


def _learned_first(model: StudyModel) -> list[int]:
    """Columns of the study's objectives, the learned one first."""
    objectives = model.views.front.objectives
    first = objectives.index(model.views.learned)
    return [first, *[column for column in range(len(objectives)) if column != first]]
