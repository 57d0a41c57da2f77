"""A search in virtual time: the samplers and the stopping rule of a real one, with a function in place of training."""

from __future__ import annotations

import heapq
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import Trial

    from search.halving import Halving
    from search.outlook import Foresee

Candidate = Mapping[str, Any]

_REJECTIONS = 30
_TRIES = 1_000
"""Candidates in a row that cannot be built before random ones are looked through, and how many of those."""


@dataclass(frozen=True, kw_only=True)
class SimulatedResult:
    """One training that ended.

    Args:
        spent: Full trainings that have ended so far, parts of one included.
        finished_at: Virtual time; the unit is a full training where no seconds were given.
        trial: Number.
        share: Of a full training, the parts before included.
        values: Known and measured objectives; NaN or infinite where the training failed.
    """

    spent: float
    finished_at: float
    trial: int
    candidate: dict[str, Any]
    share: float
    values: dict[str, float]


def simulate(
    distributions: Mapping[str, BaseDistribution],
    evaluate: Callable[[Candidate, float], Mapping[str, float]],
    *,
    costs: Callable[[Candidate], Mapping[str, float] | None] | None,
    limits: Mapping[str, float],
    sampler: BaseSampler,
    halving: Halving | None = None,
    workers: int = 1,
    budget: float,
    seconds: Callable[[Candidate], float] | None = None,
    seed: int = 0,
    until: Callable[[SimulatedResult], bool] | None = None,
    ask: Callable[[Trial], object] | None = None,
) -> list[SimulatedResult]:
    """Search with ``workers`` at once until ``budget`` full trainings were begun.

    A sampler is told each trial's place between the limits as constraints, as Optuna's own understand them; a
    ``BudgetEI`` that lacks them is given costs, limits and distributions. It is changed by being used.

    Args:
        distributions: Knob -> Optuna's distribution.
        evaluate: (candidate, share) -> objective -> what training to this share measures. NaN and infinity are a
            failed training.
        costs: Candidate -> what is known before training; None or NaN: it cannot be built, and costs nothing.
        limits: Objective -> the most that interests. Everything is minimised.
        halving: Stops weak trials early; left out, each is trained in full.
        seconds: Candidate -> how long a full training takes; left out, 1.
        seed: Decides the names' first look at ``evaluate`` where no limit tells them; all else is the sampler's seed.
        until: Ends the search after the first training of which it is true.
        ask: Suggests the knobs of a trial, where some exist only under a choice; left out, it has all of them.

    Returns:
        The trainings in the order in which they ended.
    """
    import optuna

    from search.halving import Halving
    from search.samplers._budget_ei import BudgetEI

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if halving is not None and halving.has_begun:
        raise ValueError("this Halving has heard of the trials of another search. Give each search a new one.")
    limits = {name: limit for name, limit in limits.items() if limit != math.inf}
    names = _names(_drawn(distributions, _TRIES, seed=seed, ask=ask), evaluate, costs, limits)
    if isinstance(sampler, BudgetEI):
        if sampler.objectives and list(sampler.objectives) != names:
            raise ValueError(
                f"the sampler's objectives are {', '.join(sampler.objectives)}, but here they are {', '.join(names)}: "
                "learned ones first. Leave them out: simulate tells the sampler."
            )
        sampler.inform(objectives=names, costs=costs, limits=limits, distributions=distributions)
    study = optuna.create_study(directions=["minimize"] * len(names), sampler=sampler)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names(names)
    search = _Search(
        study=study,
        distributions=distributions,
        evaluate=evaluate,
        costs=costs or _nothing,
        limits=limits,
        seconds=seconds or _one,
        halving=halving or Halving(shares=(1.0,)),
        budget=budget,
        foresee=(lambda reached, shares: sampler.outlook(study, reached, shares))
        if isinstance(sampler, BudgetEI)
        else None,
        seed=seed,
        ask=ask,
    )
    results: list[SimulatedResult] = []
    while True:
        while len(search.jobs) < workers and search.begin():
            pass
        if not search.jobs:
            return results
        for result in search.end_next():
            results.append(result)
            if until is not None and until(result):
                return results


@dataclass(order=True)
class _Job:
    """A training that runs; jobs that end at the same moment end in the order in which they began."""

    ends_at: float
    number: int
    trial: Trial = field(compare=False)
    share: float = field(compare=False)
    part: float = field(compare=False)


@dataclass(kw_only=True)
class _Search:
    """Everything that changes during a simulation."""

    study: Study
    distributions: Mapping[str, BaseDistribution]
    evaluate: Callable[[Candidate, float], Mapping[str, float]]
    costs: Callable[[Candidate], Mapping[str, float] | None]
    limits: Mapping[str, float]
    seconds: Callable[[Candidate], float]
    halving: Halving
    foresee: Foresee | None
    budget: float
    seed: int
    ask: Callable[[Trial], object] | None
    now: float = 0.0
    begun: float = 0.0
    spent: float = 0.0
    jobs: list[_Job] = field(default_factory=list)
    placed: int = 0
    _trials: dict[int, Trial] = field(default_factory=dict)
    _reached: dict[int, float] = field(default_factory=dict)
    _rungs: dict[int, list[dict[str, Any]]] = field(default_factory=dict)

    def begin(self) -> bool:
        """Give a free worker its next training; False when the budget does not allow it."""
        from search.samplers._history import TARGET

        step = self.halving.next(self.foresee, left=self.budget - self.begun)
        if step is None:
            return False
        part = step.share - (0.0 if step.trial is None else self._reached[step.trial])
        trial = self._asked() if step.trial is None else self._trials[step.trial]
        if step.share < 1 or step.trial is not None:
            trial.set_user_attr(TARGET, step.share)
        self.begun += part
        self.halving.began(trial.number, step.share)
        ends_at = self.now + part * self.seconds(trial.params)
        self.placed += 1
        heapq.heappush(self.jobs, _Job(ends_at, self.placed, trial, step.share, part))
        return True

    def end_next(self) -> list[SimulatedResult]:
        """Let time pass until the next training ends, and tell what all that end at that moment gave."""
        ended = []
        self.now = self.jobs[0].ends_at
        while self.jobs and self.jobs[0].ends_at <= self.now + 1e-9:
            ended.append(self._end(heapq.heappop(self.jobs)))
        return ended

    def _end(self, job: _Job) -> SimulatedResult:
        from search.samplers._history import RUNGS

        trial, candidate = job.trial, dict(job.trial.params)
        measured = self.evaluate(candidate, job.share)
        values = {**(self.costs(candidate) or {}), **{name: float(value) for name, value in measured.items()}}
        missing = [name for name in self._names if name not in values]
        if missing:
            raise ValueError(
                f"neither evaluate nor costs gives {', '.join(missing)}, only {', '.join(values)}. Give every "
                "objective and whatever has a limit, NaN where a training failed."
            )
        self.spent += job.part
        self._reached[trial.number] = job.share
        result = SimulatedResult(
            spent=self.spent,
            finished_at=self.now,
            trial=trial.number,
            candidate=candidate,
            share=job.share,
            values=values,
        )
        self.halving.tell(trial.number, job.share, {name: values[name] for name in self._names})
        if not all(math.isfinite(values[name]) for name in self._names):
            self._fail(trial)
        elif job.share >= 1:
            for name, limit in self.limits.items():
                trial.set_constraint(name, (values[name] - limit) / (abs(limit) or 1.0))
            self.study.tell(trial, [values[name] for name in self._names])
        else:
            rungs = self._rungs.setdefault(trial.number, [])
            rungs.append({"share": job.share, "values": {name: values[name] for name in self._names}})
            trial.set_user_attr(RUNGS, list(rungs))
        return result

    def _asked(self) -> Trial:
        """A new trial that can be built; those that cannot are told as failed and cost nothing."""
        for _ in range(_REJECTIONS):
            trial = self._asked_once()
            if self._can_be_built(trial.params):
                return trial
            self._fail(trial)
        self.study.enqueue_trial(self._random_allowed())
        return self._asked_once()

    def _asked_once(self) -> Trial:
        trial = _asked_of(self.study, self.distributions, self.ask)
        self._trials[trial.number] = trial
        return trial

    def _random_allowed(self) -> dict[str, Any]:
        for candidate in _drawn(self.distributions, _TRIES, seed=self.seed + len(self._trials), ask=self.ask):
            if self._can_be_built(candidate):
                return candidate
        raise ValueError(f"none of {_TRIES} random candidates can be built: costs gives None or NaN for all of them.")

    def _can_be_built(self, candidate: Candidate) -> bool:
        costs = self.costs(candidate)
        return costs is not None and all(math.isfinite(value) for value in costs.values())

    def _fail(self, trial: Trial) -> None:
        import optuna

        self.study.tell(trial, state=optuna.trial.TrialState.FAIL)

    @property
    def _names(self) -> list[str]:
        names: list[str] = self.study.metric_names or []
        return names


def random_candidates(
    distributions: Mapping[str, BaseDistribution],
    count: int,
    *,
    seed: int,
    ask: Callable[[Trial], object] | None = None,
) -> list[dict[str, Any]]:
    """Independent candidates; ``ask`` as in ``simulate``."""
    return list(_drawn(distributions, count, seed=seed, ask=ask))


def _drawn(
    distributions: Mapping[str, BaseDistribution], count: int, *, seed: int, ask: Callable[[Trial], object] | None
) -> Iterator[dict[str, Any]]:
    import optuna

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    for _ in range(count):
        yield _asked_of(study, distributions, ask).params


def _asked_of(
    study: Study, distributions: Mapping[str, BaseDistribution], ask: Callable[[Trial], object] | None
) -> Trial:
    if ask is None:
        return study.ask(dict(distributions))
    trial = study.ask()
    ask(trial)
    return trial


def _names(
    candidates: Iterator[Candidate],
    evaluate: Callable[[Candidate, float], Mapping[str, float]],
    costs: Callable[[Candidate], Mapping[str, float] | None] | None,
    limits: Mapping[str, float],
) -> list[str]:
    """Learned objectives, then known ones. What is learned is looked up by one call when no limit names it."""
    first = next(candidates)
    allowed = next((each for each in chain([first], candidates) if costs is None or costs(each) is not None), first)
    known = list((costs(allowed) if costs is not None else None) or {})
    learned = [name for name in limits if name not in known] or [
        name for name in evaluate(allowed, 1.0) if name not in known
    ]
    return [*learned, *known]


def _nothing(candidate: Candidate) -> dict[str, float]:
    return {}


def _one(candidate: Candidate) -> float:
    return 1.0
