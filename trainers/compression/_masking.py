"""Zeros in a spec and in weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trainers.errors import UserError
from trainers.models.arch_spec import ArchSpec
from trainers.models.building import assembled

if TYPE_CHECKING:
    from trainers.compression.mask import Mask
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run


def planned(stage: Mask, spec: ArchSpec) -> ArchSpec:
    """The spec with the share of zeros in each layer in scope: exact in sum, and expected for each of them.

    Raises:
        UserError: when weights in scope are quantised already.
    """
    names = _layers_in_scope(stage, spec)
    if not stage.ratio:
        return spec
    quantised = [name for name in names if spec.layers[name].is_quantised]
    if quantised:
        raise UserError(f"{quantised[0]} is quantised already. Put mask before quantize.")
    return spec.with_layers(
        {name: spec.layers[name].but(zeros=max(stage.ratio, spec.layers[name].zeros)) for name in names}
    )


def masked(stage: Mask, model: DiffusionModel, run: Run) -> DiffusionModel:
    """The model with these weights at zero."""
    names = _layers_in_scope(stage, planned(stage, model.spec))
    state = {name: tensor.detach().clone() for name, tensor in model.net.state_dict().items()}
    held = [key for name in names for key in (f"{name}.weight", f"{name}.bias") if key in state]
    if not stage.ratio:
        return model.after(stage)
    scores = [_scores(stage, state[key], run.generator("mask", key)) for key in held]
    for group in [range(len(held))] if stage.rank == "together" else [[place] for place in range(len(held))]:
        _zero_lowest([state[held[place]] for place in group], [scores[place] for place in group], stage.ratio)
    zeros = {name: _share_of_zeros(state, name) for name in names}
    # A layer without a single zero has no mask to keep.
    layers = {name: replace(model.spec.layers[name], zeros=share) for name, share in zeros.items()}
    spec = model.spec.with_layers(layers)
    elements = sum(state[key].numel() for key in held)
    count = sum(int((state[key] == 0).sum()) for key in held)
    note = {
        "what": f"mask weights ({stage.scope})",
        "asked": stage.ratio,
        "achieved": round(count / elements, 6),
        "note": f"{count:,} of {elements:,} are zero",
    }
    return model.after(stage, net=assembled(spec, state), spec=spec, notes=(note,))


def with_counted_zeros(spec: ArchSpec, state: Mapping[str, Tensor]) -> ArchSpec:
    """The spec of masked weights of which only a part is left, with the share of zeros there."""
    masked = {name: layer for name, layer in spec.layers.items() if layer.zeros}
    return spec.with_layers({name: layer.but(zeros=_share_of_zeros(state, name)) for name, layer in masked.items()})


def _layers_in_scope(stage: Mask, spec: ArchSpec) -> list[str]:
    wanted = ("middle", "end") if stage.scope == "global" else (stage.scope,)
    names = [name for name, layer in spec.layers.items() if layer.is_product and spec.network.region_of(name) in wanted]
    if not names:
        raise UserError(f"scope: this network has no {stage.scope!r} part. Use 'global' or the other part.")
    return names


def _scores(stage: Mask, tensor: Tensor, generator: torch.Generator) -> Tensor:
    """The lowest go; what is zero already goes first."""
    if stage.method == "l1":
        return tensor.abs().flatten().cpu()
    return torch.rand(tensor.numel(), generator=generator).masked_fill_(tensor.flatten().cpu() == 0, -1.0)


def _zero_lowest(tensors: list[Tensor], scores: list[Tensor], ratio: float) -> None:
    score_N = torch.cat(scores)
    count = round(ratio * len(score_N))
    is_kept_N = torch.ones(len(score_N), dtype=torch.bool)
    is_kept_N[score_N.topk(count, largest=False, sorted=False).indices] = False
    for tensor, is_kept in zip(tensors, is_kept_N.split([len(score) for score in scores]), strict=True):
        # Not a product: a negative weight would leave -0.0, which neither compresses nor quantises as 0 does.
        tensor.masked_fill_(~is_kept.view(tensor.shape).to(tensor.device), 0.0)


def _share_of_zeros(state: Mapping[str, Tensor], name: str) -> float:
    held = [state[key] for key in (f"{name}.weight", f"{name}.bias") if key in state]
    return sum(int((tensor == 0).sum()) for tensor in held) / sum(tensor.numel() for tensor in held)
