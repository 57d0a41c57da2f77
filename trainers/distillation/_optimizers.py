"""The optimisers a stage can name, and their state as tensors, so that a training goes on where it stopped."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from trainers.distillation._kept import kept_like
from trainers.run import UnfitStateError

if TYPE_CHECKING:
    from trainers.run import Run

_logger = logging.getLogger(__name__)
_STATE, _NUMBER = "optimizer", "optimizer_number"


def optimizer_of(kind: str, parameters: Iterable[nn.Parameter], *, learning_rate: float) -> torch.optim.Optimizer:
    """The optimiser called ``kind``, without weight decay: then Adam and AdamW are one and the same rule.

    Of the 8-bit ones, tensors of fewer than 4096 values keep a 32-bit state (Dettmers et al. 2022).
    """
    if kind in ("adamw", "adam"):
        of_torch = torch.optim.AdamW if kind == "adamw" else torch.optim.Adam
        return of_torch(parameters, lr=learning_rate, weight_decay=0.0, fused=True)
    from bitsandbytes import optim

    of_bitsandbytes = {"adamw_8bit": optim.AdamW8bit, "adam_8bit": optim.Adam8bit}[kind]
    # Its own default is a weight decay of 0.01.
    made: torch.optim.Optimizer = of_bitsandbytes(parameters, lr=learning_rate, weight_decay=0.0)
    return made


def slow_here(kind: str, run: Run) -> tuple[Mapping[str, Any], ...]:
    """A note when the optimiser is not made for the device; also logged, once, when the stage begins."""
    if not kind.endswith("_8bit") or run.device.type != "cpu":
        return ()
    remark = "on a CPU its steps are about 38 times slower than those of adamw"
    if run.state is None or run.state.stage != run.stage_index:
        _logger.warning("%s: optimizer %s: %s", run.stage_name, kind, remark)
    return ({"what": f"{run.stage_name} optimizer", "asked": kind, "achieved": kind, "note": remark},)


def kept_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """A copy of everything the optimiser remembers, by the place of the parameter and the name of the value."""
    return {
        _name(place, part, value): _as_tensor(value).detach().clone()
        for place, parameter in enumerate(_parameters(optimizer))
        for part, value in optimizer.state.get(parameter, {}).items()
    }


def restore_state(optimizer: torch.optim.Optimizer, kept: Mapping[str, Tensor]) -> None:
    """Put back what ``kept_state`` gave; names of others are left alone. The optimiser has not made a step yet.

    Not through ``load_state_dict``: it may change the type of a state, looks at no shape, and each library nests its
    own.

    Raises:
        UnfitStateError: when it is not what this optimiser keeps of these parameters.
    """
    _make_first_state(optimizer)
    known: set[str] = set()
    for place, parameter in enumerate(_parameters(optimizer)):
        own = optimizer.state[parameter]
        names = {part: _name(place, part, value) for part, value in own.items()}
        if kept.keys().isdisjoint(names.values()):  # a parameter without a gradient
            del optimizer.state[parameter]
            continue
        for part, value in list(own.items()):
            restored = kept_like(_as_tensor(value), names[part], kept)
            if part == "step" and restored < 0:
                raise UnfitStateError(f"its {names[part]} is {restored.item():g}, and no step is before the first")
            own[part] = restored.to(parameter.device, copy=True) if isinstance(value, Tensor) else restored.item()
        known.update(names.values())
    others = [name for name in kept if name.partition(".")[0] in (_STATE, _NUMBER) and name not in known]
    if others:
        raise UnfitStateError(f"it has {others[0]!r}, which this optimiser does not keep")


@torch.no_grad()
def _make_first_state(optimizer: torch.optim.Optimizer) -> None:
    """Let the optimiser make a state for every parameter, by a step that changes none."""
    rates = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    for parameter in _parameters(optimizer):
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def _name(place: int, part: str, value: object) -> str:
    return f"{_STATE if isinstance(value, Tensor) else _NUMBER}.{place}.{part}"


def _as_tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else torch.tensor(value)


def _parameters(optimizer: torch.optim.Optimizer) -> Iterator[nn.Parameter]:
    for group in optimizer.param_groups:
        yield from group["params"]
