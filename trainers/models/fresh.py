"""New weights: a network that nothing has trained yet."""

from __future__ import annotations

from dataclasses import replace

import torch

from trainers.models.arch_spec import ArchSpec
from trainers.models.diffusion_model import DiffusionModel


def fresh(spec: ArchSpec, *, seed: int, device: torch.device) -> DiffusionModel:
    """An untrained model of this architecture, which is as its network builds it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = spec.network.build().to(device).eval()
    return DiffusionModel(net=net, spec=spec)


def with_fresh_weights(model: DiffusionModel, *, seed: int) -> DiffusionModel:
    """The model with new weights in the same layers, however they were pruned or grouped; zeros of masks stay zero.

    Layers stored in 8 or 4 bits keep theirs: they are not trained.
    """
    net = model.copy_of_net()
    kept = {name: tensor.detach() == 0 for name, tensor in net.named_parameters() if _is_masked(model.spec, name)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # On the CPU, where random numbers are the same for every device.
        net.to("cpu")
        for module in net.modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
        net.to(model.device)
    with torch.no_grad():
        for name, is_zero in kept.items():
            net.get_parameter(name)[is_zero] = 0.0
    return replace(model, net=net.eval())


def _is_masked(spec: ArchSpec, parameter: str) -> bool:
    layer = spec.layers.get(parameter.rpartition(".")[0])
    return layer is not None and bool(layer.zeros)
