"""Halving: quotas, who goes on, what it notices, and that its state can be told again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from search.halving import Halving, Step
from search.outlook import Foresee, Outlook

SHARES = (1 / 9, 1 / 3, 1.0)


def finished(halving: Halving, trial: int, low: float, final: float) -> None:
    for share, value in zip(SHARES, (low, (low + final) / 2, final), strict=True):
        halving.tell(trial, share, {"fid": value, "size": 1.0})


def test_a_trial_begins_small_and_goes_on_by_quota() -> None:
    halving = Halving(shares=SHARES, keep=0.5)
    for trial, value in enumerate([5.0, 3.0, 9.0]):
        assert halving.next() == Step(trial=None, share=SHARES[0])
        halving.began(trial, SHARES[0])
        if trial:
            halving.tell(trial, SHARES[0], {"fid": value})
    # Two of three have come, so one may go on: the better one. Trial 0 holds nobody up.
    assert halving.next() == Step(trial=1, share=SHARES[1])
    halving.began(1, SHARES[1])
    assert halving.next() == Step(trial=None, share=SHARES[0])


def foreseen(new: float | None, *, odds: float = 0.0, **rates: float) -> Foresee:
    """Waiting trials t0, t1, ... and a new one promise this much, wherever they are looked at next."""

    def foresee(reached: Mapping[int, float], shares: Sequence[float]) -> Outlook:
        told = {int(name[1:]): rate for name, rate in rates.items()}
        return Outlook(
            rates={trial: {share: told[trial] for share in shares if share > reached[trial]} for trial in reached},
            new={} if new is None else dict.fromkeys(shares, new),
            odds=odds,
        )

    return foresee


def looked_at(rates: Mapping[float, float]) -> Foresee:
    """A new trial promises this much, by the share of the next look, and waiting ones twice as much."""
    return lambda reached, shares: Outlook(
        rates={
            trial: {share: 2 * rate for share, rate in rates.items() if share > reached[trial]} for trial in reached
        },
        new=dict(rates),
    )


def with_finished(count: int, **options: Any) -> Halving:
    """Trials 0 to ``count`` - 1 are finished."""
    halving = Halving(shares=SHARES, **options)
    for trial in range(count):
        halving.tell(trial, 1.0, {"fid": 9.0})
    return halving


def test_expected_gain_decides_over_the_order_at_the_rung() -> None:
    halving = Halving(shares=SHARES, keep=0.5)
    halving.tell(0, SHARES[0], {"fid": 3.0})
    halving.tell(1, SHARES[0], {"fid": 4.0})
    assert halving.next().trial == 0
    assert halving.next(foreseen(1.0, t0=0.1, t1=0.7)).trial == 1


def test_a_stale_trial_is_left_for_a_new_one() -> None:
    halving = Halving(shares=SHARES, keep=1.0)
    halving.tell(0, SHARES[0], {"fid": 3.0})
    assert halving.next(foreseen(1.0, t0=0.01)) == Step(trial=None, share=SHARES[0])
    assert halving.next(foreseen(1.0, t0=0.5)).trial == 0
    # During start-up nothing is expected yet of new ones: the order at the rung decides.
    assert halving.next(foreseen(None, t0=0.0)).trial == 0


def test_a_trial_goes_on_when_it_promises_more_than_a_new_one() -> None:
    halving = with_finished(4)
    halving.tell(4, SHARES[0], {"fid": 3.0})
    assert halving.next(foreseen(1.0, t4=1.1)).trial == 4
    assert halving.next(foreseen(1.0, t4=0.9)).trial is None
    # By quota half of the one that came would have gone on, had nobody been finished.
    halving.tell(5, SHARES[0], {"fid": 3.0})
    assert halving.next(foreseen(1.0, t4=0.9, t5=0.8)).trial is None


def test_nothing_is_believed_of_looks_before_some_trials_are_finished() -> None:
    halving = with_finished(3)
    for trial in (3, 4):
        halving.tell(trial, SHARES[0], {"fid": 3.0})
    assert halving.next(foreseen(1.0, t3=0.2, t4=0.1)).trial == 3


@pytest.mark.parametrize(("odds", "is_believed"), [(-1.0, False), (0.0, False), (0.1, True)])
def test_looks_are_believed_where_results_speak_for_it(odds: float, is_believed: bool) -> None:
    halving, fixed = Halving(shares=SHARES), Halving(shares=SHARES, keep=0.9)
    for trial in range(4):
        halving.tell(trial, SHARES[0], {"fid": 10.0 + trial})
        fixed.tell(trial, SHARES[0], {"fid": 10.0 + trial})
    # By the quota a trial goes on; by what it promises none does.
    hardly = foreseen(1.0, odds=odds, t0=0.1, t1=0.1, t2=0.1, t3=0.1)
    assert (halving.next(hardly).trial is None) == is_believed
    # A fixed part is what it is.
    assert fixed.next(foreseen(1.0, odds=odds, t0=0.1, t1=0.5, t2=0.5, t3=0.5)).trial == 1


def test_half_of_the_first_go_on_as_they_come() -> None:
    """Where short trainings mislead, the best of them alone would be the worst of all."""
    halving = Halving(shares=(0.5, 1.0))
    for trial, value in enumerate([8.0, 9.0, 1.0, 7.0, 2.0, 3.0]):
        halving.tell(trial, 0.5, {"fid": value})
    for trial in (2, 0, 4):
        assert halving.next() == Step(trial=trial, share=1.0)
        halving.began(trial, 1.0)
    fixed = Halving(shares=(0.5, 1.0), keep=0.5)
    for trial, value in enumerate([9.0, 1.0, 8.0, 2.0]):
        fixed.tell(trial, 0.5, {"fid": value})
    for trial in (1, 3):
        assert fixed.next() == Step(trial=trial, share=1.0)
        fixed.began(trial, 1.0)


def test_one_in_four_goes_on_whatever_new_trials_promise() -> None:
    halving = with_finished(4)
    for trial in range(4, 8):
        halving.tell(trial, SHARES[0], {"fid": 3.0})
    rates = {f"t{trial}": 0.3 + 0.01 * trial for trial in range(4, 8)}
    assert halving.next(foreseen(1.0, **rates)).trial == 7
    # Unless hardly anything is to be had from them.
    assert halving.next(foreseen(9.0, **rates)).trial is None


def test_the_next_look_is_the_one_that_promises_most_and_none_where_looks_tell_nothing() -> None:
    halving = with_finished(4)
    assert halving.next(looked_at({SHARES[0]: 1.0, SHARES[1]: 1.5, 1.0: 0.7})) == Step(trial=None, share=SHARES[1])
    assert halving.next(looked_at(dict.fromkeys(SHARES, 1.0))) == Step(trial=None, share=1.0)
    halving.tell(4, SHARES[0], {"fid": 3.0})
    assert halving.next(looked_at({SHARES[0]: 1.0, SHARES[1]: 1.5, 1.0: 0.7})) == Step(trial=4, share=SHARES[1])
    assert halving.next(looked_at(dict.fromkeys(SHARES, 1.0))) == Step(trial=4, share=1.0)


def test_sort_puts_dominated_trials_last() -> None:
    halving = Halving(shares=SHARES, keep=0.8, rule="sort")
    for trial, (fid, size) in enumerate([(5.0, 5.0), (9.0, 1.0), (1.0, 9.0), (6.0, 6.0), (4.0, 4.0)]):
        halving.tell(trial, SHARES[0], {"fid": fid, "size": size})
    order = []
    for _ in range(4):
        step = halving.next(foreseen(0.0, t0=9.0, t1=0.0, t2=0.0, t3=0.0, t4=0.0))
        assert step.trial is not None
        order.append(step.trial)
        halving.began(step.trial, step.share)
    assert set(order[:3]) == {1, 2, 4} and order[3] == 0


def test_the_highest_rung_goes_first_and_ends_at_one() -> None:
    halving = Halving(shares=SHARES, keep=1.0)
    halving.tell(0, SHARES[0], {"fid": 3.0})
    halving.tell(0, SHARES[1], {"fid": 2.0})
    halving.tell(1, SHARES[0], {"fid": 1.0})
    assert halving.next() == Step(trial=0, share=1.0)
    halving.tell(0, 1.0, {"fid": 1.5})
    assert halving.next() == Step(trial=1, share=SHARES[1])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_failed_trials_do_not_go_on(value: float) -> None:
    halving = Halving(shares=SHARES, keep=1.0)
    halving.tell(0, SHARES[0], {"fid": value})
    assert halving.next() == Step(trial=None, share=SHARES[0])
    for trial in range(1, 6):
        finished(halving, trial, 3.0 + trial, 2.0 + trial % 3)
    assert 0 <= halving.fidelity(0) <= 1


@pytest.mark.parametrize("noise,lowest,highest", [(0.02, 0.9, 1.0), (3.0, 0.0, 0.5)])
def test_fidelity_is_that_of_all_although_the_best_were_chosen(noise: float, lowest: float, highest: float) -> None:
    halving = Halving(shares=SHARES)
    generator = np.random.default_rng(0)
    final = generator.normal(size=90)
    low = final + noise * generator.normal(size=90)
    for trial in range(90):
        if low[trial] < np.median(low):
            finished(halving, trial, math.exp(1 + low[trial]), math.exp(final[trial]))
        else:
            halving.tell(trial, SHARES[0], {"fid": math.exp(1 + low[trial]), "size": 1.0})
    assert lowest <= halving.fidelity(0) <= highest


def test_where_a_rung_says_nothing_nearly_all_go_on() -> None:
    blind, telling = Halving(shares=SHARES), Halving(shares=SHARES)
    generator = np.random.default_rng(0)
    for trial in range(40):
        final = generator.random()
        finished(blind, trial, generator.random(), final)
        finished(telling, trial, 1.4 * final, final)
    assert blind.kept(0) > 0.85 and telling.kept(0) == 0.5


def test_state_is_told_again_from_results_in_any_order() -> None:
    generator = np.random.default_rng(2)
    told = [
        (trial, share, {"fid": float(generator.random())})
        for trial in range(12)
        for share in SHARES[: int(generator.integers(1, 4))]
    ]
    once, again = Halving(shares=SHARES, least_kept=0.8), Halving(shares=SHARES, least_kept=0.8)
    for result in told:
        once.tell(*result)
    for index in generator.permutation(len(told)):
        again.tell(*told[index])
    assert once.next() == again.next() and once.next().trial is not None
    assert [once.kept(0), once.kept(1)] == pytest.approx([again.kept(0), again.kept(1)])


@pytest.mark.parametrize("shares", [(), (0.5,), (0.5, 0.2, 1.0), (0.0, 1.0), (0.5, 1.5)])
def test_shares_that_make_no_sense_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="must rise"):
        Halving(shares=shares)


def test_shares_that_say_nothing_are_no_longer_used() -> None:
    def after(*, noise: float) -> Step:
        halving = Halving(shares=SHARES)
        generator = np.random.default_rng(1)
        for trial, final in enumerate(generator.normal(size=40)):
            for share in SHARES[:-1]:
                halving.tell(trial, share, {"fid": math.exp(final + noise * generator.normal())})
            halving.tell(trial, 1.0, {"fid": math.exp(final)})
        return halving.next()

    assert after(noise=0.1) == Step(trial=None, share=SHARES[0])
    assert after(noise=50.0) == Step(trial=None, share=1.0)


@pytest.mark.parametrize("rule", ["gain", "sort"])
def test_ties_are_decided_alike_in_any_order_of_telling(rule: Any) -> None:
    generator = np.random.default_rng(1)
    for _ in range(40):
        told = [
            (trial, share, {name: float(generator.integers(1, 4)) for name in ("fid", "size")})
            for trial in range(8)
            for share in SHARES[: 1 + int(generator.random() < 0.4)]
        ]
        steps = set()
        for _ in range(8):
            halving = Halving(shares=SHARES, rule=rule)
            for index in generator.permutation(len(told)):
                halving.tell(*told[index])
            steps.add(halving.next())
        assert len(steps) == 1
