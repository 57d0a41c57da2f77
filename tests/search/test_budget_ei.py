"""BudgetEI: what Optuna promises of its own samplers, and what only this one promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import BasicSamplerTestCase, MultiObjectiveSamplerTestCase, RelativeSamplerTestCase
from optuna.trial import TrialState

from search.halving import Halving
from search.samplers._allowed import UnseenKnobError
from search.samplers._history import RUNGS, TARGET, History
from search.samplers._knob_space import KnobSpace
from search.samplers.budget_ei import BudgetEI
from search.simulate import random_candidates, simulate

optuna.logging.set_verbosity(optuna.logging.ERROR)

SPACE = {
    "ratio": FloatDistribution(0.0, 1.0),
    "rate": FloatDistribution(1e-4, 1e-1, log=True),
    "bits": CategoricalDistribution([4, 8, 32]),
    "steps": IntDistribution(1, 64, log=True),
}


class TestOptunaContract(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    """Optuna's own tests; four start-up trials, so that most of them meet the process."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: BudgetEI(seed=0, startup_trials=2)


def size(candidate: dict[str, Any]) -> dict[str, float]:
    return {"size": (1.2 - candidate["ratio"]) * candidate["bits"]}


def noted(priced: list[dict[str, Any]]) -> Callable[[dict[str, Any]], dict[str, float]]:
    """``size`` that keeps what it was asked for."""

    def costs(candidate: dict[str, Any]) -> dict[str, float]:
        priced.append(candidate)
        return size(candidate)

    return costs


def quality(candidate: dict[str, Any]) -> float:
    rate = np.log10(candidate["rate"]) + 2.5
    return float(np.exp(2 * candidate["ratio"] ** 2 + rate**2 + 4 / candidate["bits"] + 1 / candidate["steps"]))


def searched(study: optuna.Study, trials: int, *, space: dict | None = None) -> list[dict[str, Any]]:
    found = []
    for _ in range(trials):
        trial = study.ask(space or SPACE)
        found.append(dict(trial.params))
        study.tell(trial, [quality(trial.params), size(trial.params)["size"]])
    return found


def new_study(storage: Any = None, **options: Any) -> optuna.Study:
    options = {
        "costs": size,
        "limits": {"fid": 8.0, "size": 16.0},
        "objectives": ["fid", "size"],
        "distributions": SPACE,
        "seed": 3,
    } | options
    return optuna.create_study(
        directions=["minimize"] * 2,
        sampler=BudgetEI(**options),
        storage=storage,
        study_name="study",
        load_if_exists=True,
    )


def test_known_limits_are_never_exceeded() -> None:
    for candidate in searched(new_study(), 25):
        assert size(candidate)["size"] <= 16.0
    assert max(size(candidate)["size"] for candidate in random_candidates(SPACE, 25, seed=0)) > 25


def test_a_foretold_cost_that_turns_out_too_low_is_corrected() -> None:
    study = new_study(limits={"fid": 8.0, "size": 3.0})
    measured = []
    for _ in range(30):
        trial = study.ask(SPACE)
        measured.append(1.3 * size(trial.params)["size"])
        study.tell(trial, [quality(trial.params), measured[-1]])
    # The start-up design knows only what is foretold; uncorrected, nearly all that follow would be beyond the limit.
    assert sum(each > 3.0 for each in measured[:10]) > 2
    assert sum(each > 3.0 for each in measured[10:]) == 0


def test_candidates_that_break_a_constraint_are_not_suggested() -> None:
    def costs(candidate: dict[str, Any]) -> dict[str, float] | None:
        return None if candidate["steps"] > 10 * candidate["ratio"] else size(candidate)

    found = searched(new_study(costs=costs), 20)
    assert all(candidate["steps"] <= 10 * candidate["ratio"] for candidate in found)


def test_the_first_candidates_need_few_prices() -> None:
    priced: list[dict[str, Any]] = []
    study = new_study(costs=noted(priced))
    design = searched(study, 3)
    assert len(priced) < 100
    searched(study, 12)
    assert len(priced) > 1_000
    # What the whole pool is priced for later on changes nothing of the design.
    assert searched(new_study(), 3) == design


def test_knobs_whose_condition_is_shown_beforehand_are_never_taken_for_constant() -> None:
    space = {"criterion": CategoricalDistribution(["taylor", "random"]), **SPACE}
    rest = {"ratio": 0.0, "rate": 1e-4, "bits": 4, "steps": 1}
    priced: list[dict[str, Any]] = []
    sampler = BudgetEI(seed=0, startup_trials=2)
    sampler.inform(
        objectives=["fid", "size"],
        costs=noted(priced),
        limits={"fid": 8.0, "size": 16.0},
        distributions={**space, "threshold": FloatDistribution(0.0, 0.1)},
        examples=[{"criterion": "random", **rest}, {"criterion": "taylor", "threshold": 0.0, **rest}],
    )
    study = optuna.create_study(directions=["minimize"] * 2, sampler=sampler)
    for _ in range(8):
        trial = study.ask(space)
        if trial.params["criterion"] == "taylor":
            trial.suggest_float("threshold", 0.0, 0.1)
        study.tell(trial, [quality(trial.params), size(trial.params)["size"]])
    assert {"threshold" in candidate for candidate in priced} == {True, False}
    assert all(("threshold" in candidate) == (candidate["criterion"] == "taylor") for candidate in priced)
    # The pool once, and what the suggestions change of it.
    assert len(priced) < 1_100 + 8 * 400


def test_costs_that_belong_to_no_objective_are_refused() -> None:
    study = new_study(objectives=["fid", "mass"], limits={"fid": 8.0})
    with pytest.raises(ValueError, match="costs gives size, but the objectives are called fid, mass"):
        study.ask(SPACE)


def test_a_corner_that_random_draws_miss_is_found() -> None:
    # One candidate in several thousand is small enough.
    study = new_study(limits={"fid": 1e9, "size": 0.8016})
    assert all(size(candidate)["size"] <= 0.8016 for candidate in searched(study, 6))


def test_more_is_found_than_at_random() -> None:
    def best(candidates: list[dict[str, Any]], budget: float) -> float:
        return min((quality(each) for each in candidates if size(each)["size"] <= budget), default=np.inf)

    found, drawn = searched(new_study(), 30), random_candidates(SPACE, 120, seed=1)
    for budget in (4.0, 8.0, 16.0):
        assert best(found, budget) < best(drawn, budget)


def test_a_reopened_study_goes_on_as_if_never_closed(tmp_path: Any) -> None:
    unbroken = searched(new_study(), 18)
    storage = f"sqlite:///{tmp_path}/study.db"
    broken = searched(new_study(storage), 14) + searched(new_study(storage), 4)
    assert broken == unbroken
    assert searched(new_study(seed=4), 4) != unbroken[:4]


def test_running_trials_are_not_suggested_again() -> None:
    nearest = [least_distance_of_six(seed) for seed in range(5)]
    assert min(nearest) > 0.005
    assert np.median(nearest) > 0.05


def least_distance_of_six(seed: int) -> float:
    """Between candidates that are asked for while none of them has ended, as a part of the space's width."""
    study = new_study(seed=seed)
    searched(study, 12)
    asked = [study.ask(SPACE).params for _ in range(6)]
    rows = np.array([[each["ratio"], np.log10(each["rate"]) / 3, np.log(each["steps"]) / np.log(64)] for each in asked])
    bits = np.array([each["bits"] for each in asked])
    apart = np.abs(rows[:, None] - rows[None]).max(axis=2) + (bits[:, None] != bits[None])
    return float(apart[~np.eye(6, dtype=bool)].min())


def test_where_trials_fail_fewer_are_suggested() -> None:
    def failures(is_told: bool) -> int:
        study, failed = new_study(), 0
        for _ in range(30):
            trial = study.ask(SPACE)
            # The best rates fail.
            if trial.params["rate"] > 2e-3 and is_told:
                study.tell(trial, state=TrialState.FAIL)
            else:
                study.tell(trial, [quality(trial.params), size(trial.params)["size"]])
            failed += trial.params["rate"] > 2e-3
        return failed

    assert failures(is_told=True) < 0.7 * failures(is_told=False)


def test_infinite_and_many_constant_values_do_no_harm() -> None:
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=BudgetEI(seed=0, startup_trials=4))
    for number in range(14):
        trial = study.ask(SPACE)
        values = [float("inf"), 1.0] if number == 6 else [1.0, float("nan")] if number == 7 else [2.0, 5.0]
        if number == 8:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(
                trial, None if np.isnan(values).any() else values, state=None if number != 7 else TrialState.FAIL
            )
    assert len({tuple(trial.params.items()) for trial in study.trials}) == 14


def test_a_finite_space_is_tried_out_before_anything_is_repeated() -> None:
    space = {"x": IntDistribution(1, 3), "y": CategoricalDistribution(["a", "b", "c"])}
    study = optuna.create_study(sampler=BudgetEI(seed=0, startup_trials=3))
    tried = []
    for _ in range(11):
        trial = study.ask(space)
        study.tell(trial, trial.params["x"] + (trial.params["y"] == "b"))
        tried.append((trial.params["x"], trial.params["y"]))
    # Without ``distributions`` the first trial comes before the space is known.
    assert len(set(tried)) == 9


def test_every_objective_may_be_learned_and_any_direction_taken() -> None:
    def dominated(sampler: BaseSampler) -> float:
        study = optuna.create_study(directions=["minimize", "maximize"], sampler=sampler)

        def run(trial: optuna.Trial) -> tuple[float, float]:
            x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
            return x**2 + (y - 0.3) ** 2, 1 - (x - 0.8) ** 2 - (y - 0.3) ** 2

        study.optimize(run, n_trials=30)
        points = [(trial.values[0], -trial.values[1]) for trial in study.trials]
        from search.front import hypervolume

        return hypervolume(points, [1.0, 0.0])

    assert dominated(BudgetEI(seed=0)) > dominated(optuna.samplers.TPESampler(seed=0)) + 0.02


def test_conditional_knobs_are_learned_while_running() -> None:
    study = optuna.create_study(sampler=BudgetEI(seed=1, startup_trials=5))

    def run(trial: optuna.Trial) -> float:
        if trial.suggest_categorical("kind", ["line", "flat"]) == "line":
            return abs(trial.suggest_float("x", 0, 1) - 0.37) + 0.1
        return 0.6 + 0.1 * trial.suggest_float("z", 0, 1)

    study.optimize(run, n_trials=25)
    assert study.best_value < 0.13
    late = [trial.params["kind"] for trial in study.trials[10:]]
    assert late.count("line") > late.count("flat")


def gain_of_waiting(factor: float) -> float:
    """What is expected of a trial whose value at a tenth of its training is ``factor`` times the usual one."""
    study = new_study(startup_trials=4)

    def partly(factor: float) -> optuna.Trial:
        trial = study.ask(SPACE)
        trial.set_user_attr(TARGET, 0.1)
        values = {"fid": 1.5 * factor * quality(trial.params), **size(trial.params)}
        trial.set_user_attr(RUNGS, [{"share": 0.1, "values": values}])
        return trial

    for _ in range(12):
        trial = partly(1.0)
        study.tell(trial, [quality(trial.params), size(trial.params)["size"]])
    waiting = partly(factor)
    assert isinstance(study.sampler, BudgetEI)
    outlook = study.sampler.outlook(study, {waiting.number: 0.1}, (0.1, 1.0))
    assert set(outlook.rates) == {waiting.number} and set(outlook.rates[waiting.number]) == {1.0}
    # A look can be had beside the whole training and is never worth less than it.
    assert outlook.new[0.1] >= outlook.new[1.0] > 0
    return outlook.rates[waiting.number][1.0]


def test_values_at_small_shares_foretell_the_final_ones() -> None:
    assert gain_of_waiting(0.8) > gain_of_waiting(1.0) > gain_of_waiting(1.3)


@pytest.mark.parametrize("bad", [float("inf"), float("-inf")])
def test_an_infinite_value_on_the_way_is_a_failure(bad: float) -> None:
    study = new_study()
    searched(study, 6)
    trial = study.ask(SPACE)
    trial.set_user_attr(TARGET, 0.1)
    trial.set_user_attr(RUNGS, [{"share": 0.1, "values": {"fid": bad, **size(trial.params)}}])
    history = History.of(study, names=["fid", "size"])
    assert history.failed == (trial.params,) and not history.waiting and not history.running
    assert len(history.observations) == 6


def test_costs_are_told_knobs_of_a_single_value() -> None:
    space = SPACE | {"scale": FloatDistribution(2.0, 2.0), "kind": CategoricalDistribution(["only"])}

    def costs(candidate: dict[str, Any]) -> dict[str, float]:
        return {"size": size(candidate)["size"] * candidate["scale"] * (candidate["kind"] == "only")}

    found = searched(new_study(costs=costs, distributions=space), 12, space=space)
    assert all(costs(candidate)["size"] <= 16.0 for candidate in found)
    alone = {"scale": space["scale"], "kind": space["kind"]}
    assert simulate(
        alone,
        lambda candidate, share: {"fid": 1.0},
        costs=lambda candidate: {"size": candidate["scale"]},
        limits={"fid": 8.0, "size": 16.0},
        sampler=BudgetEI(seed=0),
        halving=Halving(),
        budget=5,
    )


@pytest.mark.parametrize("distributions", [None, SPACE])
def test_costs_are_told_what_another_sampler_fixes(distributions: dict[str, Any] | None) -> None:
    study = new_study(distributions=distributions)
    study.sampler = optuna.samplers.PartialFixedSampler({"bits": 32}, study.sampler)
    found = searched(study, 14)
    assert {candidate["bits"] for candidate in found} == {32}
    assert all(size(candidate)["size"] <= 16.0 for candidate in found[1:])


def test_knobs_are_learned_from_ended_trials_and_missed_until_then(caplog: pytest.LogCaptureFixture) -> None:
    study = new_study(distributions=None)
    first = study.ask()
    first.suggest_float("ratio", 0.0, 1.0)
    # The first is asked for only one of its knobs when the second begins, and then fails.
    study.ask(SPACE)
    assert not caplog.records
    study.tell(first, state=TrialState.FAIL)
    searched(study, 2)
    assert [record.getMessage() for record in caplog.records] == [
        "trial 2: costs asks for the knob 'bits', of which no trial has shown yet when it exists; "
        "its candidate is random"
    ]
    assert all(size(candidate)["size"] <= 16.0 for candidate in searched(study, 8))


def test_a_slip_in_costs_is_told_where_all_knobs_are_named() -> None:
    with pytest.raises(UnseenKnobError, match="asks for the knob 'ratoi'"):
        new_study(costs=lambda candidate: {"size": candidate["ratoi"]}).ask(SPACE)


def test_what_a_pruner_stopped_is_not_suggested_again() -> None:
    study = optuna.create_study(sampler=BudgetEI(seed=0, startup_trials=5))
    space = {"x": IntDistribution(0, 9), "n": IntDistribution(0, 9)}
    for _ in range(20):
        trial = study.ask(space)
        if trial.params["x"] > 2 and trial.number > 3:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, trial.params["n"] - trial.params["x"])
    assert sum(trial.state == TrialState.PRUNED for trial in study.trials) > 5
    # Without ``distributions`` the first trial comes before the space is known.
    assert len({tuple(trial.params.items()) for trial in study.trials[1:]}) == 19


def test_knobs_that_exist_from_a_number_of_layers_on_are_learned() -> None:
    study = optuna.create_study(sampler=BudgetEI(seed=0, startup_trials=5))

    def run(trial: optuna.Trial) -> float:
        layers = trial.suggest_int("layers", 1, 3)
        return sum((trial.suggest_int(f"width{layer}", 1, 3) - 2) ** 2 for layer in range(layers)) + abs(layers - 2)

    study.optimize(run, n_trials=26)
    # The first few come before all knobs and what they depend on are known.
    late = [tuple(trial.params.items()) for trial in study.trials[8:]]
    assert len(set(late)) == len(late)
    space = KnobSpace.seen(study.sampler._seen(study), [trial.params for trial in study.trials])
    assert {name: other for name, (other, _) in space.conditions.items()} == {"width1": "layers", "width2": "layers"}


def test_a_value_of_a_knob_that_was_absent_makes_no_new_candidate() -> None:
    space = KnobSpace(distributions={"x": IntDistribution(1, 7, step=2), "y": FloatDistribution(0.0, 1.0)})
    rows = space.rows([{"x": 3, "y": 0.25}, {"x": 5, "y": 0.25}])
    assert space.tried([{"x": 3}], []).holds_N(rows).tolist() == [True, False]
    assert space.tried([], [{"x": 3}]).holds_N(rows).tolist() == [False, False]
    assert space.tried([], [{"x": 5, "y": 0.25}]).holds_N(space.settled(rows)).tolist() == [False, True]


def test_limits_of_objectives_without_names_are_refused() -> None:
    study = optuna.create_study(
        directions=["minimize"] * 3,
        sampler=BudgetEI(costs=size, limits={"fid": 8.0, "size": 16.0}, distributions=SPACE),
    )
    with pytest.raises(ValueError, match="limits names fid, size, but the study's 3 objectives have no names"):
        study.ask(SPACE)


def test_costs_are_known_where_few_candidates_can_be_built(caplog: pytest.LogCaptureFixture) -> None:
    def costs(candidate: dict[str, Any]) -> dict[str, float] | None:
        return size(candidate) if candidate["ratio"] > 0.999 else None

    study = new_study(costs=costs)
    searched(study, 2)
    assert study.sampler._allowed.known == ["size"]
    assert all(candidate["ratio"] > 0.999 for candidate in searched(study, 6)) and not caplog.records
    searched(new_study(costs=lambda candidate: None), 1)
    assert "costs gives None for all of 4352 candidates" in caplog.records[0].getMessage()


def test_workers_that_ask_at_the_same_time_are_given_what_they_would_get_one_after_the_other() -> None:
    together, in_turn = new_study(), new_study()
    assert searched(together, 12) == searched(in_turn, 12)
    # None of the four has taken its first knob when the last one asks.
    asked = [together.ask() for _ in range(4)]
    assert [trial.relative_params for trial in asked] == [in_turn.ask(SPACE).params for _ in range(4)]


def test_trials_that_have_only_some_of_their_knobs_yet_stand_in_nobodys_way(caplog: pytest.LogCaptureFixture) -> None:
    study = new_study()
    searched(study, 12)
    running = study.ask()
    ratio = running.suggest_float("ratio", 0.0, 1.0)
    assert all(candidate["ratio"] != ratio for candidate in searched(study, 4))
    assert not caplog.records


@pytest.mark.filterwarnings("ignore:Choices for a categorical")
def test_choices_may_be_lists() -> None:
    space = {"widths": CategoricalDistribution([[1], [1, 2]]), "x": FloatDistribution(0.0, 1.0)}
    study = optuna.create_study(sampler=BudgetEI(seed=0, startup_trials=3, distributions=space))
    for _ in range(8):
        trial = study.ask(space)
        study.tell(trial, *([None, TrialState.FAIL] if trial.number == 4 else [trial.params["x"]]))
    assert len({repr(trial.params) for trial in study.trials}) == 8


def test_a_sampler_of_one_study_keeps_nothing_back_from_the_next() -> None:
    def asked(sampler: BaseSampler, directions: list[str]) -> list[dict[str, Any]]:
        study = optuna.create_study(directions=directions, sampler=sampler)
        found = []
        for _ in range(6):
            trial = study.ask(SPACE)
            found.append(trial.params)
            study.tell(trial, [quality(trial.params), size(trial.params)["size"]])
        return found

    def new() -> BaseSampler:
        options = {"costs": size, "limits": {"size": 8.0}, "objectives": ["fid", "size"], "distributions": SPACE}
        return BudgetEI(**options, seed=3, startup_trials=4)

    small, large = asked(new(), ["minimize", "minimize"]), asked(new(), ["minimize", "maximize"])
    shared = new()
    assert asked(shared, ["minimize", "minimize"]) == small != large
    assert asked(shared, ["minimize", "maximize"]) == large
    with pytest.raises(ValueError, match="objectives are fid, size, but the study has 1"):
        optuna.create_study(sampler=shared).ask(SPACE)


def test_a_sampler_that_was_told_one_problem_is_not_told_another() -> None:
    def search(costs: Callable[[dict[str, Any]], dict[str, float]], high: float) -> None:
        simulate(
            {"ratio": FloatDistribution(0.0, high), "bits": SPACE["bits"]},
            lambda candidate, share: {"fid": candidate["ratio"], **costs(candidate)},
            costs=costs,
            limits={"size": 40.0},
            sampler=sampler,
            budget=2,
        )

    sampler = BudgetEI(seed=0)
    search(size, 1.0)
    search(size, 1.0)
    for costs, high in ((size, 0.5), (lambda candidate: {"size": candidate["ratio"]}, 1.0)):
        with pytest.raises(ValueError, match="the objectives, costs, limits and knobs of another problem"):
            search(costs, high)
