"""What a study trains next: its halving, told again from the stored trials, within what is left of its budget."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from search import stored
from search.budget import Budget, HalvingOptions
from search.halving import Halving, Step
from search.outlook import Foresee

_TOLERANCE = 1e-9


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Decides from the stored trials alone, so that whoever opens the study decides the same.

    Args:
        halving: None trains every trial in full.
        signs: Objective -> -1 where it is maximised.
    """

    budget: Budget
    halving: HalvingOptions | None
    signs: Mapping[str, float]

    @property
    def shares(self) -> tuple[float, ...]:
        """Where a trial may be stopped, and a full training."""
        return self.budget.shares if self.halving is not None else (1.0,)

    def left(self, trials: Sequence[FrozenTrial]) -> float:
        """Full trainings' worth that may still be given out."""
        return self.budget.trials - stored.spent(trials)

    def next(self, trials: Sequence[FrozenTrial], foresee: Foresee | None) -> Step | None:
        """What a free worker trains; None when the budget does not pay for it, until another trial has ended."""
        left = self.left(trials)
        going_on = self._interrupted(trials)
        if going_on is not None:
            return going_on if self._price(trials, going_on) <= left + _TOLERANCE else None
        if left < min(after - before for before, after in itertools.pairwise((0.0, *self.shares))) - _TOLERANCE:
            return None
        return self._told(trials, self.halving or HalvingOptions()).next(foresee, left=left)

    def _interrupted(self, trials: Sequence[FrozenTrial]) -> Step | None:
        """To the end of a trial that lost its driver or its worker, where no halving decides who goes on."""
        waiting = (each for each in trials if stored.was_interrupted(each) and not stored.is_by_hand(each))
        first = next(waiting, None) if self.halving is None else None
        return None if first is None else Step(trial=first.number, share=1.0)

    def _price(self, trials: Sequence[FrozenTrial], step: Step) -> float:
        return step.share - (0.0 if step.trial is None else stored.target(trials[step.trial]))

    def _told(self, trials: Sequence[FrozenTrial], options: HalvingOptions) -> Halving:
        halving = options.build(self.shares)
        for trial in trials:
            if stored.is_free(trial):
                continue
            halving.began(trial.number, stored.target(trial))
            for rung in stored.rungs(trial):
                values = {name: self.signs.get(name, 1.0) * value for name, value in rung["values"].items()}
                halving.tell(trial.number, rung["share"], values)
            if trial.state == TrialState.FAIL:
                halving.tell(trial.number, stored.target(trial), {"": math.nan})
        return halving
