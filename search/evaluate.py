"""The body of a trial as plain functions: a filled recipe becomes a model and its measurements. No Ray, no Optuna."""

from __future__ import annotations

import io
import json
import logging
import math
import platform
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from objectives.objective import OBJECTIVES, Measurement, Objective
from search.checkpoints import Checkpoints
from trainers.atomic import write_atomically
from trainers.errors import UserError
from trainers.provenance import device_name, versions
from trainers.recipe import Recipe
from trainers.run import Progress, Run, TrainingState, UnfitStateError, going_on

if TYPE_CHECKING:
    import torch

    from trainers.cache import Cache
    from trainers.data.dataset import Images
    from trainers.models.diffusion_model import DiffusionModel


_logger = logging.getLogger(__name__)


def _ignore(progress: Progress) -> None:
    """Nobody watches."""


@dataclass(frozen=True)
class Workshop:
    """What all trials of a study share: computed once, then only read."""

    teacher: DiffusionModel
    images: Images
    objectives: tuple[Objective, ...]
    cache: Cache
    device: torch.device


@dataclass(frozen=True)
class TrialPlan:
    """A job of one trial, as plain data that can be sent to another process.

    Args:
        number: Of the trial in its study.
        recipe: YAML data without a knob.
        candidate: The answers that filled it.
        seed: Of the trial.
        rungs: Images at which it reports; the last is the full budget.
        folder: Of the trial's files.
        first_rung, last_rung: Those to reach now, as indices of ``rungs``; the earlier ones were reached before.
        checkpoints: URI of the trial's files where machines do not share the folder; empty where they do.
        confirm_seeds: Left empty, the trial is trained; otherwise its model is measured again, once for each.
        micro_batches: Parts in which each batch is computed.
        seconds_left, memory_gb: That the trial may take; None for no end.
    """

    number: int
    recipe: list[Any]
    candidate: Mapping[str, Any]
    seed: int
    rungs: tuple[int, ...]
    folder: str
    first_rung: int = 0
    last_rung: int = 0
    checkpoints: str = ""
    confirm_seeds: tuple[int, ...] = ()
    micro_batches: int = 1
    seconds_left: float | None = None
    memory_gb: float | None = None


@dataclass(frozen=True)
class RungResult:
    """What a trial measured after ``images`` images.

    Args:
        measurements: Objective name -> what was measured; learned objectives only, before the last rung.
        seconds: Time spent in each stage, in measuring each objective and in writing files.
        notes: What was asked and what was achieved.
        state: Where training stopped; None after the last rung.
    """

    images: int
    is_last: bool
    measurements: dict[str, Measurement]
    seconds: dict[str, float]
    notes: tuple[Mapping[str, Any], ...]
    device: str
    state: TrainingState | None = field(repr=False)

    def as_json(self) -> dict[str, Any]:
        """Everything but the state, as plain data."""
        return {
            "images": self.images,
            "is_last": self.is_last,
            "measurements": {name: asdict(measurement) for name, measurement in self.measurements.items()},
            "seconds": {name: round(seconds, 4) for name, seconds in self.seconds.items()},
            "notes": [dict(note) for note in self.notes],
            "versions": versions(),
            "device": self.device,
        }


def train(
    plan: TrialPlan, shop: Workshop, *, on_progress: Callable[[Progress], None] = _ignore
) -> Iterator[RungResult]:
    """Take a trial from rung to rung as far as planned.

    The state is kept in the trial's folder before a rung counts as reached, so that any worker may go on from there;
    whoever ends the trial removes it. Where it is missing, damaged or another trial's, training starts again.

    Raises:
        FloatingPointError: when the training or a measurement diverges.
    """
    from trainers.states import STATE_FILE, save_state

    copies = Checkpoints(plan.checkpoints) if plan.checkpoints else None
    if copies is not None and plan.first_rung:
        # Also where there is a state: another machine may have taken the trial further since.
        copies.get(Path(plan.folder))
    state = _kept(plan, shop) if plan.first_rung else None
    for rung in range(plan.first_rung, plan.last_rung + 1):
        result = evaluate(plan, shop, rung=rung, state=state, on_progress=on_progress)
        state = result.state
        if state is not None:
            save_state(state, Path(plan.folder))
        if copies is not None:
            copies.put(Path(plan.folder), [STATE_FILE] if state is not None else None)
        yield result


def check_shared(plan: TrialPlan) -> None:
    """What this machine writes of the trial reaches the driver.

    Raises:
        UserError: when it would not.
    """
    study = Path(plan.folder).parents[1]
    if not plan.checkpoints and not study.is_dir():
        raise UserError(
            f"the machine {platform.node()} does not see the study's folder {study}. Put it where all machines see it, "
            "or name a place that they all reach: --set checkpoints=s3://bucket/studies"
        )


def confirm(plan: TrialPlan, shop: Workshop) -> dict[str, dict[str, Any]]:
    """Measure the model of a complete trial again, once for each seed: value, standard error, draws, and by what.

    Every objective that is not computed exactly is in it; a seed is the same noise for all trials, and each draw has as
    many samples as in the search, since FID depends on their number. The standard error is that of the mean, from the
    spread of the draws or from their own errors, whichever is larger: few draws may agree by chance, and one alone does
    not show how a clock drifts.

    Raises:
        FloatingPointError: when a measurement is not finite.
        UserError: when the model is gone or damaged.
    """
    from trainers.models import files

    if plan.checkpoints and not Path(plan.folder).is_dir():
        Checkpoints(plan.checkpoints).get(Path(plan.folder))
    model = files.load(plan.folder, device=shop.device)
    run = _run_of(plan, shop, until_images=plan.rungs[-1])
    confirmed = {}
    for objective in shop.objectives:
        if objective.is_exact:
            continue
        name = OBJECTIVES.name_of(objective)
        drawn = [_finite(name, objective.with_noise(seed).measure(model, run)) for seed in plan.confirm_seeds]
        values = [measurement.value for measurement in drawn]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        own = math.sqrt(statistics.fmean(measurement.stderr**2 for measurement in drawn))
        confirmed[name] = {
            "value": statistics.fmean(values),
            "stderr": max(spread, own) / math.sqrt(len(values)),
            "draws": len(values),
            **({"by": drawn[0].by} if drawn[0].by else {}),
        }
    return confirmed


def evaluate(
    plan: TrialPlan,
    shop: Workshop,
    *,
    rung: int,
    state: TrainingState | None,
    on_progress: Callable[[Progress], None] = _ignore,
) -> RungResult:
    """Train to the rung from where ``state`` stopped, apply what follows training, and measure.

    The last rung measures every objective and writes the trial's folder.

    Raises:
        FloatingPointError: when the training or a measurement diverges.
    """
    images, is_last = plan.rungs[rung], rung == len(plan.rungs) - 1

    def trained(state: TrainingState | None) -> tuple[DiffusionModel, Run]:
        run = replace(_run_of(plan, shop, until_images=images), state=state, on_progress=on_progress)
        return Recipe.parse(plan.recipe).run(run), run

    model, run = going_on(lambda: state, trained, tell=partial(_tell_unfit, plan))
    measurements = {}
    for objective in shop.objectives:
        if is_last or objective.is_learned:
            name = OBJECTIVES.name_of(objective)
            with run.timed(f"measure {name}"):
                measurements[name] = _finite(name, objective.measure(model, run))
    if is_last:
        with run.timed("files"):
            _write_folder(plan, model, measurements, run.seconds, images=shop.images)
    kept = None if is_last else run.kept_state
    return RungResult(images, is_last, measurements, dict(run.seconds), model.notes, device_name(shop.device), kept)


def _kept(plan: TrialPlan, shop: Workshop) -> TrainingState | None:
    from trainers.states import load_state

    load = partial(load_state, Path(plan.folder), device=str(shop.device))
    return going_on(load, lambda state: state, tell=partial(_tell_unfit, plan))


def _tell_unfit(plan: TrialPlan, error: UnfitStateError) -> None:
    _logger.warning("trial %d: its training state is not used: %s; it starts from the beginning", plan.number, error)


def _run_of(plan: TrialPlan, shop: Workshop, *, until_images: int) -> Run:
    return Run(
        seed=plan.seed,
        device=shop.device,
        images=shop.images,
        teacher=shop.teacher,
        cache=shop.cache,
        budget_images=plan.rungs[-1],
        until_images=until_images,
        micro_batches=plan.micro_batches,
    )


def _write_folder(
    plan: TrialPlan,
    model: DiffusionModel,
    measurements: Mapping[str, Measurement],
    seconds: Mapping[str, float],
    *,
    images: Images,
) -> None:
    """``measurements.json`` comes last: where it is, the folder is whole."""
    from ruamel.yaml import YAML

    from trainers.models import files
    from trainers.models.pictures import sample_strip

    begun = perf_counter()
    folder = Path(plan.folder)
    files.save(model, folder)
    write_atomically(folder / "samples.webp", sample_strip(model, images.decoded))
    recipe = io.StringIO()
    YAML().dump({"recipe": plan.recipe}, recipe)
    write_atomically(folder / "recipe.yaml", recipe.getvalue().encode())
    lines = [*(_log_line(note) for note in model.notes), *(f"{name}: {spent:.2f} s" for name, spent in seconds.items())]
    write_atomically(folder / "log.txt", "".join(f"trial {plan.number}: {line}\n" for line in lines).encode())
    written = {
        "trial": plan.number,
        "candidate": dict(plan.candidate),
        "measurements": {name: asdict(measurement) for name, measurement in measurements.items()},
        "achieved": [dict(note) for note in model.notes],
        "images": plan.rungs[-1],
        "seed": plan.seed,
        "micro_batches": plan.micro_batches,
        "data": images.hash,
        "seconds": {**seconds, "files": perf_counter() - begun},
        "versions": versions(),
        "device": device_name(model.device),
    }
    write_atomically(folder / "measurements.json", json.dumps(written, indent=1).encode())


def _log_line(note: Mapping[str, Any]) -> str:
    remark = f" ({note['note']})" if note.get("note") else ""
    warning = "warning: " if note["asked"] and not note["achieved"] else ""
    values = (note["asked"], note["achieved"])
    asked, achieved = (value if isinstance(value, str) else f"{value:.4g}" for value in values)
    return f"{warning}{note['what']}: asked {asked}, achieved {achieved}{remark}"


def _finite(name: str, measurement: Measurement) -> Measurement:
    if not math.isfinite(measurement.value):
        raise FloatingPointError(f"objective {name} is {measurement.value}")
    return measurement
