"""The one training loop: images in, weights out, resumable at any image."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from trainers.distillation._kept import PHASE, kept_like, phase_of
from trainers.distillation._optimizers import kept_state, optimizer_of, restore_state
from trainers.distillation._precision import Precision, checkpointed, compiled
from trainers.distillation._zeros import Zeros
from trainers.models import float16
from trainers.processes import Processes
from trainers.run import UnfitStateError

if TYPE_CHECKING:
    from trainers.distillation._stage import TrainingStage
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run

_WARMUP_BATCHES = 20
_SECONDS_BETWEEN_REPORTS = 1.0
_AVERAGE, _UNROUNDED = "average.", "unrounded."


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What a loss gets: images at random timesteps.

    Args:
        image_BCHW: x_0.
        noise_BCHW: The noise in the noisy ones.
        noisy_BCHW: x_t.
        timestep_B: t, uniform over all timesteps.
        label_B: Classes, or None for an unconditional network.
    """

    image_BCHW: Tensor
    noise_BCHW: Tensor
    noisy_BCHW: Tensor
    timestep_B: Tensor
    label_B: Tensor | None

    def part(self, images: slice) -> Batch:
        """Some of them."""
        return Batch(
            image_BCHW=self.image_BCHW[images],
            noise_BCHW=self.noise_BCHW[images],
            noisy_BCHW=self.noisy_BCHW[images],
            timestep_B=self.timestep_B[images],
            label_B=None if self.label_B is None else self.label_B[images],
        )


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A part of a stage that trains one network, of a stage that trains several or prunes on the way.

    Args:
        number: From 0.
        first_image, last_image: Of the budget, that this phase sees.
        beside: Models that the stage needs to go on from here, besides the one in training.
        rates: First and last image over which the learning rate rises and falls; the phase's own when left out.
    """

    number: int
    first_image: int
    last_image: int
    beside: Mapping[str, DiffusionModel]
    rates: tuple[int, int] | None = None


Loss = Callable[[nn.Module, Batch], Tensor]
#: Timesteps of a batch, from its size and a generator; uniform over all of them when a stage has no other.
Timesteps = Callable[[int, torch.Generator], Tensor]


def trained(
    model: DiffusionModel,
    run: Run,
    *,
    loss: Loss,
    options: TrainingStage,
    timesteps: Timesteps | None = None,
    phase: Phase | None = None,
) -> nn.Module:
    """The network after the run's images for this stage, or for its phase; ``loss(net, batch)`` is a scalar.

    Images, noise and timesteps of a step depend on the seed, the stage and the images seen, so a training that stops
    and goes on ends exactly as one that does not stop. Weights stored in 8 or 4 bits stay as they are, and so do the
    zeros of masked layers; those stored in 16 bits are trained in float32 and rounded at the end.

    Raises:
        FloatingPointError: when the loss is not finite.
        UserError: when a weight has become too large for its 16 bits.
        UnfitStateError: when the run's state is of this stage and phase, and none that they leave.
    """
    phase = phase or Phase(number=0, first_image=run.first_image, last_image=run.last_image, beside={})
    net = model.copy_of_net().train()
    parameters = list(net.parameters())
    zeros = Zeros(net, model.spec)
    average = _Average(net, options.ema)
    precision = Precision(options.precision, run.device)
    optimizer = optimizer_of(options.optimizer, parameters, learning_rate=options.learning_rate)
    seen = phase.first_image
    state = run.state
    if state is not None and (state.stage, phase_of(state.tensors)) == (run.stage_index, phase.number):
        seen = state.images
        # The last batch may go beyond the end.
        if not phase.first_image <= seen < phase.last_image + options.batch:
            raise UnfitStateError(f"it stopped after {seen} images, which are none that {run.stage_name} sees")
        restore_state(optimizer, state.tensors)
        for part in (zeros, average, precision):
            part.restore_state(state.tensors)
        _restore_unrounded(net, model.spec, state.tensors)
    rate = _Rate(options, *(phase.rates or (phase.first_image, phase.last_image)))
    last_report, began = monotonic(), seen
    with checkpointed(net, is_wanted=options.checkpointing):
        called = compiled(net, is_wanted=options.compile)
        while seen < min(phase.last_image, run.until_images):
            for group in optimizer.param_groups:
                group["lr"] = rate.after(seen)
            batch = _batch(model, run, seen, options, timesteps or _uniform(model.spec))
            parts = _shares(loss, called, batch, run, options, precision)
            value = precision.step(parts, optimizer, parameters, clip=options.clip, add_up=run.processes.add_up)
            if value is None:
                raise FloatingPointError(f"{run.stage_name}: the loss is not finite after {seen} images")
            zeros.put_back()
            seen += options.batch
            average.update(net)
            if monotonic() - last_report > _SECONDS_BETWEEN_REPORTS:
                last_report = monotonic()
                run.report(min(seen, run.last_image), float(value))
    if seen > began:
        assert value is not None
        run.report(min(seen, run.last_image), float(value))
        kept = kept_state(optimizer) | _unrounded(net, model.spec) | {PHASE: torch.tensor(phase.number)}
        for part in (zeros, average, precision):
            kept |= part.kept_state()
        run.keep(seen, _holding(model, net), kept, beside=phase.beside)
    best = average.best(net).eval()
    best.load_state_dict(float16.rounded(model.spec, best.state_dict()))
    return best


def phase_ends(run: Run, batch: int, shares: Iterable[float]) -> list[int]:
    """Images of the budget after which phases end, at these shares of the stage's.

    Whole batches: else each phase would see up to a batch more than its part.
    """
    batches = math.ceil((run.last_image - run.first_image) / batch)
    return [run.first_image + batch * round(share * batches) for share in shares]


@dataclass(frozen=True)
class _Rate:
    """The learning rate over the images from ``first`` to ``last``."""

    options: TrainingStage
    first: int
    last: int

    def after(self, seen: int) -> float:
        options = self.options
        steps_in_all = max(1, math.ceil((self.last - self.first) / options.batch))
        step = (seen - self.first) // options.batch
        if options.warmup_images is None:
            rising = min(_WARMUP_BATCHES, steps_in_all)
        else:
            rising = max(1, math.ceil(options.warmup_images / options.batch))
        share = min(1.0, step / steps_in_all)
        falling = {"cosine": 0.5 * (1 + math.cos(math.pi * share)), "linear": 1 - share, "none": 1.0}[options.decay]
        return options.learning_rate * (min(1.0, (step + 1) / rising) * falling)


def _uniform(spec: ArchSpec) -> Timesteps:
    steps = spec.diffusion.steps
    if spec.diffusion.time == "discrete":
        return lambda size, generator: torch.randint(steps, (size,), generator=generator)
    # From (0, 1], so that no image comes without noise.
    return lambda size, generator: (1 - torch.rand(size, generator=generator)) * steps - 1


def _batch(model: DiffusionModel, run: Run, seen: int, options: TrainingStage, timesteps: Timesteps) -> Batch:
    """This process's part of a batch that is drawn whole in every one of them."""
    generator = run.generator("batch", seen)
    spec, size = model.spec, options.batch
    image_BCHW, known_B = run.images.drawn(size, generator)
    noise_BCHW = torch.randn(image_BCHW.shape, generator=generator)
    timestep_B = timesteps(size, generator)
    noisy_BCHW = spec.diffusion.noised(image_BCHW, noise_BCHW, timestep_B)
    label_B = None
    if spec.network.classes:
        label_B = known_B
        if options.label_dropout:
            assert spec.network.unlabelled is not None
            is_dropped_B = torch.rand(size, generator=generator) < options.label_dropout
            label_B = label_B.masked_fill(is_dropped_B, spec.network.unlabelled)
    part = run.processes.part_of(size)
    return Batch(
        image_BCHW=image_BCHW[part].to(run.device),
        noise_BCHW=noise_BCHW[part].to(run.device),
        noisy_BCHW=noisy_BCHW[part].to(run.device),
        timestep_B=timestep_B[part].to(run.device),
        label_B=None if label_B is None else label_B[part].to(run.device),
    )


def _shares(
    loss: Loss, net: nn.Module, batch: Batch, run: Run, options: TrainingStage, precision: Precision
) -> Iterator[Tensor]:
    """What each part of this process's batch adds to the loss; one part, unless there is too little memory for it."""
    size = len(batch.image_BCHW)
    count = min(run.micro_batches, size)
    for rank in range(count):
        part = Processes(rank=rank, count=count).part_of(size)
        with precision.forward():
            value = loss(net, batch.part(part)) * (
                run.processes.share_of(options.batch) * (part.stop - part.start) / size
            )
        yield value


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
            tensor.copy_(kept_like(tensor, f"{_AVERAGE}{name}", kept))


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


def _restore_unrounded(net: nn.Module, spec: ArchSpec, kept: Mapping[str, Tensor]) -> None:
    state = net.state_dict()
    for name in float16.names_in_float16(spec):
        state[name].copy_(kept_like(state[name], f"{_UNROUNDED}{name}", kept))
