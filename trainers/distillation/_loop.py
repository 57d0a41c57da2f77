"""The one training loop: images in, weights out, resumable at any image."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from trainers.distillation._optimizers import kept_state, optimizer_of, restore_state
from trainers.distillation._zeros import Zeros
from trainers.models import float16
from trainers.models.sampling import from_uint8

if TYPE_CHECKING:
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run

_WARMUP_STEPS = 20
_SECONDS_BETWEEN_REPORTS = 1.0
_AVERAGE, _UNROUNDED = "average.", "unrounded."


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
        optimizer: ``adamw``, ``adam``, ``adamw_8bit`` or ``adam_8bit``.
        learning_rate: Of the optimiser, after a linear warm-up, decaying to zero as a cosine over the whole stage.
        clip: Largest norm of the gradient.
        ema: Decay of the average of the weights that is kept in place of the last ones; 0 turns it off.
    """

    batch: int
    learning_rate: float
    optimizer: str = "adamw"
    clip: float = 1.0
    ema: float = 0.0


def trained(
    model: DiffusionModel, run: Run, *, loss: Callable[[nn.Module, Batch], Tensor], options: LoopOptions
) -> nn.Module:
    """The network after the run's images for this stage; ``loss(net, batch)`` is a scalar.

    Images, noise and timesteps of a step depend on the seed, the stage and the images seen, so a training that stops
    and goes on ends exactly as one that does not stop. Weights stored in 8 or 4 bits stay as they are, and so do the
    zeros of masked layers; those stored in 16 bits are trained in float32 and rounded at the end.

    Raises:
        FloatingPointError: when the loss is not finite.
        UserError: when a weight has become too large for its 16 bits.
    """
    net = model.copy_of_net().train()
    zeros = Zeros(net, model.spec)
    average = _Average(net, options.ema)
    optimizer = optimizer_of(options.optimizer, net.parameters(), learning_rate=options.learning_rate)
    seen = run.first_image
    if run.state is not None and run.state.stage == run.stage_index:
        seen = run.state.images
        restore_state(optimizer, run.state.tensors)
        zeros.restore_state(run.state.tensors)
        average.restore_state(run.state.tensors)
        _restore_unrounded(net, run.state.tensors)
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
        zeros.put_back()
        seen += options.batch
        average.update(net)
        if monotonic() - last_report > _SECONDS_BETWEEN_REPORTS:
            last_report = monotonic()
            run.report(min(seen, run.last_image), float(value.detach()))
    if seen > began:
        kept = kept_state(optimizer) | zeros.kept_state() | average.kept_state() | _unrounded(net, model.spec)
        run.keep(seen, _holding(model, net), kept)
    best = average.best(net).eval()
    best.load_state_dict(float16.rounded(model.spec, best.state_dict()))
    return best


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
    """Exponential moving average of the weights; with decay 0 it is not kept. Quantised weights are not trained."""

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.decay = decay
        trained = net.named_parameters() if decay else ()
        self.tensors = {name: parameter.detach().clone() for name, parameter in trained}

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        if self.tensors:
            state = dict(net.named_parameters())
            torch._foreach_lerp_(list(self.tensors.values()), [state[name] for name in self.tensors], 1 - self.decay)

    def best(self, net: nn.Module) -> nn.Module:
        net.load_state_dict(self.tensors, strict=False)
        return net

    def kept_state(self) -> dict[str, Tensor]:
        return {f"{_AVERAGE}{name}": tensor for name, tensor in self.tensors.items()}

    def restore_state(self, kept: Mapping[str, Tensor]) -> None:
        for name, tensor in self.tensors.items():
            tensor.copy_(kept[f"{_AVERAGE}{name}"])


def _holding(model: DiffusionModel, net: nn.Module) -> DiffusionModel:
    """The model with a copy of the weights in training, as a state to go on from."""
    from dataclasses import replace

    from trainers.models.building import assembled

    state = {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}
    return replace(model, net=assembled(model.spec, float16.rounded(model.spec, state)))


def _unrounded(net: nn.Module, spec: ArchSpec) -> dict[str, Tensor]:
    """What a model cannot hold that stores it in 16 bits, to go on from exactly there."""
    state = net.state_dict()
    return {f"{_UNROUNDED}{name}": state[name].detach().clone() for name in float16.names_in_float16(spec)}


def _restore_unrounded(net: nn.Module, kept: Mapping[str, Tensor]) -> None:
    named = {name.removeprefix(_UNROUNDED): tensor for name, tensor in kept.items() if name.startswith(_UNROUNDED)}
    net.load_state_dict(named, strict=False)
