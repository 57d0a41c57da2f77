"""What a budget says of itself, and that the options of a space are those of the rule."""

from __future__ import annotations

import inspect
from dataclasses import fields

import pytest

from search.budget import Budget, HalvingOptions
from search.halving import Halving

THIRDS = Budget(trials=10, images=90, rungs=(10, 30, 90))


def test_the_options_are_those_of_the_rule() -> None:
    """One that is added to ``Halving`` has to be added to the space, with its default."""
    rule = {name: each.default for name, each in inspect.signature(Halving).parameters.items() if name != "shares"}
    assert {field.name: field.default for field in fields(HalvingOptions)} == rule
    built = HalvingOptions(keep=0.25, rule="sort").build((0.5, 1.0))
    assert (built.shares, built.keep, built.rule, built.kept(0)) == ((0.5, 1.0), 0.25, "sort", 0.25)


@pytest.mark.parametrize("keep", [None, 0.25, 1.0])
def test_expected_trials_cost_the_budget(keep: float | None) -> None:
    at_rungs = THIRDS.expected_at_rungs(HalvingOptions(keep=keep))
    assert sum(count * part for count, part in zip(at_rungs, (1 / 9, 2 / 9, 6 / 9), strict=True)) == pytest.approx(10)
    assert at_rungs[1] / at_rungs[0] == at_rungs[2] / at_rungs[1] == (keep or 0.5)


def test_without_halving_every_trial_comes_to_every_rung() -> None:
    assert THIRDS.expected_at_rungs(None) == (10.0, 10.0, 10.0) and THIRDS.models_kept(None) == 10
    assert THIRDS.models_kept(HalvingOptions()) > 40


def test_the_budget_in_words() -> None:
    assert THIRDS.worth == "10 full trainings' worth of up to 90 images"
    assert Budget(trials=1, images=5_000, rungs=(5_000,)).worth == "1 full training's worth of up to 5,000 images"
