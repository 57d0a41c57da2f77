"""Masks: exactly as many zeros as asked, where asked; they stay, they compress, and they save no time."""

from __future__ import annotations

import pytest
import torch

from objectives import costs
from objectives.compressed import CompressedMb
from tests.conftest import build
from trainers.errors import UserError
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.networks.unet import Unet
from trainers.recipe import Recipe
from trainers.run import Run


def masked(run: Run, **options: object) -> DiffusionModel:
    return Recipe.parse([{"mask": options}]).run(run)


def elements(model: DiffusionModel, region: str | None = None) -> dict[str, torch.Tensor]:
    """Weights and biases that a mask may take, by name."""
    spec = model.spec
    layers = {
        name
        for name, layer in spec.layers.items()
        if layer.is_product and spec.network.region_of(name) in ((region,) if region else ("middle", "end"))
    }
    return {name: tensor for name, tensor in model.net.state_dict().items() if name.rpartition(".")[0] in layers}


def zeros(tensors: dict[str, torch.Tensor]) -> int:
    return sum(int((tensor == 0).sum()) for tensor in tensors.values())


def count(tensors: dict[str, torch.Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors.values())


@pytest.mark.parametrize("method", ["l1", "random"])
@pytest.mark.parametrize("ratio", [0.1, 0.333, 0.7, 0.999])
@pytest.mark.parametrize("scope", ["global", "middle", "end"])
def test_exactly_as_many_weights_are_zero_as_asked(run: Run, method: str, ratio: float, scope: str) -> None:
    model = masked(run, ratio=ratio, method=method, scope=scope)
    region = None if scope == "global" else scope
    inside = elements(model, region)
    assert zeros(inside) == round(ratio * count(inside))
    assert zeros(dict(model.net.state_dict())) == zeros(inside)
    if region:
        other = elements(model, "end" if scope == "middle" else "middle")
        assert count(other) > 1000 and zeros(other) == 0


def test_the_smallest_weights_of_all_layers_go(run: Run) -> None:
    model = masked(run, ratio=0.3)
    before, after = elements(run.teacher), elements(model)
    gone = torch.cat([before[name][after[name] == 0].abs() for name in before])
    left = torch.cat([before[name][after[name] != 0].abs() for name in before])
    assert gone.max() <= left.min()
    for name in before:
        assert torch.equal(after[name][after[name] != 0], before[name][after[name] != 0])


def test_each_tensor_alone_loses_its_own_share(run: Run) -> None:
    together, each = (elements(masked(run, ratio=0.5, rank=rank)) for rank in ("together", "each"))
    assert all(zeros({name: tensor}) == round(0.5 * tensor.numel()) for name, tensor in each.items())
    assert any(zeros({name: tensor}) != round(0.5 * tensor.numel()) for name, tensor in together.items())


def test_random_masks_depend_on_the_seed_alone(run: Run) -> None:
    first, again = (masked(run, ratio=0.5, method="random").fingerprint() for _ in range(2))
    run.seed = 1
    assert first == again != masked(run, ratio=0.5, method="random").fingerprint()


def test_a_second_mask_counts_the_zeros_of_the_first(run: Run) -> None:
    recipe = Recipe.parse([{"mask": {"ratio": 0.2, "method": "random"}}, {"mask": {"ratio": 0.6, "method": "random"}}])
    first, model = masked(run, ratio=0.2, method="random"), recipe.run(run)
    inside = elements(model)
    assert zeros(inside) == round(0.6 * count(inside))
    assert all((inside[name][tensor == 0] == 0).all() for name, tensor in elements(first).items())


def test_zeros_stay_in_training_and_all_else_moves(run: Run) -> None:
    recipe = Recipe.parse([{"mask": {"ratio": 0.5}}, {"distil": {"batch": 64, "ema": 0.9}}])
    before, model = elements(masked(run, ratio=0.5)), recipe.run(run)
    for name, tensor in elements(model).items():
        assert torch.equal(tensor == 0, before[name] == 0), name
        assert not torch.signbit(tensor[tensor == 0]).any(), "-0.0 does not compress as 0 does"
    assert not torch.equal(model.net.get_parameter("conv_in.weight"), run.teacher.net.get_parameter("conv_in.weight"))


@pytest.mark.parametrize("bits", [8, 4, 16])
def test_zeros_stay_zeros_in_fewer_bits(run: Run, bits: int) -> None:
    image_BCHW, timestep_B = torch.randn(1, 1, 8, 8), torch.tensor([3])
    model = Recipe.parse([{"mask": {"ratio": 0.5}}, {"quantize": {"bits": bits}}]).run(run)
    assert torch.isfinite(model.predict(image_BCHW, timestep_B)).all()
    dense = masked(run, ratio=0.5)
    for name in ("conv_in", "mid_block.resnets.0.conv1"):
        module = model.net.get_submodule(name)
        restored = module.weight.restore() if bits != 16 else module.weight
        assert (restored[dense.net.get_submodule(name).weight == 0] == 0).all()


def test_only_the_compressed_size_falls(run: Run) -> None:
    dense, sparse = run.teacher, masked(run, ratio=0.7)
    assert costs.macs(sparse.spec) == costs.macs(dense.spec)
    assert costs.stored_bytes(sparse.spec) == costs.stored_bytes(dense.spec)
    for codec in ("zlib", "zstd"):
        before, after = (CompressedMb(codec=codec).measure(model, run).value for model in (dense, sparse))
        assert after < 0.5 * before


@pytest.mark.parametrize("codec", ["zlib", "zstd"])
@pytest.mark.parametrize(("ratio", "bits"), [(0.0, 32), (0.5, 32), (0.9, 32), (0.5, 8), (0.3, 4), (0.6, 16)])
def test_the_compressed_size_is_predicted(run: Run, codec: str, ratio: float, bits: int) -> None:
    run.teacher = build(Unet(image_size=8, image_channels=1, channels=(32, 64), norm_groups=4))
    recipe = Recipe.parse([{"mask": {"ratio": ratio, "method": "random"}}, {"quantize": {"bits": bits}}])
    objective = CompressedMb(codec=codec)
    measured = objective.measure(recipe.run(run), run).value
    predicted = objective.predict(recipe.plan(run.teacher.spec), None)  # type: ignore[arg-type]
    assert abs(predicted / measured - 1) < 0.08


def test_what_is_quantised_cannot_be_masked(run: Run) -> None:
    with pytest.raises(UserError, match=r"quantised already. Put mask before quantize"):
        Recipe.parse([{"quantize": {"bits": 8}}, {"mask": {"ratio": 0.5}}]).plan(run.teacher.spec)


def test_masked_networks_can_be_pruned_and_grouped(run: Run) -> None:
    recipe = Recipe.parse(
        [{"mask": {"ratio": 0.5}}, {"prune": {"ratio": 0.5, "criterion": "magnitude"}}, {"group": {"groups": 2}}]
    )
    model = recipe.run(run)
    inside = elements(model)
    assert 0.2 < zeros(inside) / count(inside) < 0.6
    for name, layer in model.spec.layers.items():
        own = {key: tensor for key, tensor in inside.items() if key.rpartition(".")[0] == name}
        assert layer.zeros == (zeros(own) / count(own) if own else 0)
