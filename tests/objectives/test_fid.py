"""FID on digits: what it ranks, that it repeats itself, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from objectives import _features, _frechet, _inception
from objectives.fid import Fid
from trainers.cache import Cache
from trainers.data.dataset import Images
from trainers.errors import UserError
from trainers.models.diffusion_model import DiffusionModel
from trainers.run import Run

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def no_inception(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """These tests do not depend on weights that happen to be on this machine."""
    monkeypatch.delenv(_inception.VARIABLE, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))


def distance(image_NCHW: torch.Tensor, digits: Images, cache: Cache) -> float:
    extractor = _features.extractor_for("auto", digits, cache)
    reference = _features.reference_statistics(extractor, digits, cache, device=CPU)
    return _frechet.frechet_distance(_features.features(extractor, image_NCHW, device=CPU), reference)


def test_real_images_are_nearer_than_noisy_ones_and_those_than_noise(digits: Images, cache: Cache) -> None:
    generator = torch.Generator().manual_seed(0)
    real_NCHW = digits.test_NCHW
    disturbance_NCHW = 60 * torch.randn(real_NCHW.shape, generator=generator)
    noisy_NCHW = (real_NCHW + disturbance_NCHW).clamp(0, 255).to(torch.uint8)
    noise_NCHW = torch.randint(0, 256, real_NCHW.shape, generator=generator, dtype=torch.uint8)
    real, noisy, noise = (distance(image, digits, cache) for image in (real_NCHW, noisy_NCHW, noise_NCHW))
    assert 0 < real < noisy < noise
    assert real < 20 and noise > 150


def test_same_model_gives_the_same_value(tiny: DiffusionModel, run: Run) -> None:
    first, second = (Fid(samples=64).measure(tiny, run) for _ in range(2))
    assert first == second
    assert first.stderr > 0 and first.samples == 64


def test_noise_depends_on_the_seed_option_alone(tiny: DiffusionModel, run: Run) -> None:
    value = Fid(samples=64).measure(tiny, run).value
    assert Fid(samples=64).measure(tiny, replace(run, seed=7)).value == value
    assert Fid(samples=64, seed=1).measure(tiny, run).value != value


def test_value_says_by_which_extractor(tiny: DiffusionModel, run: Run) -> None:
    assert Fid(samples=16).measure(tiny, run).by.startswith("digits-cnn-64d-")


def test_float_images_are_refused(digits: Images, cache: Cache) -> None:
    with pytest.raises(TypeError, match="uint8"):
        distance(digits.test_NCHW.float() / 255, digits, cache)


def test_diverged_model_fails_with_the_reason(tiny: DiffusionModel, run: Run) -> None:
    net = tiny.copy_of_net()
    next(net.parameters()).data.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="diverged"):
        Fid(samples=16).measure(replace(tiny, net=net), run)


def test_preparing_leaves_nothing_to_compute(
    tiny: DiffusionModel, run: Run, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    Fid().prepare(run.images, cache)
    files = {path: path.stat().st_mtime_ns for path in cache.folder.iterdir()}
    Fid(samples=16).measure(tiny, run)
    assert {path: path.stat().st_mtime_ns for path in cache.folder.iterdir()} == files


def test_inception_without_weights_says_what_to_fetch(digits: Images, cache: Cache) -> None:
    with pytest.raises(UserError, match=r"weights-inception-2015-12-05-6726825d\.pth.*SLIMFRONT_INCEPTION"):
        Fid(extractor="inception").prepare(digits, cache)


def test_inception_weights_that_are_not_there_are_an_error(
    digits: Images, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(_inception.VARIABLE, "/nowhere/weights.pth")
    with pytest.raises(UserError, match="/nowhere/weights"):
        Fid().prepare(digits, cache)


class Dangerous:
    """Unpickling it would run a command."""

    def __reduce__(self) -> tuple[object, ...]:
        return exec, ("raise SystemExit('this was run')",)


def test_a_file_that_is_no_set_of_weights_is_refused_and_never_run(
    digits: Images, cache: Cache, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "weights.pth"
    torch.save({"conv.weight": Dangerous()}, file)
    monkeypatch.setenv(_inception.VARIABLE, str(file))
    with pytest.raises(UserError, match="Fetch it again"):
        Fid().prepare(digits, cache)


def test_extractor_is_known_to_torch_fidelity_under_its_name(digits: Images, cache: Cache) -> None:
    from torch_fidelity.utils import create_feature_extractor

    ours = _features.extractor_for("labels", digits, cache)
    theirs = create_feature_extractor(ours.get_name(), ["64"], cuda=False)
    torch.testing.assert_close(theirs(digits.test_NCHW[:9]), ours(digits.test_NCHW[:9]), rtol=0, atol=0)
