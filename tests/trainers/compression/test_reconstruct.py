"""Reconstruction: least squares on the rows that a layer multiplies, in place, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import build
from tests.trainers.compression.tiny import TINY, run_of
from trainers.cache import Cache
from trainers.compression import _reconstruction
from trainers.compression._pruning import without
from trainers.compression._reconstruction import _as_stored, _by_output, _refit_product, _rows_given, _solved
from trainers.compression.channels import coupled_groups
from trainers.compression.reconstruct import Reconstruct
from trainers.data.dataset import Images
from trainers.errors import UserError
from trainers.models.arch_spec import Layer
from trainers.models.building import assembled
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.float16 import names_in_float16
from trainers.models.networks.unet import Unet
from trainers.recipe import Recipe
from trainers.run import Run

HALF: dict[str, Any] = {"prune": {"ratio": 0.5, "rule": "flexible", "criterion": "magnitude"}}


def ran(run: Run, *stages: Any) -> DiffusionModel:
    return Recipe.parse(list(stages)).run(run)


def noisy(model: DiffusionModel, run: Run, count: int = 64) -> tuple[Tensor, Tensor, Tensor | None]:
    """Other images than those that weights are fitted to."""
    generator = torch.Generator().manual_seed(99)
    image_BCHW = run.images.test_inputs(slice(0, count))
    timestep_B = torch.randint(0, model.spec.diffusion.steps, (count,), generator=generator)
    noise_BCHW = torch.randn(image_BCHW.shape, generator=generator)
    label_B = torch.arange(count) % model.spec.network.classes if model.spec.network.classes else None
    return model.spec.diffusion.noised(image_BCHW, noise_BCHW, timestep_B), timestep_B, label_B


def error(model: DiffusionModel, run: Run) -> float:
    """Of the output, relative to the teacher's."""
    given = noisy(model, run)
    with torch.no_grad():
        wanted = run.teacher.predict(*given)
        return float((model.predict(*given) - wanted).norm() / wanted.norm())


LAYERS: dict[str, tuple[nn.Module, Layer]] = {
    "3x3": (nn.Conv2d(4, 6, 3, padding=1), Layer(kind="conv", inputs=4, outputs=6, kernel=9)),
    "strided": (nn.Conv2d(4, 6, 3, stride=2, padding=1), Layer(kind="conv", inputs=4, outputs=6, kernel=9)),
    "uneven": (
        nn.Conv2d(4, 6, (3, 1), stride=(1, 2), padding=(2, 0), dilation=(2, 1)),
        Layer(kind="conv", inputs=4, outputs=6, kernel=3),
    ),
    "grouped": (
        nn.Conv2d(4, 6, 3, padding=1, groups=2),
        Layer(kind="conv", inputs=4, outputs=6, kernel=9, groups=2),
    ),
    "transposed": (
        nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1),
        Layer(kind="conv_transpose", inputs=4, outputs=6, kernel=9),
    ),
    "transposed, uneven": (
        nn.ConvTranspose2d(4, 6, (3, 2), stride=(1, 3), padding=(0, 1), output_padding=(0, 2), dilation=(2, 1)),
        Layer(kind="conv_transpose", inputs=4, outputs=6, kernel=6),
    ),
    "transposed, grouped": (
        nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2),
        Layer(kind="conv_transpose", inputs=4, outputs=6, kernel=9, groups=2),
    ),
    "linear": (nn.Linear(4, 6), Layer(kind="linear", inputs=4, outputs=6)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_the_product_of_its_rows_and_weights(name: str) -> None:
    module, layer = LAYERS[name]
    given = torch.randn(3, 5, 4) if layer.kind == "linear" else torch.randn(3, 4, 7, 5)
    with torch.no_grad():
        wanted = module(given)
    wanted_BPO = wanted if layer.kind == "linear" else wanted.flatten(2).movedim(1, 2)
    positions_BP = torch.stack([torch.arange(wanted_BPO.shape[1])[::2] + shift for shift in (0, 0, -1)]).clamp_min(0)
    wanted_BPO = wanted_BPO.take_along_dim(positions_BP[:, :, None], dim=1)
    weight_OK = _by_output(module.get_parameter("weight").detach(), layer)
    outputs = layer.outputs // layer.groups
    for group in range(layer.groups):
        part = slice(group * outputs, (group + 1) * outputs)
        rows_RK = _rows_given(module, given, positions_BP, layer, group)
        found_RO = rows_RK @ weight_OK[part].T + module.get_parameter("bias").detach()[part]
        torch.testing.assert_close(found_RO, wanted_BPO[..., part].flatten(0, 1))
    assert torch.equal(_as_stored(weight_OK, module.get_parameter("weight"), layer), module.get_parameter("weight"))


def test_masked_equations_are_solved_column_by_column() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(200, 30, generator=generator, dtype=torch.float64)
    # Neighbours that nearly repeat each other, as pixels do.
    rows[:, 1::2] = rows[:, ::2] + 0.05 * rows[:, 1::2]
    square, product = rows.T @ rows / 200, rows.T @ torch.randn(200, 7, generator=generator, dtype=torch.float64) / 200
    square.diagonal().add_(0.01 * square.diagonal().mean())
    is_free = torch.rand(30, 7, generator=generator) < 0.4
    is_free[:, 3] = False
    found = _solved(square, product, is_free)
    assert (found[~is_free] == 0).all()
    for column in range(7):
        free = is_free[:, column]
        wanted = torch.linalg.solve(square[free][:, free], product[free, column])
        torch.testing.assert_close(found[free, column], wanted, rtol=1e-4, atol=1e-6)
    everything = _solved(square, product, torch.ones_like(is_free))
    torch.testing.assert_close(everything, _solved(square, product, None), rtol=1e-4, atol=1e-6)


def test_channels_that_others_repeat_are_not_missed(run: Run) -> None:
    """Every second channel within the blocks says what the one before it says: the others can stand in for it."""
    groups = [group for group in coupled_groups(run.teacher.spec) if group.name.endswith("conv1")]
    state = {name: tensor.clone() for name, tensor in run.teacher.net.state_dict().items()}
    for group in groups:
        for member in group.members:
            parts = ("weight", "bias") if member.side == "out" else ()
            for part in parts:
                tensor = state[f"{member.layer}.{part}"]
                tensor[1::2] = tensor[::2]
    run = replace(run, teacher=replace(run.teacher, net=assembled(run.teacher.spec, state)))
    # A norm's groups of pairs have the same statistics without the second of each pair.
    kept = {group.name: torch.arange(0, group.width, 2) for group in groups}
    spec, left = without(
        run.teacher.spec, state, coupled_groups(run.teacher.spec), kept, keeps_count=True, is_zeroed=False
    )
    survivors = {name: tuple(channels.tolist()) for name, channels in kept.items()}
    pruned = replace(run.teacher, spec=spec, net=assembled(spec, left), survivors=survivors)
    rebuilt = Reconstruct(ridge=1e-6).apply(pruned, run)
    assert error(pruned, run) > 0.3
    assert error(rebuilt, run) < 1e-3


RECIPES: dict[str, list[Any]] = {
    "pruned": [HALF],
    "grouped": [{"group": {"groups": 2}}],
    "masked": [{"mask": {"ratio": 0.7}}],
    "in 16 bits": [{"quantize": {"bits": 16}}, HALF],
    "all": [HALF, {"group": {"groups": 2}}, {"mask": {"ratio": 0.5}}],
}


@pytest.mark.parametrize("kind", sorted(TINY.keys() - {"ncsn, one level"}))  # That one has nothing to group.
@pytest.mark.parametrize("name", RECIPES)
def test_every_network_comes_closer_to_the_teacher_at_the_same_cost(
    kind: str, name: str, digits: Images, cache: Cache
) -> None:
    run = run_of(kind, digits, cache)
    before = ran(run, *RECIPES[name])
    after = ran(run, *RECIPES[name], "reconstruct")
    assert after.spec.known_ahead() == before.spec.known_ahead()
    assert after.survivors == before.survivors
    for key, tensor in before.net.state_dict().items():
        layer = before.spec.layers.get(key.rpartition(".")[0])
        if layer is not None and layer.zeros:
            assert torch.equal(tensor == 0, after.net.state_dict()[key] == 0), key
    held = {key: after.net.state_dict()[key] for key in names_in_float16(after.spec)}
    assert all(torch.equal(tensor, tensor.half().float()) for tensor in held.values())
    assert error(after, run) < 0.85 * error(before, run)


@pytest.mark.parametrize("kind", sorted(TINY))
def test_what_was_not_compressed_stays_as_it_is(kind: str, digits: Images, cache: Cache) -> None:
    run = run_of(kind, digits, cache)
    model = ran(run, {"prune": {"ratio": 0.0}}, "reconstruct")
    state = model.net.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in run.teacher.net.state_dict().items())


def test_only_a_part_of_a_large_layers_rows_is_looked_at(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ran(run, HALF, {"reconstruct": {"images": 256}})
    monkeypatch.setattr(_reconstruction, "_ROWS", 2**12)
    monkeypatch.setattr(_reconstruction, "_MOST_VALUES", 2**12)
    part = ran(run, HALF, {"reconstruct": {"images": 256}})
    assert part.fingerprint() != whole.fingerprint()
    assert error(part, run) < 1.2 * error(whole, run)


def test_a_layer_that_is_given_nothing_gets_its_bias_right() -> None:
    module, layer = nn.Linear(4, 6), Layer(kind="linear", inputs=4, outputs=6)
    weight = module.weight.detach().clone()
    error_BPO = torch.full((8, 1, 6), 0.5) + torch.arange(8)[:, None, None]
    with torch.no_grad():
        wanted = module.bias + error_BPO.mean(dim=(0, 1))
        _refit_product(module, torch.zeros(8, 4), error_BPO, torch.zeros(8, 1, dtype=torch.long), layer, 0.1)
    assert torch.equal(module.weight, weight)
    torch.testing.assert_close(module.bias.detach(), wanted)


def test_the_note_tells_what_it_was_worth(run: Run) -> None:
    note = ran(run, HALF, "reconstruct").notes[-1]
    before, after = (int(each.rstrip("%")) for each in note["note"].split("output ")[1].split(" -> "))
    assert note["what"] == "reconstruct layers" and 0 < after < before


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([{"quantize": {"bits": 8}}, "reconstruct"], "Put reconstruct before quantize"),
        (
            [{"student": {"network": {"unet": {"channels": [8, 8], "norm_groups": 4}}}}, "reconstruct"],
            "new weights since",
        ),
        ([{"train": {}}, "reconstruct"], "new weights since train"),
    ],
)
def test_layers_that_are_not_the_teachers_are_refused(run: Run, stages: list[Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Recipe.parse(stages).plan(run.teacher.spec)


def test_another_network_is_refused(run: Run) -> None:
    other = build(Unet(image_size=8, image_channels=1, channels=(8, 8), norm_groups=4))
    with pytest.raises(UserError, match="the student is another network"):
        Reconstruct().apply(other, run)


def test_a_model_that_has_diverged_is_told(run: Run) -> None:
    state = {name: tensor.clone() for name, tensor in run.teacher.net.state_dict().items()}
    state["conv_in.weight"].fill_(float("nan"))
    broken = replace(run.teacher, net=assembled(run.teacher.spec, state))
    with pytest.raises(FloatingPointError, match="conv_in"):
        Reconstruct().apply(broken, run)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_comes_as_close(run: Run) -> None:
    there = replace(run, device=torch.device("cuda"), teacher=run.teacher.to("cuda"))
    found = ran(there, HALF, "reconstruct").to("cpu")
    assert error(found, run) == pytest.approx(error(ran(run, HALF, "reconstruct"), run), rel=0.05)
