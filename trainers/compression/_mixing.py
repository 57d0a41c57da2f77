"""The student's gradient mixed with the teacher's, restricted to the channels that the student still has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from trainers.compression._gradients import kept_sums
from trainers.compression.criteria.criterion import Criterion, GradientCriterion
from trainers.compression.descent import NotDescendedError, inherited, query_scales
from trainers.errors import UserError

if TYPE_CHECKING:
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run
    from trainers.stage import Place


def check_place(criterion: Criterion, place: Place) -> None:
    """Refuse a criterion that asks for the teacher's gradients after a stage that leaves nothing of the teacher.

    Raises:
        UserError: when it does.
    """
    if place.begun_anew and isinstance(criterion, GradientCriterion) and criterion.teacher_share(place):
        raise _refusal(f"has new weights since {place.begun_anew}")


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
        raise _refusal(str(found)) from None
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


def _refusal(found: str) -> UserError:
    return UserError(
        f"criterion: mixed: the student {found}. The teacher's gradients fit only a student that is the teacher, "
        "pruned or not. Use diff_pruning, which needs only the student, or leave out the stages student and train "
        "before it."
    )
