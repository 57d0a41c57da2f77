"""The one training loop: images in, weights out, resumable at any image."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from trainers.models.sampling import from_uint8

if TYPE_CHECKING:
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run

_WARMUP_STEPS = 20
_SECONDS_BETWEEN_REPORTS = 1.0


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What a loss gets: images at random timesteps.

    Args:
        noisy_BCHW: x_t.
        noise_BCHW: The noise in them.
        timestep_B: t, uniform over all timesteps.
        label_B: Classes, or None for an unconditional network.
    """

    noisy_BCHW: Tensor
    noise_BCHW: Tensor
    timestep_B: Tensor
    label_B: Tensor | None


@dataclass(frozen=True, kw_only=True)
class LoopOptions:
    """How to train.

    Args:
        batch: Images per step.
        learning_rate: Of AdamW, after a linear warm-up, decaying to zero as a cosine over the whole stage.
        clip: Largest norm of the gradient.
        ema: Decay of the average of the weights that is kept in place of the last ones; 0 turns it off.
    """

    batch: int
    learning_rate: float
    clip: float = 1.0
    ema: float = 0.0


def trained(
    model: DiffusionModel, run: Run, *, loss: Callable[[nn.Module, Batch], Tensor], options: LoopOptions
) -> nn.Module:
    """The network after the run's images for this stage; ``loss(net, batch)`` is a scalar.

    Images, noise and timesteps of a step depend on the seed, the stage and the images seen, so a training that stops
    and goes on ends exactly as one that does not stop.

    Raises:
        FloatingPointError: when the loss is not finite.
    """
    net = model.copy_of_net().train()
    average = _Average(net, options.ema)
    optimizer = torch.optim.AdamW(net.parameters(), lr=options.learning_rate, weight_decay=0.0, fused=True)
    seen = run.first_image
    if run.state is not None and run.state.stage == run.stage_index:
        seen = run.state.images
        _restore(optimizer, average, run.state.tensors, net)
    steps_in_all = max(1, math.ceil((run.last_image - run.first_image) / options.batch))
    last_report = monotonic()
    began = seen
    while seen < min(run.last_image, run.until_images):
        step = (seen - run.first_image) // options.batch
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * _rate(step, steps_in_all)
        value = loss(net, _batch(model, run, seen, options.batch))
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        norm = nn.utils.clip_grad_norm_(net.parameters(), options.clip)
        if not torch.isfinite(norm):
            raise FloatingPointError(f"{run.stage_name}: the loss is not finite after {seen} images")
        optimizer.step()
        seen += options.batch
        average.update(net)
        if monotonic() - last_report > _SECONDS_BETWEEN_REPORTS:
            last_report = monotonic()
            run.report(min(seen, run.last_image), float(value.detach()))
    if seen > began:
        run.keep(seen, _holding(model, net), _kept_tensors(optimizer, average))
    return average.best(net).eval()


def _rate(step: int, steps_in_all: int) -> float:
    warm = min(1.0, (step + 1) / min(_WARMUP_STEPS, steps_in_all))
    return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps_in_all)))


def _batch(model: DiffusionModel, run: Run, seen: int, size: int) -> Batch:
    generator = run.generator("batch", seen)
    spec = model.spec
    picked_B = torch.randint(len(run.images.train_NCHW), (size,), generator=generator)
    image_BCHW = from_uint8(run.images.train_NCHW[picked_B])
    noise_BCHW = torch.randn(image_BCHW.shape, generator=generator)
    timestep_B = torch.randint(spec.diffusion.steps, (size,), generator=generator)
    noisy_BCHW = spec.diffusion.noised(image_BCHW, noise_BCHW, timestep_B)
    label_B = run.images.train_label_N[picked_B].to(run.device) if spec.network.classes else None
    return Batch(
        noisy_BCHW=noisy_BCHW.to(run.device),
        noise_BCHW=noise_BCHW.to(run.device),
        timestep_B=timestep_B.to(run.device),
        label_B=label_B,
    )


class _Average:
    """Exponential moving average of the weights; with decay 0 it is not kept."""

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.decay = decay
        self.tensors = {name: tensor.detach().clone() for name, tensor in net.state_dict().items()} if decay else {}

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        if self.tensors:
            state = net.state_dict()
            torch._foreach_lerp_(list(self.tensors.values()), [state[name] for name in self.tensors], 1 - self.decay)

    def best(self, net: nn.Module) -> nn.Module:
        if self.tensors:
            net.load_state_dict(self.tensors)
        return net


def _holding(model: DiffusionModel, net: nn.Module) -> DiffusionModel:
    """The model with a copy of the weights in training, as a state to go on from."""
    from dataclasses import replace

    from trainers.models.building import assembled

    state = {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}
    return replace(model, net=assembled(model.spec, state))


def _kept_tensors(optimizer: torch.optim.Optimizer, average: _Average) -> dict[str, Tensor]:
    kept = {f"average.{name}": tensor for name, tensor in average.tensors.items()}
    for index, state in optimizer.state_dict()["state"].items():
        kept |= {f"optimizer.{index}.{name}": tensor.detach().clone() for name, tensor in state.items()}
    return kept


def _restore(optimizer: torch.optim.Optimizer, average: _Average, kept: object, net: nn.Module) -> None:
    assert isinstance(kept, dict)
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in kept.items():
        kind, _, rest = name.partition(".")
        if kind == "optimizer":
            index, _, part = rest.partition(".")
            state.setdefault(int(index), {})[part] = tensor.clone()
        elif rest in average.tensors:
            average.tensors[rest] = tensor.clone()
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
