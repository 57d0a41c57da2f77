"""Stopping weak trials early for several objectives: which trial trains next, and up to what share of the budget.

Every trial begins at the smallest share. At each share (a *rung*) it is looked at, and it goes on while that promises
more for what is still to be paid than a new trial does, whose price holds the looks and the chance of being left. How
many go on follows from this: few where a look tells much, all where it tells nothing, and then nobody is looked at.

Looks are believed while what was measured is more probable if full trainings go as they do than if the two have nothing
to do with each other. Where it is not, until some trials have been finished, and where no sampler foresees anything, a
quota says which part of a rung's trials goes on: few where its order was found to predict the final one, all where it
says nothing. Half of these go on however they look: only they can show that looks mislead. No trial waits for a
rung-mate.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from search.front import non_dominated
from search.outlook import Foresee, Outlook
from search.rank_fidelity import corrected_correlation

_USELESS_TO_USEFUL = (0.1, 0.3)
"""Rank correlations at which a rung stops nobody, and from which on it stops as many as it may."""
_FINISHED_TO_JUDGE = 4
"""Full trainings from which on a process that sees nothing in looks is believed too."""
_ALWAYS_KEPT = 0.25
"""The part of a rung that goes on whatever new trials promise: hopes must not end in beginnings only."""
_WORTHWHILE = 0.15
"""A trial that promises less than this part of what a new one does is left, though the quota has a place for it."""
_PRIOR_FIDELITY = 0.5
_PRIOR_PAIRS = 3
"""What is taken for a rung's rank correlation before it is measured, and how many measured pairs that is worth."""
_TOLERANCE = 1e-9
_AS_GOOD = 0.999
"""A look that adds less than the rest to this part of the rate is no reason to stop."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a free worker does: train to ``share``; ``trial`` is None for a new one."""

    trial: int | None
    share: float


class Halving:
    """The rule. It holds nothing that cannot be told again from a study's results, in any order.

    Args:
        shares: Of the full training, rising, the last one 1.
        keep: The part of a rung's trials that goes on; None lets it follow from what is measured.
        least_kept: The part that goes on by quota where a rung predicts well.
        rule: Who goes on: the largest expected ``gain``, or the first by non-dominated ``sort``.
    """

    def __init__(
        self,
        *,
        shares: Sequence[float] = (1 / 9, 1 / 3, 1.0),
        keep: float | None = None,
        least_kept: float = 0.5,
        rule: Literal["gain", "sort"] = "gain",
    ) -> None:
        rising = all(before < after for before, after in itertools.pairwise(shares))
        if not shares or shares[0] <= 0 or shares[-1] != 1 or not rising:
            raise ValueError(f"shares must rise from above 0 to 1, got {tuple(shares)!r}. For example (1/9, 1/3, 1).")
        self.shares = tuple(float(share) for share in shares)
        self.keep = keep
        self.least_kept = least_kept
        self.rule = rule
        self._values: dict[int, dict[int, Mapping[str, float]]] = {}
        self._target: dict[int, int] = {}
        self._lost: set[int] = set()

    @property
    def has_begun(self) -> bool:
        """Whether it was told of any trial."""
        return bool(self._target)

    def began(self, trial: int, share: float) -> None:
        """A trial is being trained up to ``share``."""
        self._target[trial] = max(self._rung(share), self._target.get(trial, 0))

    def tell(self, trial: int, share: float, values: Mapping[str, float]) -> None:
        """What a trial measured at ``share``, everything minimised; NaN or infinity: it failed and is over."""
        self.began(trial, share)
        if all(math.isfinite(value) for value in values.values()):
            self._values.setdefault(trial, {})[self._rung(share)] = dict(values)
        else:
            self._lost.add(trial)

    def next(self, foresee: Foresee | None = None, *, left: float = math.inf) -> Step | None:
        """What a free worker does now; None when it is to wait for another trial, or nothing is left.

        Args:
            foresee: Tells what waiting trials and a new one are worth.
            left: Full trainings' worth that may still be begun. Many workers must not spend it on beginnings only, so
                at first a trial begins only where the rest pays for what the quotas promise to those that have begun.
        """
        step = self._preferred(foresee)
        if not self._leaves_enough(step, left):
            if self._is_anyone_training():
                return None
            furthest = self._furthest()
            if furthest is None or not self._leaves_enough(furthest, left):
                return None
            step = furthest
        return step if self._price(step) <= left + _TOLERANCE else None

    def _preferred(self, foresee: Foresee | None) -> Step:
        outlook = self._outlook(foresee)
        new = max(outlook.new.values(), default=0.0)
        worth = {trial: max(rates.values()) for trial, rates in outlook.rates.items() if rates}
        is_judged = self._is_judged(outlook)
        is_told = new > 0 and is_judged
        if is_told:
            best = max(worth, key=lambda trial: worth[trial], default=None)
            if best is not None and worth[best] >= new:
                return Step(trial=best, share=_stop(outlook.rates[best]))
        least = _WORTHWHILE * new if is_told or self.keep is not None else 0.0
        for rung in reversed(range(len(self.shares) - 1)):
            there = [trial for trial in self.waiting(rung) if worth.get(trial, 0.0) >= least]
            if there and self._went_on(rung) < self._quota(rung, _ALWAYS_KEPT if is_told else self.kept(rung)):
                best = max(there, key=lambda trial: worth.get(trial, 0.0))
                if not is_judged and self._is_any_taken(rung):
                    best = there[0]
                elif worth.get(best, 0.0) <= 0:
                    best = self._first_by_sort(rung, there)
                share = _stop(outlook.rates[best]) if is_told else self._next_stop(rung + 1)
                return Step(trial=best, share=share)
        return Step(trial=None, share=_stop(outlook.new) if is_told else self._next_stop(0))

    def waiting(self, rung: int) -> list[int]:
        """Trials that were trained to this rung and no further."""
        return sorted(
            trial
            for trial, target in self._target.items()
            if target == rung and trial not in self._lost and rung in self._values.get(trial, {})
        )

    def kept(self, rung: int) -> float:
        """The part of the trials at this rung that goes on."""
        if self.keep is not None:
            return self.keep
        return float(np.interp(self.fidelity(rung), _USELESS_TO_USEFUL, (1.0, self.least_kept)))

    def fidelity(self, rung: int) -> float:
        """How this rung's values are correlated by rank with the final ones, from 0 to 1, averaged over what changes.

        Measured on the trials that were trained to the end, corrected for their having been chosen by this rung
        (Thorndike 1949, case 2), and drawn towards a prior while they are few.
        """
        last = len(self.shares) - 1
        pairs = [values for values in self._values.values() if rung in values and last in values]
        everyone = [values[rung] for values in self._values.values() if rung in values]
        found = []
        for name in pairs[0][last] if pairs else ():
            low = np.array([values[rung][name] for values in pairs if name in values[rung]])
            final = np.array([values[last][name] for values in pairs if name in values[rung]])
            if len(low) >= 3 and not np.array_equal(low, final):
                reached = np.array([values[name] for values in everyone if name in values])
                found.append(corrected_correlation(low, final, reached) or 0.0)
        measured = max(float(np.mean(found)), 0.0) if found else 0.0
        pairs_count = len(pairs) if found else 0
        return (pairs_count * measured + _PRIOR_PAIRS * _PRIOR_FIDELITY) / (pairs_count + _PRIOR_PAIRS)

    def _furthest(self) -> Step | None:
        """The best of the trials that were trained furthest goes on, whatever is expected of it."""
        for rung in reversed(range(len(self.shares) - 1)):
            there = self.waiting(rung)
            if there:
                return Step(trial=self._first_by_sort(rung, there), share=self.shares[rung + 1])
        return None

    def _is_anyone_training(self) -> bool:
        live = ((trial, target) for trial, target in self._target.items() if trial not in self._lost)
        return any(target not in self._values.get(trial, {}) for trial, target in live)

    def _price(self, step: Step) -> float:
        return step.share - (0.0 if step.trial is None else self.shares[self._target[step.trial]])

    def _leaves_enough(self, step: Step, left: float) -> bool:
        """Whether the rest pays for one full training; while few were finished, for all that a beginning promises."""
        targets = {trial: target for trial, target in self._target.items() if trial not in self._lost}
        targets[-1 if step.trial is None else step.trial] = self._rung(step.share)
        is_beginning = step.trial is None and self._finished() < _FINISHED_TO_JUDGE
        promised, owed = len(targets), 0.0
        for rung, (before, after) in enumerate(itertools.pairwise(self.shares)):
            further = sum(target > rung for target in targets.values())
            by_quota = math.floor(self.kept(rung) * promised + 1e-9) if is_beginning else 0
            promised = max(further, by_quota, 1)
            owed += (promised - further) * (after - before)
        return left - self._price(step) >= owed - _TOLERANCE

    def _next_stop(self, rung: int) -> float:
        """The first share from this rung on that was not found to say nothing of the final order."""
        last = len(self.shares) - 1
        if self.keep is not None:
            return self.shares[rung]
        stops = (each for each in range(rung, last) if self.kept(each) < 1)
        return self.shares[next(stops, last)]

    def _outlook(self, foresee: Foresee | None) -> Outlook:
        rungs = range(len(self.shares) - 1)
        waiting = {trial: self.shares[rung] for rung in rungs for trial in self.waiting(rung)}
        # With nobody to choose, only where a new one is looked at first depends on it, and not where the part is fixed.
        is_needed = bool(waiting) or (bool(rungs) and bool(self._values) and self.keep is None)
        if foresee is None or self.rule != "gain" or not is_needed:
            return Outlook(rates={}, new={})
        return foresee(waiting, self.shares)

    def _is_judged(self, outlook: Outlook) -> bool:
        """Whether it is known what a look tells, and for the rule to follow."""
        return self.keep is None and (outlook.odds > 0 or self._finished() >= _FINISHED_TO_JUDGE)

    def _is_any_taken(self, rung: int) -> bool:
        """Whether whoever came first goes on, good or not: every second one, until it is known what a look tells.

        Were only the best to go on, a rung that misleads would have the worst finished first, and could not be told
        from one that is right.
        """
        return self.keep is None and self._went_on(rung) % 2 == 1

    def _finished(self) -> int:
        return sum(len(self.shares) - 1 in values for values in self._values.values())

    def _quota(self, rung: int, kept: float) -> int:
        reached = sum(rung in values for values in self._values.values())
        return math.floor(kept * reached + 1e-9)

    def _went_on(self, rung: int) -> int:
        return sum(target > rung and rung in self._values.get(trial, {}) for trial, target in self._target.items())

    def _first_by_sort(self, rung: int, waiting: list[int]) -> int:
        """The waiting trial on the best non-dominated layer of the rung; within a layer the lowest sum of ranks."""
        everyone = [trial for trial, values in self._values.items() if rung in values]
        # On another device, or by another version, more may have been foretold.
        names = [
            name
            for name in self._values[waiting[0]][rung]
            if all(name in self._values[each][rung] for each in everyone)
        ]
        points = np.array([[self._values[trial][rung][name] for name in names] for trial in everyone])
        # Equal values have equal ranks, the mean of their places.
        places = (points[:, None] < points[None]).sum(axis=0) + ((points[:, None] == points[None]).sum(axis=0) - 1) / 2
        ranks = places.sum(axis=1)
        layer, left = np.zeros(len(points)), np.arange(len(points))
        while len(left):
            is_front = non_dominated(points[left])
            left = left[~is_front]
            layer[left] += 1
        place = {trial: (layer[index], ranks[index]) for index, trial in enumerate(everyone)}
        return min(waiting, key=lambda trial: (*place[trial], trial))

    def _rung(self, share: float) -> int:
        return int(np.argmin([abs(share - known) for known in self.shares]))


def _stop(rates: Mapping[float, float]) -> float:
    """Where to look next: the last of the shares that are as good as the best, so 1 where looking tells nothing."""
    best = max(rates.values())
    return max(share for share, rate in rates.items() if rate >= _AS_GOOD * best)
