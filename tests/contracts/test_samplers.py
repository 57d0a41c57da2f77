"""What every sampler promises: it builds, stays inside the knobs, and its seed decides what it suggests."""

from __future__ import annotations

import optuna
import pytest

from search.samplers.sampler import SAMPLERS

optuna.logging.set_verbosity(optuna.logging.ERROR)


def suggested(name: str, seed: int, *, trials: int = 14) -> list[dict]:
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=SAMPLERS.parse(name).build(seed=seed))
    found = []
    for _ in range(trials):
        trial = study.ask()
        width = trial.suggest_float("ratio", 0.1, 0.7)
        bits = trial.suggest_categorical("bits", [4, 8])
        # A knob that is there only under one choice, as spaces have them.
        threshold = trial.suggest_float("threshold", 0.0, 0.1) if bits == 4 else 0.0
        trial.set_constraint("size", width - 0.5)
        study.tell(trial, [width + threshold, 1 - width])
        found.append(dict(trial.params))
        assert 0.1 <= width <= 0.7 and 0 <= threshold <= 0.1
    return found


@pytest.mark.parametrize("name", SAMPLERS.names())
def test_the_seed_decides(name: str) -> None:
    assert suggested(name, 1) == suggested(name, 1)
    assert suggested(name, 1) != suggested(name, 2)


def test_the_four_samplers_of_optuna_are_there() -> None:
    assert {"random", "tpe", "nsga2", "gp"} <= set(SAMPLERS.names())


@pytest.mark.parametrize("name", SAMPLERS.names())
def test_any_seed_that_follows_from_one_of_a_space_will_do(name: str) -> None:
    # That of a study and the number of its trials give the next.
    assert len(suggested(name, 2**32 - 1, trials=2)) == 2
