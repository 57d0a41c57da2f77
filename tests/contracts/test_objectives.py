"""What every objective promises."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from objectives import _inception
from objectives.device_model import DeviceModel, calibrated
from objectives.objective import OBJECTIVES, Objective
from tests.conftest import build
from trainers.cache import Cache
from trainers.models.diffusion_model import DiffusionModel
from trainers.run import Run


@pytest.fixture(scope="module")
def device(cache: Cache) -> DeviceModel:
    return calibrated(torch.device("cpu"), cache)


@pytest.fixture(params=OBJECTIVES.names())
def objective(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path) -> Iterator[Objective]:  # type: ignore[no-untyped-def]
    monkeypatch.delenv(_inception.VARIABLE, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    yield OBJECTIVES.parse(request.param)


def test_the_promised_objectives_are_there() -> None:
    learned = {"fid", "kid", "inception_score", "precision", "recall", "ssim", "denoising_loss"}
    costs = {"parameters", "size_mb", "file_mb", "compressed_mb", "macs_g", "latency_ms", "generation_ms"}
    assert {name for name, kind in OBJECTIVES if kind.is_learned} >= learned
    assert {name for name, kind in OBJECTIVES if not kind.is_learned} >= costs | {"peak_memory_mb"}


def test_says_what_it_is(objective: Objective) -> None:
    assert objective.title and objective.title[0].isupper()
    assert objective.goal in ("min", "max")
    assert isinstance(objective.unit, str)
    assert type(objective).__doc__


def test_measures_a_finite_value_with_its_uncertainty(objective: Objective, tiny: DiffusionModel, run: Run) -> None:
    objective.prepare(run.images, run.cache)
    found = objective.measure(tiny, run)
    assert math.isfinite(found.value) and found.value >= 0
    assert math.isfinite(found.stderr) and found.stderr >= 0
    assert found.samples >= 1
    assert type(found.value) is float and type(found.stderr) is float


def test_predicts_exactly_nearly_or_not_at_all(
    objective: Objective, tiny: DiffusionModel, run: Run, device: DeviceModel
) -> None:
    predicted = objective.predict(tiny.spec, device)
    if objective.is_exact:
        found = objective.measure(tiny, run)
        assert found.value == predicted and found.stderr == 0 and found.samples == 1
    elif objective.is_learned:
        assert predicted is None
    else:
        assert predicted is not None and predicted > 0


def test_what_is_learned_repeats_itself_says_by_what_and_is_uncertain(
    objective: Objective, tiny: DiffusionModel, run: Run
) -> None:
    if not objective.is_learned:
        pytest.skip("a cost")
    # The teacher is nothing to compare with itself.
    run = replace(run, teacher=build(tiny.spec.network, seed=1))  # type: ignore[arg-type]
    found = objective.measure(tiny, run)
    again = objective.measure(replace(tiny, net=tiny.copy_of_net()), replace(run, seed=9))
    assert found == again and found.samples > 1 and found.stderr > 0
    # A hash in it keeps values apart that must not be compared.
    assert re.search(r"-[0-9a-f]{8}([0-9a-f]{8})?$", found.by)
    other = objective.with_noise(7).measure(tiny, run)
    assert other.by == found.by and other.samples == found.samples
    apart = math.hypot(found.stderr, other.stderr)
    assert abs(other.value - found.value) < 5 * apart
    assert other.value != found.value or found.value in (0.0, 1.0)


def test_a_diverged_model_is_an_error_and_no_value(objective: Objective, tiny: DiffusionModel, run: Run) -> None:
    if not objective.is_learned:
        pytest.skip("a cost")
    net = tiny.copy_of_net()
    next(net.parameters()).data.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="diverged"):
        objective.measure(replace(tiny, net=net), run)


def test_measuring_leaves_the_model_as_it_was(objective: Objective, tiny: DiffusionModel, run: Run) -> None:
    before = tiny.fingerprint()
    objective.measure(tiny, run)
    assert tiny.fingerprint() == before


def test_an_unknown_option_is_refused(objective: Objective) -> None:
    with pytest.raises(ValueError, match="no_such_option"):
        OBJECTIVES.parse({OBJECTIVES.name_of(objective): {"no_such_option": 1}})
