"""Mixed precision, gradient checkpointing and compilation of a network in training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from trainers.distillation._kept import kept_like
from trainers.run import UnfitStateError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_SCALE = "loss_scale"
_LARGEST_SCALE = torch.finfo(torch.float32).max
_LEAST_SCALE = 1e-3
"""Gradients that still overflow below it are infinite in any arithmetic."""


class Precision:
    """The arithmetic of a training.

    Args:
        kind: ``fp32``, ``bf16`` or ``fp16``; only fp16 needs its loss scaled, or small gradients vanish.
    """

    def __init__(self, kind: str, device: torch.device) -> None:
        self._device = device.type
        self._type = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[kind]
        self._scaler = torch.amp.GradScaler(device.type, enabled=kind == "fp16")

    def forward(self) -> AbstractContextManager[object]:
        """Within it, products are computed in the lower precision."""
        return nullcontext() if self._type is None else torch.autocast(self._device, dtype=self._type)

    def step(
        self,
        parts: Iterable[Tensor],
        optimizer: torch.optim.Optimizer,
        parameters: list[nn.Parameter],
        *,
        clip: float,
        add_up: Callable[[Sequence[Tensor]], None] = lambda tensors: None,
    ) -> Tensor | None:
        """One step of the optimiser down the clipped gradient: the value; None when the gradient was not finite.

        The value comes in parts that add up to it. Each is asked for when the one before it was differentiated, so
        that no more than one of them is held.

        Where several processes train together, the value and its gradient are this one's share. ``add_up`` replaces
        them by their sums over all, so that every process takes the same step.

        With fp16, a gradient that overflows is no error: the step is left out and the scale halved, as far as that
        can help.
        """
        optimizer.zero_grad(set_to_none=True)
        value = torch.zeros((), device=self._device)
        for part in parts:
            self._scaler.scale(part).backward()
            value = value + part.detach()
        add_up([*(each.grad for each in parameters if each.grad is not None), value])
        self._scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(parameters, clip)
        is_finite = bool(torch.isfinite(norm))
        if is_finite or self._scaler.is_enabled():
            self._scaler.step(optimizer)
            self._scaler.update()
        is_overflow = self._scaler.is_enabled() and self._scaler.get_scale() > _LEAST_SCALE
        return value if is_finite or (is_overflow and bool(torch.isfinite(value))) else None

    def kept_state(self) -> dict[str, Tensor]:
        """The scale of the loss and how long it has been well."""
        if not self._scaler.is_enabled():
            return {}
        state = self._scaler.state_dict()
        return {_SCALE: torch.tensor([state["scale"], state["_growth_tracker"]], dtype=torch.float64)}

    def restore_state(self, kept: Mapping[str, Tensor]) -> None:
        """Take them from what ``kept_state`` gave.

        Raises:
            UnfitStateError: when they are not there, or no such numbers.
        """
        if self._scaler.is_enabled():
            scale, tracker = kept_like(self.kept_state()[_SCALE], _SCALE, kept).tolist()
            if not 0 < scale <= _LARGEST_SCALE or not 0 <= tracker < self._scaler.get_growth_interval():
                raise UnfitStateError(f"its {_SCALE} is {scale:g}, well for {tracker:g} steps")
            self._scaler.load_state_dict({**self._scaler.state_dict(), "scale": scale, "_growth_tracker": int(tracker)})


@contextmanager
def checkpointed(net: nn.Module, *, is_wanted: bool) -> Iterator[None]:
    """Within it, blocks of the network keep only their inputs for the backward pass.

    A block is whatever lies at the top of the network or in a list there and consists of several layers.
    """
    blocks = list(_blocks(net)) if is_wanted else []
    for block in blocks:
        block.forward = partial(_again, block.forward)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


def compiled(net: nn.Module, *, is_wanted: bool) -> nn.Module:
    """The network as torch.compile makes it, or as it is; both have the same weights."""
    return cast(nn.Module, torch.compile(net)) if is_wanted else net


def _again(forward: Callable[..., Any], *inputs: Any, **named: Any) -> Any:
    return checkpoint(forward, *inputs, use_reentrant=False, **named)


def _blocks(net: nn.Module) -> Iterator[nn.Module]:
    # A network within another would be one block, of which all is kept as soon as it is computed again.
    while len(parts := [child for child in net.children() if list(child.children())]) == 1:
        net = parts[0]
    for part in parts:
        yield from (block for block in part if list(block.children())) if isinstance(part, nn.ModuleList) else (part,)
