"""The budget is never exceeded, always buys something, and whoever decides sees what is stored and nothing else."""

from __future__ import annotations

import math
import random

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from search import stored
from search.budget import Budget, HalvingOptions
from search.halving import Halving
from search.next_step import Pace

NINTHS = Budget(trials=6, images=900, rungs=(100, 300, 900))


def pace(trials: int = 6, **options: object) -> Pace:
    budget = Budget(trials=trials, images=NINTHS.images, rungs=NINTHS.rungs)
    return Pace(budget=budget, halving=HalvingOptions(**options), signs={"fid": 1.0, "ssim": -1.0})


def begun(number: int, share: float) -> FrozenTrial:
    trial = create_trial(state=TrialState.RUNNING, user_attrs={stored.TARGET: share})
    trial.number = number
    return trial


def told(trial: FrozenTrial, share: float, **values: float) -> None:
    """A rung was reached; a full training ends the trial."""
    result = {"images": round(900 * share), "measurements": {}}
    rung = {"share": share, "values": values, "result": result, "seconds": 1.0}
    trial.user_attrs[stored.RUNGS] = [*stored.rungs(trial), rung]
    if share == 1:
        trial.state = TrialState.COMPLETE
        trial.values = [0.0]


def played(rule: Pace, *, workers: int, seed: int, failing: float = 0.0) -> list[FrozenTrial]:
    """A search in which jobs end in random order."""
    generator = random.Random(seed)
    trials: list[FrozenTrial] = []
    running: list[FrozenTrial] = []
    while True:
        while len(running) < workers and (step := rule.next(trials, None)) is not None:
            if step.trial is None:
                trials.append(begun(len(trials), step.share))
            else:
                trials[step.trial].user_attrs[stored.TARGET] = step.share
            running.append(trials[-1 if step.trial is None else step.trial])
            assert rule.left(trials) > -1e-9
        if not running:
            return trials
        trial = running.pop(generator.randrange(len(running)))
        if generator.random() < failing:
            trial.state = TrialState.FAIL
        else:
            told(trial, stored.target(trial), fid=generator.random(), ssim=generator.random())


@pytest.mark.parametrize("keep", [None, 0.05, 1.0])
@pytest.mark.parametrize("trials", [1, 2, 7])
@pytest.mark.parametrize("workers", [1, 4])
def test_every_budget_buys_a_full_training_and_is_not_exceeded(keep: float | None, trials: int, workers: int) -> None:
    for seed in range(5):
        rule = pace(trials, keep=keep)
        ended = played(rule, workers=workers, seed=seed)
        assert any(trial.state == TrialState.COMPLETE for trial in ended)
        assert 0 <= round(rule.left(ended), 9) < 1
        assert all(trial.state == TrialState.COMPLETE or stored.is_waiting(trial) for trial in ended)


def test_failures_cost_what_was_given_and_the_search_ends() -> None:
    for seed in range(5):
        rule = pace(4)
        ended = played(rule, workers=3, seed=seed, failing=0.5)
        assert any(trial.state == TrialState.FAIL for trial in ended)
        assert rule.left(ended) == pytest.approx(4 - sum(stored.target(trial) for trial in ended))


def test_without_halving_every_trial_is_trained_in_full() -> None:
    ended = played(Pace(budget=NINTHS, halving=None, signs={}), workers=2, seed=0)
    assert [(trial.state, stored.target(trial)) for trial in ended] == [(TrialState.COMPLETE, 1.0)] * 6


def test_it_decides_as_the_rule_does_that_heard_everything_as_it_came() -> None:
    """In the middle of a large budget, where nothing is scarce."""
    rule, heard = pace(1_000), Halving(shares=NINTHS.shares)
    trials: list[FrozenTrial] = []
    generator = random.Random(3)
    for _ in range(120):
        step = rule.next(trials, None)
        assert step is not None and step == heard.next()
        if step.trial is None:
            trials.append(begun(len(trials), step.share))
        trial = trials[-1 if step.trial is None else step.trial]
        trial.user_attrs[stored.TARGET] = step.share
        heard.began(trial.number, step.share)
        if generator.random() < 0.1:
            trial.state = TrialState.FAIL
            heard.tell(trial.number, step.share, {"": math.nan})
        else:
            fid, ssim = generator.random(), generator.random()
            told(trial, step.share, fid=fid, ssim=ssim)
            heard.tell(trial.number, step.share, {"fid": fid, "ssim": -ssim})
    assert sum(trial.state == TrialState.COMPLETE for trial in trials) > 10


def test_trials_that_cost_nothing_are_not_counted() -> None:
    trials = [begun(number, 1 / 9) for number in range(4)]
    for trial in trials[:3]:
        trial.state = TrialState.FAIL
    trials[0].user_attrs[stored.RECORD] = {"state": "rejected", "reason": "too large"}
    trials[1].user_attrs[stored.RECORD] = {"state": "failed", "reason": f"{stored.LOST} (attempt 1)"}
    trials[2].user_attrs[stored.RECORD] = {"state": "failed", "reason": "FloatingPointError"}
    assert stored.spent(trials) == pytest.approx(2 / 9)
    assert [stored.is_free(trial) for trial in trials] == [True, True, False, False]
    # A trial of a study that knew no parts was given a full training.
    del trials[3].user_attrs[stored.TARGET]
    assert stored.spent(trials) == pytest.approx(1 + 1 / 9)
