"""Results of other studies as a start: what is carried over, how far it is believed, and that nothing else changes."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from scipy.optimize import approx_fprime

from search.front import hypervolume
from search.other_studies import keep_others, observations, read_others
from search.samplers._gaussian_process import GaussianProcess
from search.samplers._history import Observation
from search.samplers._likelihood import Likelihood
from search.samplers.budget_ei import BudgetEI
from search.simulate import simulate
from search.space import Space, SpaceError
from trainers.errors import UserError

GROUPS = np.array([0, 1, 1])

# The process


def wave(features: np.ndarray) -> np.ndarray:
    return np.sin(4 * features[:, 0]) + features[:, 1]


def two_studies(*, own: int, other: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, study numbers, and values: those of study 1 are 50 above the own ones, and a little different."""
    features = np.random.default_rng(seed).random((own + other, 3))
    studies = np.repeat([0, 1], [own, other])
    return features, studies, wave(features) + studies * (50 + 0.2 * features[:, 2])


def test_gradient_is_that_of_finite_differences() -> None:
    features, studies, values = two_studies(own=8, other=16)
    studies[-5:] = 2
    shares = np.where(np.arange(24) % 3, 1.0, 1 / 9)
    logs = np.random.default_rng(1).normal(size=10) * 0.5 - 0.5
    process = GaussianProcess(
        features_NF=features, shares_N=shares, values_N=values, groups=GROUPS, logs=logs, studies_N=studies
    )
    likelihood = Likelihood(process)
    numeric = approx_fprime(logs, lambda point: likelihood(point)[0], 1e-6)
    np.testing.assert_allclose(likelihood(logs)[1], numeric, rtol=1e-3, atol=1e-4)


def test_another_study_informs_without_its_offset() -> None:
    features, studies, values = two_studies(own=6, other=40)
    at = two_studies(own=50, other=0, seed=5)[0]
    informed = GaussianProcess.fitted(features, values, groups=GROUPS, studies_N=studies)
    alone = GaussianProcess.fitted(features[:6], values[:6], groups=GROUPS)
    error, error_alone = (np.abs(process.predict(at)[0] - wave(at)).mean() for process in (informed, alone))
    assert error < 0.15 and error < error_alone / 2
    # The doubt that is left is honest.
    mean, deviation = informed.predict(at)
    assert np.mean(np.abs(mean - wave(at)) < 2 * deviation) > 0.85


def test_an_unrelated_study_is_not_believed() -> None:
    features, studies, values = two_studies(own=20, other=40)
    values[20:] = np.random.default_rng(2).normal(size=40) - 3 * features[20:, 0]
    at = two_studies(own=50, other=0, seed=5)[0]
    informed = GaussianProcess.fitted(features, values, groups=GROUPS, studies_N=studies)
    alone = GaussianProcess.fitted(features[:20], values[:20], groups=GROUPS)
    error, error_alone = (np.abs(process.predict(at)[0] - wave(at)).mean() for process in (informed, alone))
    assert error < 1.3 * error_alone and informed.foresight() < alone.foresight()


def test_without_other_studies_nothing_changes() -> None:
    features, _, values = two_studies(own=12, other=0)
    plain = GaussianProcess.fitted(features, values, groups=GROUPS)
    told = GaussianProcess.fitted(features, values, groups=GROUPS, studies_N=np.zeros(12, dtype=np.int64))
    np.testing.assert_array_equal(plain.logs, told.logs)
    np.testing.assert_array_equal(plain.predict(features), told.predict(features))


# The search, in virtual time

SPACE = {f"x{index}": FloatDistribution(0.0, 1.0) for index in range(5)} | {"kind": CategoricalDistribution(["a", "b"])}
LIMITS = {"loss": 3.0, "size": 3.0}


def trained(candidate: Any, share: float = 1.0) -> dict[str, float]:
    loss = 0.4 + 2 * sum((candidate[f"x{index}"] - 0.9 + 0.15 * index) ** 2 for index in range(5))
    return {"loss": loss * (1.0 if candidate["kind"] == "a" else 1.5)}


def sized(candidate: Any) -> dict[str, float]:
    return {"size": sum(candidate[f"x{index}"] for index in range(5)) + 0.1}


def seen(count: int, *, is_related: bool) -> list[Observation]:
    """A study of data that is three times as hard and a little different, or of something else altogether."""
    generator = np.random.default_rng(11)
    found = []
    for _ in range(count):
        candidate = {f"x{index}": float(value) for index, value in enumerate(generator.random(5))}
        candidate["kind"] = str(generator.choice(["a", "b"]))
        loss = 3 * trained(candidate)["loss"] * math.exp(0.2 * candidate["x4"])
        value = loss if is_related else math.exp(math.sin(7 * candidate["x0"]) - 2 * candidate["x2"])
        found.append(Observation(candidate=candidate, share=1.0, values=(value, math.nan)))
    return found


def volume(others: list[list[Observation]], *, seed: int) -> float:
    """The hypervolume after ten trainings."""
    sampler = BudgetEI(seed=seed, others=others)
    results = simulate(SPACE, trained, costs=sized, limits=LIMITS, sampler=sampler, budget=10)
    points = [[result.values[name] / LIMITS[name] for name in LIMITS] for result in results]
    return hypervolume(points, [1.0, 1.0])


def test_a_related_study_saves_trainings_and_an_unrelated_one_costs_few() -> None:
    alone, related, unrelated = (
        np.mean([volume(others, seed=seed) for seed in range(3)])
        for others in ([], [seen(30, is_related=True)], [seen(30, is_related=False)])
    )
    assert related > alone + 0.05 and unrelated > alone - 0.05


def test_it_goes_on_as_if_never_closed(tmp_path: Path) -> None:
    others = [seen(20, is_related=True)]

    def asked(trials: int, storage: Any = None) -> list[dict[str, Any]]:
        sampler = BudgetEI(
            costs=sized, limits=LIMITS, objectives=list(LIMITS), distributions=SPACE, seed=3, others=others
        )
        study = optuna.create_study(
            directions=["minimize"] * 2, sampler=sampler, storage=storage, study_name="x", load_if_exists=True
        )
        found = []
        for _ in range(trials):
            trial = study.ask(SPACE)
            found.append(trial.params)
            study.tell(trial, [*trained(trial.params).values(), *sized(trial.params).values()])
        return found

    storage = f"sqlite:///{tmp_path}/study.db"
    assert asked(5, storage) + asked(2, storage) == asked(7)


# What is carried over

TEXT = """\
teacher: {network: {unet: {channels: [16, 32]}}}
recipe:
  - prune:
      rule: flexible
      criterion: {choice: [{diff_pruning: {threshold: {float: [0.0, 0.05]}}}, magnitude, taylor]}
      ratio: {down_0: {float: [0.0, 0.4]}, mid: {float: [0.2, 0.8]}}
  - distil: {sampling_steps: {choice: [8, 16]}, weights: {noise: {float: [0.5, 2.0]}, output: 1.0}}
  - quantize: {bits: {choice: [8, 4]}}
objectives: [{fid: {extractor: labels}}, size_mb]
sampler: budget_ei
"""


@pytest.fixture
def space(tmp_path: Path, repository: Path):
    def read(text: str = TEXT, *, source: Path = repository / "studies" / "pruning_ratios") -> Space:
        (tmp_path / "shifted.yaml").write_text(f"{text}from_study: {source}\n")
        return Space.read(tmp_path / "shifted.yaml")

    return read


def test_knobs_are_carried_over_as_far_as_they_are_shared(space, tmp_path: Path, repository: Path) -> None:
    (other,) = read_others(space(), tmp_path)
    # The weight of the noise was written out there, all others were searched.
    assert set(other.shared) == {knob.path for knob in space().knobs}
    lines = [
        json.loads(line)
        for line in (repository / "studies" / "pruning_ratios" / "trials.jsonl").read_text().splitlines()
    ]
    full = {result.values["fid"]: result.candidate for result in other.results if result.share == 1}
    kept = {line["values"]["fid"]: line["candidate"] for line in lines if line["state"] == "complete"}
    assert 5 < len(full) < len(kept) and set(full) <= set(kept)
    for fid, candidate in kept.items():
        is_near = candidate["quantize.bits"] != 32 and candidate["prune.ratio.mid"] >= 0.2 - 0.3
        is_near &= candidate.get("prune.criterion.diff_pruning.threshold", 0) <= 0.05 + 0.025
        assert (fid in full) == is_near
        if is_near:
            expected = {path: candidate[path] for path in other.shared if path in candidate}
            assert full[fid] == {**expected, "distil.weights.noise": 1.0}
    assert {result.share for result in other.results} == {1 / 3, 1.0}
    assert other.described(space()).endswith(f"({len(full)} of full trainings), 7 of 7 knobs shared")
    (seen_there,) = observations([other], space())
    assert seen_there[0].values[0] > 0 and math.isnan(seen_there[0].values[1])


def test_what_was_taken_stays_though_the_other_study_goes(space, tmp_path: Path, repository: Path) -> None:
    source = shutil.copytree(repository / "studies" / "pruning_ratios", tmp_path / "source")
    before = read_others(space(source=source), tmp_path)
    keep_others(before, tmp_path)
    shutil.rmtree(source)
    assert read_others(space(source=source), tmp_path) == before


def test_without_its_space_a_study_still_helps(space, tmp_path: Path, repository: Path) -> None:
    source = shutil.copytree(repository / "studies" / "pruning_ratios", tmp_path / "source")
    (source / "space.yaml").unlink()
    (other,) = read_others(space(source=source), tmp_path)
    assert "distil.weights.noise" not in other.shared and len(other.results) > 15


def test_a_study_that_says_nothing_here_is_refused(space, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing of it is learned here: kid"):
        read_others(space(TEXT.replace("fid: {extractor: labels}", "kid: {extractor: labels}")), tmp_path)
    first, last = TEXT.index("  - prune"), TEXT.index("objectives")
    nothing_shared = f"{TEXT[:first]}  - distil: {{batch: {{int: [16, 64]}}}}\n{TEXT[last:]}"
    with pytest.raises(UserError, match=r"no result of .* can be carried over"):
        read_others(space(nothing_shared), tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        read_others(space(source=tmp_path / "nowhere"), tmp_path)


def test_only_some_samplers_can_use_it(space) -> None:
    with pytest.raises(SpaceError, match=r"cannot be used by sampler 'tpe'. Take budget_ei"):
        space(TEXT.replace("budget_ei", "tpe"))
