"""What gradual distillation does, once torch is loaded."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from trainers.distillation._kept import phase_of
from trainers.distillation._loop import Phase, phase_ends
from trainers.distillation._optimizers import slow_here
from trainers.distillation._training import taught
from trainers.models.fresh import fresh

if TYPE_CHECKING:
    from trainers.distillation.gradual import Gradual
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run


def distilled_through(model: DiffusionModel, run: Run, stage: Gradual) -> DiffusionModel:
    """The student after teacher and models in between had their parts of the images.

    Each model is a phase. A state holds the model in training, its teacher where that is not the run's, and until its
    own turn the student beside it.
    """
    last = len(stage.via)
    first, teacher, student, going_on = 0, run.teacher, model, None
    if run.state is not None and run.state.stage == run.stage_index:
        first, going_on = phase_of(run.state.tensors), model
        teacher = run.state.beside.get("teacher", run.teacher)
        student = run.state.beside.get("student", model)
    for number in range(first, last + 1):
        if going_on is not None:
            learner = going_on
        elif number == last:
            learner = student
        else:
            spec = stage.via[number].spec_like(run.teacher.spec)
            learner = fresh(spec, seed=run.seed_for("intermediate", number), device=run.device)
        beside = {} if number == last else {"student": student}
        beside |= {"teacher": teacher} if number else {}
        span = _spans(stage, run)[number]
        phase = Phase(number=number, first_image=span[0], last_image=span[1], beside=beside)
        learner = replace(learner, net=taught(learner, run, stage, teacher=teacher, phase=phase))
        teacher, going_on = learner, None
    return student.after(stage, net=learner.net, spec=stage.plan(student.spec), notes=slow_here(stage.optimizer, run))


def _spans(stage: Gradual, run: Run) -> list[tuple[int, int]]:
    """First and last image of each phase, the student's last."""
    parts = [*(between.images for between in stage.via), 1.0]
    shares = [sum(parts[:place]) / sum(parts) for place in range(len(parts) + 1)]
    return list(pairwise(phase_ends(run, stage.batch, shares)))
