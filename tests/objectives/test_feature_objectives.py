"""FID, KID and their kin on digits: what they rank, share, keep, and by which extractor."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from objectives import _drawn, _features, _inception
from objectives._feature_objective import FeatureObjective
from objectives.fid import Fid
from objectives.inception_score import InceptionScore
from objectives.kid import Kid
from objectives.objective import OBJECTIVES
from objectives.precision import Precision
from objectives.recall import Recall
from trainers.cache import Cache
from trainers.data.dataset import Images
from trainers.data.pixels import from_uint8
from trainers.models.diffusion_model import DiffusionModel
from trainers.run import Run

CPU = torch.device("cpu")
KINDS = [kind for _, kind in OBJECTIVES if issubclass(kind, FeatureObjective)]


@pytest.fixture(autouse=True)
def no_inception(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """These tests do not depend on weights that happen to be on this machine."""
    monkeypatch.delenv(_inception.VARIABLE, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))


def judged(objective: FeatureObjective, image_NCHW: torch.Tensor, digits: Images, cache: Cache) -> float:
    extractor = _features.extractor_for("labels", digits, cache)
    reference = objective.reference(extractor, digits, cache, CPU)
    return objective.judged(_features.features(extractor, image_NCHW, device=CPU), reference)[0]


def test_all_of_them_are_looked_at() -> None:
    assert set(KINDS) == {Fid, Kid, InceptionScore, Precision, Recall}


@pytest.mark.parametrize("kind", KINDS)
def test_real_images_are_better_than_noise(kind: type[FeatureObjective], digits: Images, cache: Cache) -> None:
    generator = torch.Generator().manual_seed(0)
    noise_NCHW = torch.randint(0, 256, digits.test_NCHW.shape, generator=generator, dtype=torch.uint8)
    objective = kind(samples=len(noise_NCHW))
    real, noise = (judged(objective, images, digits, cache) for images in (digits.test_NCHW, noise_NCHW))
    assert real > 1.3 * noise if kind.goal == "max" else 10 * real < noise


def test_real_images_are_what_they_should_be(digits: Images, cache: Cache) -> None:
    count = len(digits.test_NCHW)
    # The test images are of other writers, so some are unlike all others.
    assert 0.7 < judged(Precision(samples=count), digits.test_NCHW, digits, cache) < 1
    assert 0.7 < judged(Recall(samples=count), digits.test_NCHW, digits, cache) < 1
    assert 8 < judged(InceptionScore(), digits.test_NCHW, digits, cache) <= 10


def test_kid_hangs_less_on_the_number_of_images_than_fid(digits: Images, cache: Cache) -> None:
    def ratio(kind: type[FeatureObjective]) -> float:
        noisy_NCHW = (digits.test_NCHW.int() * 4 // 5 + 20).to(torch.uint8)
        few = [judged(kind(), noisy_NCHW[first::6], digits, cache) for first in range(6)]
        return sum(few) / 6 / judged(kind(), noisy_NCHW, digits, cache)

    assert abs(ratio(Kid) - 1) < 0.1 < ratio(Fid) - 1


@pytest.mark.parametrize("kind", KINDS)
def test_same_noise_gives_the_same_value_and_other_noise_another(
    kind: type[FeatureObjective], tiny: DiffusionModel, run: Run
) -> None:
    objective = kind(samples=64)
    first = objective.measure(tiny, run)
    assert objective.measure(replace(tiny, net=tiny.copy_of_net()), replace(run, seed=7)) == first
    again = objective.with_noise(5).measure(tiny, run)
    assert type(again.value) is float and (again.value != first.value or again.value in (0.0, 1.0))
    assert first.samples == 64 and first.stderr > 0


@pytest.mark.parametrize("kind", KINDS)
def test_value_says_by_which_weights(kind: type[FeatureObjective], tiny: DiffusionModel, run: Run) -> None:
    by = kind(samples=16).measure(tiny, run).by
    assert re.fullmatch(r"digits-cnn-64d-[0-9a-f]{8}", by) and kind().measured_by(run.images, run.cache) == by


@pytest.fixture
def drawings(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The seed of every drawing."""
    seeds: list[int] = []
    draw = _drawn.draw_uint8

    def counted(model: DiffusionModel, **options: Any) -> torch.Tensor:
        seeds.append(options["seed"])
        return draw(model, **options)

    monkeypatch.setattr(_drawn, "draw_uint8", counted)
    yield seeds


def test_objectives_of_the_same_noise_share_one_drawing(tiny: DiffusionModel, run: Run, drawings: list[int]) -> None:
    model = replace(tiny, net=tiny.copy_of_net())
    for kind in KINDS:
        kind(samples=32, seed=3).measure(model, run)
    assert drawings == [3]
    Kid(samples=32, seed=4).measure(model, run)
    # Another number of steps is another model, even with the same network.
    Kid(samples=32, seed=4).measure(replace(model, spec=model.spec.with_sampling_steps(2)), run)
    Kid(samples=32, seed=4).measure(replace(tiny, net=tiny.copy_of_net()), run)
    assert drawings == [3, 4, 4, 4]


@pytest.mark.parametrize("kind", KINDS)
def test_diverged_model_fails_with_the_reason(kind: type[FeatureObjective], tiny: DiffusionModel, run: Run) -> None:
    net = tiny.copy_of_net()
    next(net.parameters()).data.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="diverged"):
        kind(samples=16).measure(replace(tiny, net=net), run)


@pytest.mark.parametrize("kind", KINDS)
def test_preparing_leaves_nothing_to_compute(
    kind: type[FeatureObjective], tiny: DiffusionModel, run: Run, tmp_path: Path
) -> None:
    run = replace(run, cache=Cache(tmp_path / "own"))
    kind(samples=16).prepare(run.images, run.cache)
    files = {path: path.stat().st_mtime_ns for path in run.cache.folder.iterdir()}
    kind(samples=16).measure(tiny, run)
    assert files and {path: path.stat().st_mtime_ns for path in run.cache.folder.iterdir()} == files


def test_reference_images_are_always_the_same_ones(digits: Images, cache: Cache, tmp_path: Path) -> None:
    extractor = _features.extractor_for("labels", digits, cache)

    def found(cache: Cache, count: int) -> torch.Tensor:
        return torch.from_numpy(_features.reference_features(extractor, digits, cache, count=count, device=CPU))

    everything_NF = found(cache, 10)
    assert len(everything_NF) == len(digits.train_NCHW)
    torch.rand(3)
    assert torch.equal(found(Cache(tmp_path), 10_000), everything_NF)
    in_order_NF = torch.from_numpy(_features.features(extractor, digits.train_NCHW, device=CPU))
    assert not torch.equal(everything_NF, in_order_NF)
    torch.testing.assert_close(everything_NF.sum(dim=0), in_order_NF.sum(dim=0), rtol=1e-5, atol=1e-2)


def test_fewer_reference_images_than_training_images_are_kept(
    digits: Images, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_features, "_REFERENCE", 50)
    extractor = _features.extractor_for("labels", digits, cache)
    counts = [
        len(_features.reference_features(extractor, digits, cache, count=count, device=CPU)) for count in (10, 80)
    ]
    assert counts == [50, 80]


def test_logits_are_the_classifiers_own(digits: Images, cache: Cache) -> None:
    extractor = _features.extractor_for("labels", digits, cache)
    found = _features.logits(extractor, _features.features(extractor, digits.test_NCHW, device=CPU))
    torch.testing.assert_close(found, extractor.net(from_uint8(digits.test_NCHW)), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_inception_serves_all_of_them_under_a_name_with_its_hash(
    tiny: DiffusionModel, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    file = tmp_path / "weights.pth"
    with monkeypatch.context() as patched, torch.random.fork_rng(devices=[]):
        # Its weights cannot be had without the network; random ones of the same shapes go the same way.
        torch.manual_seed(0)
        patched.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda net, state: None)
        patched.setattr(torch, "load", lambda *args, **options: None)
        torch.save(
            FeatureExtractorInceptionV3("random", ["2048"], feature_extractor_weights_path="").state_dict(), file
        )
    monkeypatch.setenv(_inception.VARIABLE, str(file))
    few = replace(run.images, train_NCHW=run.images.train_NCHW[:20], hash="few")
    run = replace(run, images=few)
    expected = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    for kind in KINDS:
        # Its name does not say what data it looks at, as that of a network trained on their labels does.
        assert kind(samples=10).measure(tiny, run).by == f"inception-2048d-{expected} on {few.name}-few"
    extractor = _features.extractor_for("inception", few, run.cache)
    image_NCHW = few.train_NCHW[:4].expand(-1, 3, -1, -1)
    theirs = FeatureExtractorInceptionV3("theirs", ["logits_unbiased"], feature_extractor_weights_path=str(file))
    ours = _features.logits(extractor, _features.features(extractor, image_NCHW, device=CPU))
    torch.testing.assert_close(ours, theirs(image_NCHW)[0], rtol=1e-4, atol=1e-4)
