"""What compression costs and what it buys, side by side with what one would use instead, all in one run.

Run ``python tests/benchmarks/compression.py [norm] [importance] [pruning] [latency]``; all four when none is named.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import compression_importance
import compression_norm
import torch
from torch import nn

from objectives import costs
from trainers.cache import Cache
from trainers.compression.channels import coupled_groups
from trainers.data.digits import Digits
from trainers.models.arch_spec import ArchSpec
from trainers.models.building import empty
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.networks.unet import Unet
from trainers.models.tracing import spec_of
from trainers.quiet import silence_libraries
from trainers.recipe import Recipe
from trainers.run import Run

CIFAR10 = Unet(
    image_size=32, image_channels=3, channels=(128, 256, 256, 256), attention=(False, True, False, False), layers=2
)
_ROUNDS = 7


def main() -> None:
    """Print the tables that were asked for."""
    silence_libraries()
    sections: dict[str, Callable[[], str]] = {
        "norm": compression_norm.table,
        "importance": compression_importance.table,
        "pruning": pruning_table,
        "latency": latency_table,
    }
    wanted = sys.argv[1:] or list(sections)
    for name in wanted:
        if name not in sections:
            raise SystemExit(f"no section {name!r}; there are {', '.join(sections)}")
        print(f"{name}\n{sections[name]()}\n", flush=True)


def pruning_table() -> str:
    """The CIFAR-10 teacher at ratios 0.2, 0.3 and 0.5: ours against torch_pruning's own pruner, both by magnitude."""
    torch.set_num_threads(2)
    lines = [f"{'':28}{'seconds':>9}{'parameters':>13}{'kept':>7}{'MACs (G)':>10}{'pruned':>18}"]
    for ratio in (0.2, 0.3, 0.5):
        for name, prune in (("Slimfront, paper", "paper"), ("Slimfront, flexible", "flexible"), ("torch_pruning", "")):
            model = fresh(spec_of(CIFAR10, sampling_steps=100))
            if prune:
                coupled_groups.__globals__["_known"].clear()
                coupled_groups.__globals__["_traced"].cache_clear()
            seconds, (net, spec, pruned, groups) = (
                _ours(model, ratio, prune) if prune else _theirs(model, ratio, rounded=0)
            )
            lines.append(_pruning_row(f"{ratio} {name}", seconds, net, spec, pruned, groups))
    seconds, (net, spec, pruned, groups) = _ours(fresh(spec_of(CIFAR10, sampling_steps=100)), 0.3, "paper", round_to=8)
    lines.append(_pruning_row("0.3 Slimfront, round_to 8", seconds, net, spec, pruned, groups))
    seconds, (net, spec, pruned, groups) = _theirs(fresh(spec_of(CIFAR10, sampling_steps=100)), 0.3, rounded=8)
    lines.append(_pruning_row("0.3 torch_pruning, round 8", seconds, net, spec, pruned, groups))
    return "\n".join(lines)


_Pruned = tuple[float, tuple[nn.Module, ArchSpec | None, int, int]]


def _ours(model: DiffusionModel, ratio: float, rule: str, *, round_to: int = 1) -> _Pruned:
    """Tracing included, as in a process that prunes for the first time."""
    run = Run(
        seed=0,
        device=torch.device("cpu"),
        images=Digits().load(),
        teacher=model,
        cache=Cache.default(),
        budget_images=0,
        until_images=0,
    )
    options = {"ratio": ratio, "rule": rule, "criterion": "magnitude", "round_to": round_to}
    begun = time.perf_counter()
    pruned = Recipe.parse([{"prune": options}]).run(run)
    seconds = time.perf_counter() - begun
    achieved = [note["achieved"] for note in pruned.notes]
    return seconds, (pruned.net, pruned.spec, sum(share > 0 for share in achieved), len(achieved))


def _theirs(model: DiffusionModel, ratio: float, *, rounded: int) -> _Pruned:
    import torch_pruning

    net = model.net
    widths = {name: module.out_channels for name, module in net.named_modules() if isinstance(module, nn.Conv2d)}
    inputs = {"sample": torch.randn(1, 3, 32, 32), "timestep": torch.ones(1).long()}
    begun = time.perf_counter()
    pruner = torch_pruning.pruner.MagnitudePruner(
        net,
        inputs,
        importance=torch_pruning.importance.MagnitudeImportance(),
        pruning_ratio=ratio,
        pruning_ratio_dict={},
        ignored_layers=[net.conv_out],
        root_module_types=[nn.Conv2d, nn.Linear],
        channel_groups={},
        round_to=rounded or None,
    )
    pruner.step()
    seconds = time.perf_counter() - begun
    convs = {
        name: module for name, module in net.named_modules() if isinstance(module, nn.Conv2d) and name != "conv_out"
    }
    smaller = sum(module.out_channels < widths[name] for name, module in convs.items())
    return seconds, (net, None, smaller, len(convs))


def _pruning_row(name: str, seconds: float, net: nn.Module, spec: ArchSpec | None, pruned: int, groups: int) -> str:
    parameters = sum(parameter.numel() for parameter in net.parameters())
    macs = f"{costs.macs(spec) / 1e9:10.3f}" if spec else f"{'':>10}"
    what = f"{pruned} of {groups} {'groups' if spec else 'convs'}"
    return f"{name:28}{seconds:9.2f}{parameters:13,}{parameters / 35_746_307:7.1%}{macs}{what:>18}"


def latency_table() -> str:
    """One generation step at batch 1 and a batch of 64: the speed-up that the MACs promise, and the one measured."""
    torch.set_num_threads(1)
    dense = spec_of(Unet(image_size=32, image_channels=3, channels=(32, 64, 64), norm_groups=8), sampling_steps=1)
    recipes = {
        "dense": [],
        "pruned 50 %, paper": [{"prune": {"ratio": 0.5, "criterion": "random"}}],
        "pruned 50 %, round_to 8": [{"prune": {"ratio": 0.5, "criterion": "random", "round_to": 8}}],
        "pruned 50 %, flexible": [{"prune": {"ratio": 0.5, "criterion": "random", "rule": "flexible"}}],
        "grouped 2": [{"group": {"groups": 2}}],
        "grouped 4": [{"group": {"groups": 4}}],
        "grouped max": [{"group": {"groups": "max"}}],
        "masked 70 %": [{"mask": {"ratio": 0.7}}],
        "8 bit": [{"quantize": {"bits": 8}}],
        "4 bit": [{"quantize": {"bits": 4}}],
        "4 bit, dequantised once": [{"quantize": {"bits": 4, "dequantise_once": True}}],
        "int8 activations, linear": [{"quantize": {"bits": 8, "layers": "linear", "activations": 8}}],
        "pruned, grouped 2, 8 bit": [
            {"prune": {"ratio": 0.5, "criterion": "random"}},
            {"group": {"groups": 2}},
            {"quantize": {"bits": 8}},
        ],
    }
    teacher = fresh(dense)
    models = {name: _applied(recipe, teacher) for name, recipe in recipes.items()}
    lines = [f"{'':28}{'MACs (G)':>10}{'size (MB)':>11}{'promised':>10}{'batch 1':>9}{'batch 64':>10}"]
    seconds = {batch: _in_turns(models, batch) for batch in (1, 64)}
    for name, model in models.items():
        promised = costs.macs(dense) / costs.macs(model.spec)
        measured = [seconds[batch]["dense"] / seconds[batch][name] for batch in (1, 64)]
        lines.append(
            f"{name:28}{costs.macs(model.spec) / 1e9:10.4f}{costs.stored_bytes(model.spec) / 1e6:11.3f}"
            f"{promised:9.2f}x{measured[0]:8.2f}x{measured[1]:9.2f}x"
        )
    return "\n".join(lines)


def _applied(recipe: object, teacher: DiffusionModel) -> DiffusionModel:
    run = Run(
        seed=0,
        device=torch.device("cpu"),
        images=Digits().load(),
        teacher=teacher,
        cache=Cache.default(),
        budget_images=0,
        until_images=0,
    )
    return Recipe.parse(recipe).run(run)


@torch.no_grad()
def _in_turns(models: dict[str, DiffusionModel], batch: int) -> dict[str, float]:
    """Median seconds of a forward pass, the models taking turns."""
    image_BCHW, timestep_B = torch.randn(batch, 3, 32, 32), torch.full((batch,), 300)
    taken: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(_ROUNDS * (5 if batch == 1 else 1)):
        for name, model in models.items():
            begun = time.perf_counter()
            model.predict(image_BCHW, timestep_B)
            if turn:
                taken[name].append(time.perf_counter() - begun)
    return {name: statistics.median(found) for name, found in taken.items()}


def fresh(spec: ArchSpec) -> DiffusionModel:
    """A model of the architecture that was never trained."""
    net = empty(spec).to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.05, generator=generator)
    return DiffusionModel(net=net.eval(), spec=spec)


if __name__ == "__main__":
    main()
