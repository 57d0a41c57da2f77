"""A knob by itself: what it accepts, draws, and shows."""

import math
import random

import optuna
import pytest

from search.knob import Knob

FLOAT = Knob(path="x", kind="float", low=0.1, high=0.7)
LOG = Knob(path="x", kind="float", low=1e-5, high=1e-1, log=True)
STEPPED = Knob(path="x", kind="float", low=0.0, high=0.3, step=0.1)
INT = Knob(path="x", kind="int", low=2, high=5)
INT_LOG = Knob(path="x", kind="int", low=1, high=64, log=True)
INT_STEPPED = Knob(path="x", kind="int", low=8, high=16, step=4)
CHOICE = Knob(path="x", kind="choice", choices=("max", 4, None, 0.5))
ONE = Knob(path="x", kind="float", low=0.5, high=0.5)
ALL = [FLOAT, LOG, STEPPED, INT, INT_LOG, INT_STEPPED, CHOICE, ONE]


@pytest.mark.parametrize("knob", ALL, ids=str)
def test_draws_are_accepted_and_reach_both_halves(knob):
    generator = random.Random(0)
    drawn = [knob.random(generator) for _ in range(300)]
    assert [knob.accepted(value) for value in drawn] == drawn
    for extreme in knob.extremes():
        assert knob.accepted(extreme) == extreme
    if knob.kind == "choice":
        assert set(drawn) == set(knob.choices)
    elif knob is not ONE:
        middle = math.sqrt(knob.low * knob.high) if knob.log else (knob.low + knob.high) / 2
        assert 0.3 < sum(value > middle for value in drawn) / len(drawn) < 0.7


@pytest.mark.parametrize("knob", ALL, ids=str)
def test_optuna_suggests_only_what_is_accepted(knob):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        trial = study.ask()
        if knob.kind == "choice":
            value = trial.suggest_categorical("x", list(knob.choices))
        elif knob.kind == "int":
            value = trial.suggest_int("x", int(knob.low), int(knob.high), step=int(knob.step or 1), log=knob.log)
        else:
            value = trial.suggest_float("x", knob.low, knob.high, step=knob.step, log=knob.log)
        assert knob.accepted(value) == (pytest.approx(value) if isinstance(value, float) else value)


@pytest.mark.parametrize(
    ("knob", "value", "message"),
    [
        (FLOAT, 0.8, "must be in {float: [0.1, 0.7]}, got 0.8"),
        (FLOAT, "0.5", "must be in {float: [0.1, 0.7]}, got '0.5'"),
        (FLOAT, math.nan, "must be in {float: [0.1, 0.7]}, got nan"),
        (LOG, 1.0, "must be in {float: [1e-05, 0.1], log: true}, got 1.0"),
        (STEPPED, 0.15, "must be in {float: [0.0, 0.3], step: 0.1}, got 0.15"),
        (INT, 2.5, "must be in {int: [2, 5]}, got 2.5"),
        (INT, True, "must be in {int: [2, 5]}, got True"),
        (INT_STEPPED, 10, "must be in {int: [8, 16], step: 4}, got 10"),
        (CHOICE, "min", "must be one of 'max', 4, None, 0.5, got 'min'"),
        (Knob(path="x", kind="choice", choices=(1, 2)), True, "must be one of 1, 2, got True"),
    ],
)
def test_what_is_not_accepted(knob, value, message):
    with pytest.raises(ValueError) as caught:
        knob.accepted(value)
    assert str(caught.value) == message


def test_accepted_value_has_the_type_of_the_knob():
    assert isinstance(Knob(path="x", kind="float", low=0, high=2).accepted(1), float)
    assert isinstance(INT.accepted(3.0), int)
    assert STEPPED.accepted(0.1 * 3) == pytest.approx(0.3)


def test_extremes_and_probes():
    assert FLOAT.extremes() == (0.1, 0.7)
    assert ONE.extremes() == ONE.probes() == (0.5,)
    assert INT.probes() == (2, 3, 4, 5)
    assert INT_STEPPED.probes() == (8, 12, 16)
    assert STEPPED.probes() == (0.0, 0.1, 0.2, 0.3)
    assert len(FLOAT.probes()) == 3 and not float(FLOAT.probes()[-1]).is_integer()
    many = Knob(path="x", kind="int", low=1, high=1_000_000).probes()
    assert len(many) == 32 and (many[0], many[-1]) == (1, 1_000_000)


def test_is_active_only_when_every_choice_around_it_is_made():
    knob = Knob(path="a.b.c", kind="int", low=1, high=2, condition=(("a", "b"), ("d", 1)))
    assert knob.is_active({"a": "b", "d": 1})
    assert not knob.is_active({"a": "b", "d": True})
    assert not knob.is_active({"a": "b"})
    assert FLOAT.is_active({})
