"""New candidates of a study: what its sampler proposes, none of it beyond the limits that are known beforehand."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from search import stored
from search._database import Database
from search._knob_distributions import distribution, suggested
from search.known import Foresight
from search.other_studies import OtherStudy, observations
from search.outlook import Foresee
from search.record import Record
from search.samplers._budget_ei import BudgetEI
from search.samplers.sampler import Problem
from search.space import Space
from trainers.errors import UserError

_REJECTIONS_BEFORE_RANDOM = 30
_RANDOM_TRIES = 2_000


class Candidates:
    """Asks the sampler of a space through the study's database."""

    def __init__(
        self, space: Space, foresight: Foresight, database: Database, others: Sequence[OtherStudy] = ()
    ) -> None:
        self._space = space
        self._foresight = foresight
        self._database = database
        self._others = others
        # Most samplers, started again with the same seed, would repeat their first suggestions.
        told = len(database.trials()) if space.sampler.derives_seed else 0
        self._sampler = space.sampler.build(seed=(space.sampler.seed + 7919 * told) % 2**32)
        space.sampler.inform(self._sampler, self._problem())
        database.optuna.sampler = self._sampler

    @property
    def foresee(self) -> Foresee | None:
        """What going on with a trial promises; None where the sampler cannot tell, or there is nothing to choose."""
        sampler = self._sampler
        if not isinstance(sampler, BudgetEI) or not self._space.knobs:
            return None
        return lambda reached, shares: sampler.outlook(self._database.optuna, reached, shares)

    def ask(self) -> int:
        """The number of a new trial whose candidate meets all constraints and known limits.

        Those that break one are kept in the database as rejected.

        Raises:
            UserError: when none can be found that meets them.
        """
        for _ in range(_REJECTIONS_BEFORE_RANDOM):
            number, is_allowed = self._ask_once()
            if is_allowed:
                return number
        # Little of the space is allowed and the sampler does not find it: search at random and enqueue what is.
        self._database.optuna.enqueue_trial(self._random_allowed())
        return self._ask_once()[0]

    def take(self, number: int) -> None:
        """Begin a queued trial, whose candidate was named with it."""
        trial = self._database.begun(number)
        self._space.candidate(lambda knob: suggested(trial, knob))

    def _ask_once(self) -> tuple[int, bool]:
        trial = self._database.optuna.ask()
        candidate = self._space.candidate(lambda knob: suggested(trial, knob))
        trial.set_user_attr(stored.CANDIDATE, candidate)
        reasons = self._foresight.of(candidate).reasons
        if reasons:
            rejected = Record(number=trial.number, state="rejected", reason=reasons[0], candidate=candidate)
            self._database.end(rejected, values=None, excess={})
        return trial.number, not reasons

    def _problem(self) -> Problem:
        def costs(values: Mapping[str, Any]) -> Mapping[str, float] | None:
            # A knob that no trial has had yet may be missing, and is drawn when it comes.
            candidate = self._space.candidate(lambda knob: values.get(knob.path, knob.extremes()[0]))
            known = self._foresight.of(candidate)
            # What is only beyond a limit tells the sampler by how much.
            return known.costs if known.is_possible else None

        return Problem(
            objectives=self._space.objective_names,
            limits=self._foresight.limits,
            distributions={knob.path: distribution(knob) for knob in self._space.knobs},
            costs=costs,
            examples=list(self._space.corners()),
            others=observations(self._others, self._space),
        )

    def _random_allowed(self) -> dict[str, Any]:
        generator = random.Random(f"{self._space.sampler.seed}:{len(self._database.trials())}")
        for _ in range(_RANDOM_TRIES):
            candidate = self._space.random_candidate(generator)
            if not self._foresight.of(candidate).reasons:
                return candidate
        raise UserError(
            f"none of {_RANDOM_TRIES} random candidates meets the limits and constraints of the space. "
            "Loosen a limit, or see which one excludes them with --dry-run."
        )
