"""A candidate that was not tried: the best that a study's model expects within a budget, and how sure it is.

Legend: N candidates, D knobs, K costs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import qmc

from search.insight.study_model import StudyModel
from search.samplers._allowed import Allowed
from trainers.errors import UserError

if TYPE_CHECKING:
    from search.space import Space
    from trainers.models.arch_spec import ArchSpec

Array = NDArray[np.float64]

_EVEN = 1024
_STEPS = (0.2, 0.2, 0.1, 0.1, 0.05, 0.05)
"""By how much knobs are changed in each round, of all that a number may be."""
_CHILDREN = 256
_PARENTS = 32
_BUILT = 48
"""Candidates whose architectures are planned, the most promising first, until one is within the budget."""
_BAND = 1.645  # deviations, 90 %
_DIGITS = 4
_SEED = 3


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What is expected of a candidate.

    Args:
        expected, low, high: The learned objective after a full training, its median and 90 %.
        costs: Objective -> value; exact where the architecture tells it, else as the trials' own foretell.
        chance: Probability that the learned objective is better than what was asked; None where nothing was.
    """

    candidate: Mapping[str, Any]
    expected: float
    low: float
    high: float
    costs: Mapping[str, float]
    chance: float | None


def proposal(
    model: StudyModel, bounds: Mapping[str, float], *, better_than: float | None, least_chance: float = 0.0
) -> Proposal | None:
    """The candidate from which the best is expected within ``bounds``, in the study's units.

    None where the process foretells nothing, no candidate is expected to fit, or the chance to be better is less than
    ``least_chance``.
    """
    if model.process is None:
        return None
    limits = _costs_limits(model, bounds)
    rows = _promising(model, limits)
    if len(rows) == 0 or (_chances(model, rows[:1], better_than) < least_chance).any():
        return None
    teacher = _planned_teacher(model.space)
    tried = [dict(trial.candidate) for trial in model.views.trials]
    for row in rows[:_BUILT]:
        candidate = _readable(model.space, model.knobs.candidate(row))
        row_1D = model.knobs.rows([candidate])
        costs = _costs(model, candidate, row_1D, teacher)
        if costs is not None and candidate not in tried and _excess(model, costs, limits) <= 0:
            return _proposal(model, candidate, row_1D, costs, better_than)
    return None


def _proposal(
    model: StudyModel, candidate: Mapping[str, Any], row_1D: Array, costs: Mapping[str, float], than: float | None
) -> Proposal:
    mean, sd = (float(found[0]) for found in model.believed(row_1D))
    low, middle, high = model.as_measured(np.array([mean - _BAND * sd, mean, mean + _BAND * sd])).tolist()
    chance = None if than is None else float(_chances(model, row_1D, than)[0])
    return Proposal(candidate=candidate, expected=middle, low=low, high=high, costs=costs, chance=chance)


def _promising(model: StudyModel, limits: Mapping[str, float]) -> Array:
    """Rows that are expected to fit, the best first; by rounds of changes to the best so far."""
    knobs = model.knobs
    generator = np.random.default_rng(_SEED)
    allowed = Allowed(knobs, seed=_SEED)
    seen = knobs.rows([trial.candidate for trial in model.views.complete])
    rows = np.vstack([knobs.spread(qmc.Sobol(len(knobs.names), seed=_SEED).random(_EVEN)), seen])
    for step in _STEPS:
        parents = rows[_best_first(model, rows, limits)[:_PARENTS]]
        rows = np.vstack([rows, allowed.changed(parents, _CHILDREN, step=step, generator=generator)])
    rows = rows[_best_first(model, rows, limits)]
    return rows[_excess_N(model, rows, limits) <= 0]


def _best_first(model: StudyModel, rows_ND: Array, limits: Mapping[str, float]) -> NDArray[np.intp]:
    """What fits by its learned objective, then the others by how far they are from fitting."""
    mean_N, _ = model.believed(rows_ND)
    return np.lexsort((model.sign * mean_N, _excess_N(model, rows_ND, limits)))


def _excess_N(model: StudyModel, rows_ND: Array, limits: Mapping[str, float]) -> Array:
    costs_NK = model.costs_NK(rows_ND)
    return np.array([_excess(model, dict(zip(model.spent, costs, strict=True)), limits) for costs in costs_NK.tolist()])


def _excess(model: StudyModel, costs: Mapping[str, float], limits: Mapping[str, float]) -> float:
    """By how much, relative to its limit, the worst cost is beyond; 0 where all fit."""
    sign = {cost.name: -1.0 if cost.goal == "max" else 1.0 for cost in model.views.costs}
    beyond = [
        sign[name] * (costs[name] - limit) / (abs(limit) or 1.0) for name, limit in limits.items() if name in costs
    ]
    return max([*beyond, 0.0])


def _costs_limits(model: StudyModel, bounds: Mapping[str, float]) -> dict[str, float]:
    """What each cost may be: as asked, and never beyond the study's own limits."""
    found = {}
    for cost in model.views.costs:
        asked = [where[cost.name] for where in (bounds, model.views.front.limits) if cost.name in where]
        if asked:
            found[cost.name] = max(asked) if cost.goal == "max" else min(asked)
    return found


def _chances(model: StudyModel, rows_ND: Array, than: float | None) -> Array:
    """Probability that each row is better than ``than``; 1 where nothing is to be beaten."""
    if than is None:
        return np.ones(len(rows_ND))
    if model.learned.is_log and than <= 0:
        return np.zeros(len(rows_ND))
    mean_N, sd_N = model.believed(rows_ND)
    aim = math.log(than) if model.learned.is_log else than
    return np.asarray(ndtr(model.sign * (aim - mean_N) / np.maximum(sd_N, 1e-12)))


def _planned_teacher(space: Space) -> ArchSpec | None:
    """None where the teacher is not here: then costs are as the trials foretell."""
    from search.preparation import planned_teacher

    try:
        return planned_teacher(space)
    except UserError:
        return None


def _costs(
    model: StudyModel, candidate: Mapping[str, Any], row_1D: Array, teacher: ArchSpec | None
) -> dict[str, float] | None:
    """Costs of a candidate; None where it cannot be built or breaks a constraint."""
    costs = dict(zip(model.spent, model.costs_NK(row_1D)[0].tolist(), strict=True))
    if teacher is not None:
        exact = _exact_costs(model.space, candidate, teacher)
        if exact is None:
            return None
        costs |= {name: value for name, value in exact.items() if name in costs}
    return costs if model.keeps_constraints(candidate, costs) else None


def _exact_costs(space: Space, candidate: Mapping[str, Any], teacher: ArchSpec) -> dict[str, float] | None:
    """What the architecture tells to the last digit, on any device; None where it cannot be built."""
    from objectives.device_model import DeviceModel

    # What is exact does not depend on the device.
    device = DeviceModel(
        name="none",
        weights={},
        generation_seconds=0.0,
        forward_macs_per_second=math.inf,
        forward_layer_seconds=0.0,
        train_macs_per_second=math.inf,
        train_layer_seconds=0.0,
    )
    try:
        spec = space.fill(candidate).plan(teacher)
    except UserError:
        return None
    told = {
        name: objective.predict(spec, device)
        for name, objective in space.named_objectives.items()
        if objective.is_exact
    }
    return {name: value for name, value in told.items() if value is not None}


def _readable(space: Space, values: Mapping[str, Any]) -> dict[str, Any]:
    """The candidate with numbers of a few digits, within their ends."""

    def written(knob: Any) -> Any:
        value = values.get(knob.path, knob.extremes()[0])
        if knob.kind != "float" or knob.step is not None:
            return value
        return min(max(float(f"{value:.{_DIGITS}g}"), knob.low), knob.high)

    return space.candidate(written)
