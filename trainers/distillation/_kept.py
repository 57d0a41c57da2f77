"""What a training keeps to go on from. It may be a stranger's, so each part is held against what it must be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trainers.run import UnfitStateError

if TYPE_CHECKING:
    from trainers.models.arch_spec import ArchSpec
    from trainers.run import TrainingState

PHASE = "phase"


def kept_like(like: Tensor, name: str, kept: Mapping[str, Tensor]) -> Tensor:
    """The finite tensor called ``name``, of the shape and type of ``like``.

    Fused kernels look at neither, and would read and write beyond a tensor that is too short.

    Raises:
        UnfitStateError: when there is no such one.
    """
    if name not in kept:
        raise UnfitStateError(f"it has no {name}")
    value = kept[name]
    if (value.shape, value.dtype) != (like.shape, like.dtype):
        raise UnfitStateError(f"its {name} is {_form(value)}, expected {_form(like)}")
    if not bool(torch.isfinite(value).all()):
        raise UnfitStateError(f"its {name} is not finite")
    return value


def phase_of(kept: Mapping[str, Tensor]) -> int:
    """The phase of its stage that a state belongs to."""
    return int(kept_like(torch.tensor(0), PHASE, kept)) if PHASE in kept else 0


def check_models(state: TrainingState, specs: Mapping[str, ArchSpec]) -> None:
    """Make sure that a state holds models of these architectures, as ``TrainingStage.kept_specs`` names them.

    Raises:
        UnfitStateError: when it does not.
    """
    models = {**state.beside, "model": state.model}
    if models.keys() != specs.keys():
        raise UnfitStateError(f"it holds {_names(models)}, expected {_names(specs) or 'no such phase of its stage'}")
    for name, model in models.items():
        if model.spec.known_ahead() != specs[name].known_ahead():
            raise UnfitStateError(f"its {name} has another architecture than this recipe makes")


def _names(models: Mapping[str, object]) -> str:
    return ", ".join(sorted(models))


def _form(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
