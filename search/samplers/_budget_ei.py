"""BudgetEI: a sampler for mixed knobs, several objectives, known costs and limits, that needs few trials."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from search.outlook import Outlook
from search.samplers._allowed import Allowed, Costs, Problem, UnseenKnobError
from search.samplers._history import History, Others, signs
from search.samplers._knob_space import KnobSpace, Tried
from search.samplers._one_thread import on_one_thread
from search.samplers._prospect import Prospect

Array = NDArray[np.float64]

_LOGGER = logging.getLogger(__name__)
_ROUNDS = (0.3, 0.2, 0.12, 0.06, 0.03)
_CHILDREN = 800
_PRICED = 80
"""Changes in each round, and how many of them are worth knowing the costs of: a space needs a millisecond for each."""
_PARENTS = 24
_AT_ONCE = 64
"""Rows of the pool that are priced before it is asked whether the rest can matter."""
_FEWEST = 4
"""Candidates with a result before anything is concluded from them."""
_AHEAD = 8
"""Of the trials that are asked for at the same moment, how many the last one takes into account."""
_ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


class BudgetEI(BaseSampler):
    """Budget expected improvement under a Gaussian process of each learned objective.

    What it suggests depends on the seed and on what the study holds, and on nothing else, so a study that is opened
    again goes on as if it had never been closed. Constraints that a study's trials carry are not heeded: ``limits``
    and ``costs`` say the same before a training is paid for.

    Args:
        costs: Candidate (knob -> value) -> the objectives that are known before training, in the study's units. None,
            or a NaN, says that the candidate cannot be built or breaks a constraint. Left out, all are learned.
        limits: Objective -> the worst value that still interests. Known ones are never exceeded.
        objectives: Names in the order of the study's directions. Left out, they are the study's metric names, else
            the names in ``limits`` where there are as many as directions, else "0", "1" and so on.
        distributions: The knobs, where they are known before the first trial; then the start-up design covers them
            jointly and within the limits. Left out, they are learned from the trials that have ended, and candidates
            are random for as long as ``costs`` asks for knobs that none of these had.
        startup_trials: How many candidates come from the start-up design.
        seed: None draws one.
        others: What other studies measured, in this one's knobs and order of objectives, everything minimised. It helps
            to foresee, as far as it turns out to be alike, and counts for nothing else.
    """

    def __init__(
        self,
        *,
        costs: Costs | None = None,
        limits: Mapping[str, float] | None = None,
        objectives: Sequence[str] | None = None,
        distributions: Mapping[str, BaseDistribution] | None = None,
        startup_trials: int = 10,
        seed: int | None = None,
        others: Others = (),
    ) -> None:
        self.costs = costs
        self.limits = limits
        self.objectives = objectives
        self.distributions = distributions
        self.startup_trials = startup_trials
        self.others = others
        self.seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self._examples: tuple[Mapping[str, Any], ...] = ()
        self._informed: tuple[object, ...] | None = None
        self._allowed: Allowed | None = None
        self._prospect: tuple[History, Prospect] | None = None
        self._told: tuple[object, Prospect] | None = None
        self._chosen: tuple[Prospect, int, tuple[Array, float]] | None = None

    def inform(
        self,
        *,
        objectives: Sequence[str],
        costs: Costs | None,
        limits: Mapping[str, float] | None,
        distributions: Mapping[str, BaseDistribution],
        examples: Sequence[Mapping[str, Any]] = (),
        others: Others = (),
    ) -> None:
        """What is known of the problem, where it was not said at the beginning.

        Args:
            examples: Candidates that together show when each conditional knob exists; else the trials will.

        Raises:
            ValueError: when it was informed of another problem before.
        """
        problem = (list(objectives), costs, limits, distributions, list(examples), others)
        if self._informed not in (None, problem):
            raise ValueError(
                "this BudgetEI has been told the objectives, costs, limits and knobs of another problem. Give each "
                "search a new one."
            )
        self._informed = problem
        self._examples = self._examples or tuple(examples)
        self.others = self.others or others
        self.objectives = self.objectives or objectives
        self.costs = self.costs or costs
        self.limits = limits if self.limits is None else self.limits
        self.distributions = self.distributions or distributions

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All knobs of ended trials, each with its latest distribution; those that are there only sometimes too."""
        return self._distributions(study)

    @on_one_thread
    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The candidate with the largest budget expected improvement, or one of the start-up design."""
        if not search_space:
            return {}
        history = History.of(study, names=self._names(study), without=trial.number)
        try:
            allowed = self._allowed_in(search_space, history, study)
            history = self._with_pending(history, allowed, study, number=trial.number)
            row_D = self._next(history, allowed, study, number=trial.number)[0]
        except UnseenKnobError as unseen:
            # Where all knobs were named, this one is a slip in ``costs``.
            if self.distributions and unseen.knob not in self.distributions:
                raise
            _LOGGER.warning("trial %d: %s; its candidate is random", trial.number, unseen)
            return {}
        return allowed.space.candidate(row_D)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value: the knob was not known when the trial began."""
        generator = np.random.default_rng([self.seed, trial.number, zlib.crc32(param_name.encode())])
        space = KnobSpace(distributions={param_name: param_distribution})
        return space.candidate(space.spread(generator.random((1, 1)))[0])[param_name]

    def reseed_rng(self) -> None:
        """Nothing to do: what is random depends on the seed and the trial's number, so no two workers repeat it."""

    @on_one_thread
    def outlook(self, study: Study, reached: Mapping[int, float], shares: Sequence[float]) -> Outlook:
        """What the waiting trials promise, each trained to the share ``reached``, and what the next new one does."""
        distributions = self._distributions(study)
        if not distributions:
            return Outlook(rates={}, new={})
        history = History.of(study, names=self._names(study))
        allowed = self._allowed_in(distributions, history, study)
        row_D, gain = self._next(history, allowed, study, number=len(study.get_trials(deepcopy=False)))
        if len(history.observations) < _FEWEST:
            return Outlook(rates={}, new={})
        prospect = self._prospect_of(history, allowed, study)
        rates: dict[int, dict[float, float]] = {}
        for share in sorted(set(reached.values())):
            numbers = [number for number in history.waiting if reached.get(number) == share]
            rows = allowed.space.rows([history.waiting[number] for number in numbers])
            rates |= zip(numbers, _by_share(prospect, rows, reached=share, shares=shares), strict=True)
        is_startup = not np.isfinite(gain)
        new = {} if is_startup else _by_share(prospect, row_D[None, :], reached=0.0, shares=shares)[0]
        return Outlook(rates=rates, new=new, odds=prospect.odds)

    def _with_pending(self, history: History, allowed: Allowed, study: Study, *, number: int) -> History:
        """As if the trials that other workers ask for at this moment ran already, with what these will be given."""
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        pending = [trial.number for trial in running if trial.number < number and not trial.params]
        for each in pending[-_AHEAD:]:
            row_D = self._next(history, allowed, study, number=each)[0]
            history = replace(history, running=(*history.running, allowed.space.candidate(row_D)))
        return history

    def _next(self, history: History, allowed: Allowed, study: Study, *, number: int) -> tuple[Array, float]:
        """The row of the trial called ``number``, and its gain."""
        tried = {row.tobytes() for row in allowed.space.rows([each.candidate for each in history.observations])}
        # Asked for many at once, the design goes on until there is something to learn from.
        # Other studies stand in for the rest of the design as soon as a few full trainings tell how far they are alike.
        is_informed = bool(self.others) and len(history.full) >= _FEWEST
        if (number < self.startup_trials and not is_informed) or len(tried) < _FEWEST:
            row_D = allowed.design_D(number)
            if row_D is not None:
                return row_D, np.inf
            if not history.observations:
                return allowed.pool_ND[number % len(allowed.pool_ND)], np.inf
        prospect = self._prospect_of(history, allowed, study)
        # Kept in a local name as well: another thread may ask through the same sampler.
        chosen = self._chosen
        if chosen is None or chosen[0] is not prospect or chosen[1] != number:
            chosen = self._chosen = (prospect, number, self._best(prospect, history, number=number))
        return chosen[2]

    def _best(self, prospect: Prospect, history: History, *, number: int) -> tuple[Array, float]:
        """The row not tried before with the largest gain: of the pool, then of changes of the best in smaller steps."""
        allowed = prospect.allowed
        generator = np.random.default_rng([self.seed, number])
        tried = _tried(allowed.space, history)
        rows, gain = _hopeful(prospect, tried)
        measured = allowed.space.settled(allowed.space.rows([each.candidate for each in history.full]))
        for step in _ROUNDS:
            parents = rows[np.argsort(-gain, kind="stable")[:_PARENTS]]
            if step == _ROUNDS[0]:
                parents = np.vstack([parents, measured])
            beside = parents[generator.integers(len(parents), size=_CHILDREN)]
            children = allowed.neighbours(beside, step=step, generator=generator)
            hopeful = np.argsort(-prospect.estimated_gain_C(children, beside), kind="stable")[:_PRICED]
            children = allowed.within(children[hopeful])
            rows, gain = np.vstack([rows, children]), np.concatenate([gain, prospect.gain_C(children)])
        order = np.argsort(-gain, kind="stable")
        # Once everything was tried, the best is tried again.
        new = order[~tried.holds_N(rows[order])]
        best = new[0] if len(new) else order[0]
        return rows[best], float(gain[best])

    def _prospect_of(self, history: History, allowed: Allowed, study: Study) -> Prospect:
        kept = self._prospect
        if kept is None or kept[0] != history or kept[1].allowed is not allowed:
            told = self._told_prospect(history, allowed, study)
            kept = self._prospect = (
                history,
                told.with_running(allowed.space.filled(allowed.space.rows(history.running))),
            )
        return kept[1]

    def _told_prospect(self, history: History, allowed: Allowed, study: Study) -> Prospect:
        # While several are asked for, only what runs changes: the processes need not be fitted again.
        told = (history.observations, history.failed)
        kept = self._told
        if kept is None or kept[0] != told or kept[1].allowed is not allowed:
            names, limits = self._names(study), self._limits(study)
            prospect = Prospect.of(
                history,
                allowed,
                known=[names.index(name) for name in allowed.known],
                limits_M=np.array([limits.get(name, np.nan) for name in names]),
                seed=self.seed,
                others=self.others,
            )
            kept = self._told = (told, prospect)
        return kept[1]

    def _allowed_in(self, distributions: Mapping[str, BaseDistribution], history: History, study: Study) -> Allowed:
        space = KnobSpace.seen(distributions, [*self._examples, *history.candidates])
        names = self._names(study)
        problem = Problem(
            fixed=self._fixed(study, distributions),
            costs=self.costs,
            objectives=names,
            limits=self._limits(study),
            sign=dict(zip(names, signs(study), strict=True)),
        )
        allowed = self._allowed
        if allowed is None or (allowed.space, allowed.problem) != (space, problem):
            allowed = self._allowed = Allowed(space, problem, seed=self.seed)
        return allowed

    def _distributions(self, study: Study) -> dict[str, BaseDistribution]:
        """The knobs that are searched."""
        return {name: each for name, each in self._seen(study).items() if not each.single()}

    def _fixed(self, study: Study, searched: Collection[str]) -> dict[str, Any]:
        """The other knobs: those of one value, and what a ``PartialFixedSampler`` fixes, as the last trial had it."""
        seen = self._seen(study)
        fixed = {name: _only_value(each) for name, each in seen.items() if each.single()}
        if len(searched) + len(fixed) < len(seen):
            for trial in study.get_trials(deepcopy=False, states=_ENDED):
                fixed |= {name: value for name, value in trial.params.items() if name not in searched}
        return fixed

    def _seen(self, study: Study) -> dict[str, BaseDistribution]:
        # A trial that runs may have more knobs than it was asked for until now.
        found = dict(self.distributions or {})
        for trial in study.get_trials(deepcopy=False, states=_ENDED):
            found |= trial.distributions
        return found

    def _names(self, study: Study) -> list[str]:
        count = len(study.directions)
        if self.objectives is not None:
            if len(self.objectives) != count:
                raise ValueError(
                    f"the sampler's objectives are {', '.join(self.objectives)}, but the study has {count}. "
                    "Give each study a sampler of its own."
                )
            return list(self.objectives)
        if study.metric_names is not None:
            return list(study.metric_names)
        if self.limits is not None and len(self.limits) == count:
            return list(self.limits)
        names = [str(index) for index in range(count)]
        unknown = set(self.limits or ()) - set(names)
        if unknown:
            raise ValueError(
                f"limits names {', '.join(sorted(unknown))}, but the study's {count} objectives have no names. "
                "Name them in its order: BudgetEI(objectives=[...])."
            )
        return names

    def _limits(self, study: Study) -> dict[str, float]:
        """Limits on what is minimised."""
        sign = dict(zip(self._names(study), signs(study), strict=True))
        limits = {name: limit * sign.get(name, 1.0) for name, limit in (self.limits or {}).items()}
        return {name: limit for name, limit in limits.items() if limit != np.inf}


def _only_value(distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return distribution.low


def _by_share(
    prospect: Prospect, rows_CD: Array, *, reached: float, shares: Sequence[float]
) -> list[dict[float, float]]:
    coming = [share for share in shares if share > reached]
    rates_SC = prospect.rates_SC(rows_CD, reached=reached, shares=coming)
    return [dict(zip(coming, rates_S, strict=True)) for rates_S in rates_SC.T.tolist()]


def _tried(space: KnobSpace, history: History) -> Tried:
    # One that runs may not have been asked for all its knobs yet; what it has tells it apart for so long.
    final = [*(each.candidate for each in history.observations), *history.running]
    return space.tried(final, [*history.waiting.values(), *history.failed])


def _hopeful(prospect: Prospect, tried: Tried) -> tuple[Array, Array]:
    """The rows of the pool that can be parents or the best untried one, and their gains: none gains more than it hopes.

    The costs of the others need not be known.
    """
    pool = prospect.allowed.pool_ND
    hope = prospect.hope_C(pool)
    order = np.argsort(-hope, kind="stable")
    is_new = ~tried.holds_N(pool[order])
    gain = np.zeros(0)
    while len(gain) < len(order):
        gain = np.concatenate([gain, prospect.gain_C(pool[order[len(gain) : len(gain) + _AT_ONCE]])])
        enough = np.sort(gain)[-_PARENTS:][0]
        enough = min(enough, gain[is_new[: len(gain)]].max(initial=0.0)) if is_new.any() else enough
        if len(gain) < len(order) and hope[order[len(gain)]] < enough:
            break
    return pool[order[: len(gain)]], gain
