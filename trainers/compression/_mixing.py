"""The student's gradient mixed with the teacher's, restricted to the channels that the student still has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from trainers.compression._gradients import kept_sums
from trainers.compression.descent import NotDescendedError, inherited, query_scales
from trainers.errors import UserError

if TYPE_CHECKING:
    from trainers.compression.criteria.criterion import GradientCriterion
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run


def mixed_gradients(model: DiffusionModel, run: Run, criterion: GradientCriterion) -> dict[str, Tensor]:
    """By parameter, gamma * the teacher's gradient + (1 - gamma) * the model's own, each over its kept timesteps.

    Raises:
        UserError: when the model does not descend from the teacher.
    """
    share = criterion.teacher_share(run)
    full = kept_sums(run.teacher, run, criterion)
    try:
        of_teacher = inherited(full, model, run.teacher)
    except NotDescendedError as found:
        raise UserError(
            f"criterion mixed: the student {found}. The teacher's gradients fit only a student that is the teacher, "
            "pruned or not. Use diff_pruning, which needs only the student, or leave out the stage student."
        ) from None
    # A query that pruning made larger by a factor has a gradient that is smaller by it.
    for query, scale in query_scales(run.teacher.spec, model.spec).items():
        for name in (f"{query}.weight", f"{query}.bias"):
            if name in of_teacher:
                of_teacher[name] = of_teacher[name] / scale
    mixed = {name: share * tensor.to(model.device) for name, tensor in of_teacher.items()}
    if share < 1:
        for name, tensor in kept_sums(model, run, criterion).items():
            mixed[name] += (1 - share) * tensor.to(model.device)
    return mixed
