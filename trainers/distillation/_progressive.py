"""What progressive distillation does, once torch is loaded."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from trainers.cache import Cache
from trainers.distillation._kept import phase_of
from trainers.distillation._loop import Batch, Loss, Phase, Timesteps, phase_ends, trained
from trainers.distillation._losses import squared_error, two_steps_in_one
from trainers.distillation._optimizers import slow_here
from trainers.models.samplers.ddim import ddim_step
from trainers.models.sampling import guided

if TYPE_CHECKING:
    from trainers.distillation.progressive import Progressive
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run
    from trainers.stage import Stage


@dataclass(frozen=True)
class _Span:
    """Part of an iteration between two prunings; the first begins with the teacher's copy.

    Args:
        number: Among all spans.
        iteration, part, parts: Part 0 of an iteration is before its first pruning, of which it has parts - 1.
        first_image, last_image: Of the budget.
        rates: First and last image of the iteration.
    """

    number: int
    iteration: int
    part: int
    parts: int
    first_image: int
    last_image: int
    rates: tuple[int, int]


def halved(model: DiffusionModel, run: Run, stage: Progressive) -> DiffusionModel:
    """The model after all halvings; where training stops early, what is left of the prunings is still applied."""
    student = replace(model, spec=stage.unguided(model.spec))
    teacher, original, going_on_at = model, run.begun_with or model.spec, -1
    if run.state is not None and run.state.stage == run.stage_index:
        going_on_at, teacher = phase_of(run.state.tensors), run.state.beside["teacher"]
    with TemporaryDirectory() as folder:
        # Gradients of a teacher that only this trial has serve the prunings of its iteration, and no other trial.
        own = Cache(Path(folder))
        for span in _spans(stage, run):
            if span.number < going_on_at:
                continue
            if span.number > going_on_at:
                if span.part:
                    student = _pruned(student, run, stage, span, teacher=teacher, original=original, own=own)
                elif span.iteration:
                    teacher = student
            loss, timesteps = _two_in_one(teacher, stage, span.iteration)
            phase = Phase(
                number=span.number,
                first_image=span.first_image,
                last_image=span.last_image,
                beside={"teacher": teacher},
                rates=span.rates,
            )
            # An average of a few images lies near where it began: going on from it would undo the training.
            options = stage if span.part == span.parts - 1 else replace(stage, ema=0.0)
            net = trained(student, run, loss=loss, options=options, timesteps=timesteps, phase=phase)
            student = replace(student, net=net)
            is_done = span.part == span.parts - 1 and span.last_image <= run.until_images
            if is_done and span.iteration < stage.halvings - 1:
                so_far = replace(stage, halvings=span.iteration + 1)
                run.on_student(run.stage_name, span.iteration + 1, _finished(student, run, so_far, original))
    return _finished(student, run, stage, original).after(stage, notes=slow_here(stage.optimizer, run))


def kept_specs(phase: int, spec: ArchSpec, run: Run, stage: Progressive) -> dict[str, ArchSpec]:
    """The architectures in a state of the span of this number; empty where there is none."""
    student, teacher = stage.unguided(spec), spec
    for span in _spans(stage, run):
        if span.part:
            student = _pruning(stage, span, original=spec, start=teacher, now=student).plan(student)
        elif span.iteration:
            teacher = student
        if span.number == phase:
            return {"model": student, "teacher": teacher}
    return {}


def _finished(student: DiffusionModel, run: Run, stage: Progressive, original: ArchSpec) -> DiffusionModel:
    """The student, drawn in the steps that are left, with what its prunings together were asked and achieved."""
    ours = f"{run.stage_name}: "
    notes = (
        {**note, "what": f"{ours}{note['what']}", "asked": round(note["asked"], 6)}
        for note in _notes(student.spec, stage, original)
    )
    # Those in our name are the teacher's or a stranger's, or of a state of an older version.
    others = (note for note in student.notes if not note["what"].startswith(ours))
    return replace(student, spec=stage.drawn(student.spec), notes=(*others, *notes))


def _two_in_one(teacher: DiffusionModel, stage: Progressive, iteration: int) -> tuple[Loss, Timesteps]:
    """The loss of an iteration, and the timesteps at which its student is drawn."""
    spec = teacher.spec
    diffusion, network = spec.diffusion, spec.network
    # Teacher's timesteps t, t' and t'' = the student's next, with the image (-1) at the end.
    grid = torch.cat((diffusion.timesteps(stage.steps_before(spec) >> iteration), torch.tensor([-1])))
    place_of = torch.zeros(diffusion.steps, dtype=torch.long)
    place_of[grid[:-1:2]] = torch.arange(0, len(grid) - 1, 2)

    def timesteps(size: int, generator: torch.Generator) -> Tensor:
        return grid[2 * torch.randint(len(grid) // 2, (size,), generator=generator)]

    def loss(net: nn.Module, batch: Batch) -> Tensor:
        predicted_BCHW = network.call(net, batch.noisy_BCHW, batch.timestep_B, batch.label_B)
        place_B = place_of.to(batch.timestep_B.device)[batch.timestep_B]
        between_B, end_B = (grid.to(place_B.device)[place_B + further] for further in (1, 2))
        with torch.no_grad():
            halfway_BCHW = teacher_step(teacher, batch.noisy_BCHW, batch.timestep_B, between_B, batch.label_B)
            later_BCHW = teacher_step(teacher, halfway_BCHW, between_B, end_B, batch.label_B)
            image_BCHW = two_steps_in_one(
                batch.noisy_BCHW,
                later_BCHW,
                start=diffusion.alpha_sigma(batch.timestep_B),
                end=diffusion.alpha_sigma(end_B),
            )
            target_BCHW = diffusion.prediction_of(image_BCHW, batch.noisy_BCHW, batch.timestep_B)
        weight_B111 = diffusion.error_weight(stage.weighting(diffusion), batch.timestep_B)
        return squared_error(predicted_BCHW, target_BCHW, weight_B111)

    return loss, timesteps


def teacher_step(
    teacher: DiffusionModel, noisy_BCHW: Tensor, timestep_B: Tensor, following_B: Tensor, label_B: Tensor | None
) -> Tensor:
    """One DDIM step of the teacher, as it draws: with its guidance."""
    prediction_BCHW = guided(teacher, label_B)(noisy_BCHW, timestep_B).float()
    return ddim_step(prediction_BCHW, noisy_BCHW, timestep_B, following_B, diffusion=teacher.spec.diffusion)


def _pruned(
    student: DiffusionModel,
    run: Run,
    stage: Progressive,
    span: _Span,
    *,
    teacher: DiffusionModel,
    original: ArchSpec,
    own: Cache,
) -> DiffusionModel:
    """The student after the pruning that opens this span."""
    part = _pruning(stage, span, original=original, start=teacher.spec, now=student.spec)
    inner = replace(
        run,
        teacher=teacher,
        cache=run.cache if teacher.fingerprint() == run.teacher.fingerprint() else own,
        stage_name=f"{run.stage_name}.{span.number}",
        occurrence=span.part - 1,
        occurrences=span.parts - 1,
        iteration=span.iteration,
    )
    pruned = part.apply(student, inner)
    # Parts are rounded to whole channels: what was asked is told of all of them together.
    return replace(pruned, log=student.log, notes=student.notes)


def _pruning(stage: Progressive, span: _Span, *, original: ArchSpec, start: ArchSpec, now: ArchSpec) -> Stage:
    """The part of its iteration's pruning that opens this span."""
    return stage.pruning_up_to(span.part / (span.parts - 1), span.iteration, original=original, start=start, now=now)


def _spans(stage: Progressive, run: Run) -> Iterator[_Span]:
    """All spans in turn: equal iterations, each in equal parts."""
    number = 0
    for iteration in range(stage.halvings):
        parts = stage.prune_steps + 1 if stage.prune else 1
        shares = ((iteration + part / parts) / stage.halvings for part in range(parts + 1))
        ends = phase_ends(run, stage.batch, shares)
        for part in range(parts):
            yield _Span(number, iteration, part, parts, ends[part], ends[part + 1], (ends[0], ends[-1]))
            number += 1


def _notes(student: ArchSpec, stage: Progressive, original: ArchSpec) -> Iterator[Mapping[str, Any]]:
    """One note for each group, of all iterations together; a reason only where it lost nothing at all."""
    prunings = stage.prunings()
    if stage.prune_of == "original":
        yield from prunings[-1].notes(start=original, now=student, after=prunings[:-1]) if prunings else ()
        return
    by_group: dict[str, list[Mapping[str, Any]]] = {}
    for pruning, (start, end) in zip(prunings, pairwise(stage.pruned(original)), strict=True):
        for note in pruning.notes(start=start, now=end):
            by_group.setdefault(note["what"], []).append(note)
    for what, parts in by_group.items():
        asked, achieved = (1 - math.prod(1 - note[key] for note in parts) for key in ("asked", "achieved"))
        merged = {"what": what, "asked": asked, "achieved": round(achieved, 6)}
        reasons = [note["note"] for note in parts if "note" in note]
        yield merged | ({"note": reasons[0]} if reasons and not achieved else {})
