"""The optimisers a stage can name, and their state as tensors, so that a training goes on where it stopped."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

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
    kept = {}
    for place, parameter in enumerate(_parameters(optimizer)):
        for name, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                kept[f"{_STATE}.{place}.{name}"] = value.detach().clone()
            else:
                kept[f"{_NUMBER}.{place}.{name}"] = torch.tensor(value)
    return kept


def restore_state(optimizer: torch.optim.Optimizer, kept: Mapping[str, Tensor]) -> None:
    """Put back what ``kept_state`` gave; other names are left alone.

    Not through ``load_state_dict``: it may change the type of a state, and each library nests its own.
    """
    parameters = list(_parameters(optimizer))
    for name, value in kept.items():
        kind, _, rest = name.partition(".")
        if kind in (_STATE, _NUMBER):
            place, _, part = rest.partition(".")
            parameter = parameters[int(place)]
            restored = value.to(parameter.device, copy=True) if kind == _STATE else value.item()
            optimizer.state[parameter][part] = restored


def _parameters(optimizer: torch.optim.Optimizer) -> Iterator[nn.Parameter]:
    for group in optimizer.param_groups:
        yield from group["params"]
