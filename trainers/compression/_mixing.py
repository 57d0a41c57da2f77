"""The student's gradient mixed with the teacher's, restricted to the channels that the student still has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trainers.compression._gradients import kept_sums
from trainers.compression.channels import coupled_groups, removal_indices
from trainers.errors import UserError

if TYPE_CHECKING:
    from trainers.compression.criteria.criterion import GradientCriterion
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run


def mixed_gradients(model: DiffusionModel, run: Run, criterion: GradientCriterion) -> dict[str, Tensor]:
    """By parameter, gamma * the teacher's gradient + (1 - gamma) * the model's own, each over its kept timesteps.

    Raises:
        UserError: when the model does not descend from the teacher.
    """
    share = criterion.teacher_share(run)
    teacher = run.teacher
    _check_network(model, teacher)
    full = kept_sums(teacher, run, criterion)
    mixed = {
        name: share * tensor.to(model.device)
        for name, tensor in restricted(full, _survivors(model, teacher), teacher.spec).items()
    }
    shapes = {name: tensor.shape for name, tensor in mixed.items()}
    if shapes != {name: parameter.shape for name, parameter in model.net.named_parameters()}:
        raise _not_descended("has other widths than its list of surviving channels says")
    if share < 1:
        for name, tensor in kept_sums(model, run, criterion).items():
            mixed[name] += (1 - share) * tensor.to(model.device)
    return mixed


def restricted(tensors: dict[str, Tensor], survivors: dict[str, Tensor], spec: ArchSpec) -> dict[str, Tensor]:
    """Tensors shaped like the parameters of ``spec``, with only the surviving channels of each group."""
    smaller = dict(tensors)
    for (name, side), stays in removal_indices(coupled_groups(spec), survivors, spec).items():
        layer, weight = spec.layers[name], smaller[f"{name}.weight"]
        stays = stays.to(weight.device)
        axis = layer.output_axis if side == "out" else 1 - layer.output_axis
        smaller[f"{name}.weight"] = weight.index_select(axis, stays)
        if side == "out" and layer.bias:
            smaller[f"{name}.bias"] = smaller[f"{name}.bias"].index_select(0, stays)
    return smaller


def _survivors(model: DiffusionModel, teacher: DiffusionModel) -> dict[str, Tensor]:
    """The model's surviving channels by group, counted in the channels of ``teacher``, which may be pruned itself."""
    widths = {group.name: group.width for group in coupled_groups(teacher.spec)}
    found = {}
    for name, channels in model.survivors.items():
        place_of = {channel: place for place, channel in enumerate(teacher.survivors.get(name, range(widths[name])))}
        if not place_of.keys() >= set(channels):
            raise _not_descended(f"has channels of {name} that the teacher lacks")
        found[name] = torch.tensor([place_of[channel] for channel in channels])
    return found


def _check_network(model: DiffusionModel, teacher: DiffusionModel) -> None:
    if model.spec.network != teacher.spec.network:
        raise _not_descended(f"is another network: {model.spec.network}, not {teacher.spec.network}")


def _not_descended(found: str) -> UserError:
    return UserError(
        f"criterion mixed: the student {found}. The teacher's gradients fit only a student that is the teacher, pruned "
        "or not. Use diff_pruning, which needs only the student, or leave out the stage student."
    )
