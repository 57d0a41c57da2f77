"""A study's results as functions of the candidate: a process of the learned objective, and one of each cost.

Nothing is built or computed but from the files in the study's folder, so that a page can say it anywhere and at once.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search.simulation.fit import Fit, Seen
from search.simulation.from_study import FEWEST, knob_space, seen_of
from trainers.errors import UserError

if TYPE_CHECKING:
    from search.samplers._gaussian_process import GaussianProcess
    from search.samplers._knob_space import KnobSpace
    from search.space import Space
    from search.views import StudyViews, TrialView

Array = NDArray[np.float64]

_AT_MOST = 120
"""Complete trials that are fitted, of a longer study its front and an even part of the rest: time grows with the cube
of their number."""
_GROWTH = 1.25
_KEPT = 8
_models: dict[tuple[object, ...], StudyModel] = {}


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyModel:
    """What the trials of a study make one expect of any candidate; each is equal to itself alone.

    Args:
        views: The part of the study that was fitted.
        learned: Fit of the learned objective; its process is None where left-out trials are foretold no better than by
            the mean.
        spent: Cost -> its fit; costs that no trial measured are missing.
    """

    views: StudyViews
    space: Space
    knobs: KnobSpace
    learned: Fit
    spent: Mapping[str, Fit]

    @property
    def process(self) -> GaussianProcess | None:
        """Of the learned objective, or of its logarithm."""
        return self.learned.process

    @property
    def sign(self) -> float:
        """-1 where the learned objective is maximised: what multiplies it to be minimised."""
        return -1.0 if self.views.learned.goal == "max" else 1.0

    def as_measured(self, values: Array) -> Array:
        """Values of the fit in the study's units."""
        return np.asarray(np.exp(np.minimum(values, 300.0)) if self.learned.is_log else values)

    def believed(self, rows_ND: Array) -> tuple[Array, Array]:
        """What a full training of each row is expected to give and how far it may be off, in units of the fit.

        The deviation is at least that of trials which were foretold from all others: no candidate is known better.
        """
        if self.process is None:
            return np.full(len(rows_ND), self.learned.mean), np.full(len(rows_ND), self.learned.spread)
        mean, unsure = self.process.predict(self.knobs.features(rows_ND))
        return mean, np.maximum(np.hypot(unsure, self.learned.noise), self.learned.spread)

    def costs_NK(self, rows_ND: Array) -> Array:
        """What each row costs, one column for each of ``spent``; about, and without building anything."""
        features = self.knobs.features(rows_ND)
        columns = [_expected(fit, features) for fit in self.spent.values()]
        return np.column_stack(columns) if columns else np.zeros((len(rows_ND), 0))

    def keeps_constraints(self, candidate: Mapping[str, Any], costs: Mapping[str, float]) -> bool:
        """Whether all constraints hold, as far as ``costs`` tell."""
        return not any(self.space.violations(candidate, costs))


def study_model(views: StudyViews) -> StudyModel | None:
    """The model of a study; None where it has fewer than eight comparable complete trials, or no space to be read.

    While the study runs it is fitted again only when a quarter more trials are complete: the page asks often.
    """
    from search.space import Space

    if len(views.complete) < FEWEST or len(views.extractors) > 1:
        return None
    part = _fitted_part(views)
    key = (views.folder.resolve(), tuple((trial.number, trial.value(views.learned.name)) for trial in part.complete))
    if key not in _models:
        try:
            space = Space.read(views.space_file)
        except UserError:  # a kept study outlives the format of its space, and has a page still
            return None
        if not space.knobs or not all(_is_of(space, trial.candidate) for trial in part.trials):
            return None
        if len(_models) >= _KEPT:
            _models.pop(next(iter(_models)))
        _models[key] = model_of(part, space)
    return _models[key]


def _fitted_part(views: StudyViews) -> StudyViews:
    """The complete trials that are fitted, and those stopped among them."""
    count = len(views.complete)
    if not views.front.finished:
        grown = float(FEWEST)
        while grown * _GROWTH <= count:
            grown *= _GROWTH
        count = math.floor(grown)
    complete = views.complete[:count]
    on_front = {point.trial for point in views.front.points}
    stopped = [trial for trial in views.stopped if trial.number <= complete[-1].number]
    return replace(views, trials=[*_part(complete, _AT_MOST, kept=on_front), *_part(stopped, _AT_MOST // 2)])


def _part(trials: Sequence[TrialView], count: int, *, kept: Container[int] = ()) -> list[TrialView]:
    """``count`` trials, evenly, and those to be kept."""
    places = set(np.linspace(0, len(trials) - 1, min(len(trials), count)).round().astype(int).tolist())
    return [trial for place, trial in enumerate(trials) if place in places or trial.number in kept]


def _is_of(space: Space, candidate: Mapping[str, Any]) -> bool:
    """Whether the space has the knobs and values of a candidate: it may have been edited since."""
    knobs = {knob.path: knob for knob in space.knobs}
    try:
        return all(name in knobs and knobs[name].accepted(value) == value for name, value in candidate.items())
    except ValueError:
        return False


def model_of(views: StudyViews, space: Space) -> StudyModel:
    """The model fitted to all trials of ``views``, at least two of them complete."""
    knobs = knob_space(space)
    seen = list(_counted(views, views.learned.name, views.front.budget_images or space.budget.images))
    # Of what is maximised, a logarithm would turn into no number when it is minimised.
    is_log = views.learned.goal == "min" and all(each.value > 0 for each in seen)
    spent = {cost.name: _cost(views, knobs, cost.name) for cost in views.costs}
    return StudyModel(
        views=views,
        space=space,
        knobs=knobs,
        learned=Fit.of(knobs, seen, is_log=is_log),
        spent={name: fit for name, fit in spent.items() if fit is not None},
    )


def _counted(views: StudyViews, name: str, images: int) -> Iterator[Seen]:
    """All measurements, the confirmed ones in place of the first: the best of these are the luckiest as well."""
    confirmed = {trial.number: trial.value(name) for trial in views.complete if name in trial.confirmed}
    for each in seen_of(views, name, images):
        again = confirmed.get(each.trial)
        yield replace(each, value=again) if again is not None and each.share >= 1 else each


def _cost(views: StudyViews, knobs: KnobSpace, name: str) -> Fit | None:
    """A cost does not depend on how long was trained, so stopped trials tell as much as others."""
    seen = [
        Seen(trial=trial.number, candidate=trial.candidate, value=value)
        for trial in views.trials
        if (value := trial.values.get(name)) is not None and math.isfinite(value)
    ]
    return Fit.expecting(knobs, seen, is_log=all(each.value > 0 for each in seen)) if len(seen) > 1 else None


def _expected(fit: Fit, features_NF: Array) -> Array:
    found = fit.process.predict(features_NF)[0] if fit.process else np.full(len(features_NF), fit.mean)
    return np.asarray(np.exp(np.minimum(found, 300.0)) if fit.is_log else found)
