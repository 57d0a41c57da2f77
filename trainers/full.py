"""Train an exported recipe in full: ``python -m trainers.full DIR``, the same code as a trial with a larger budget.

This command line is the one place in ``trainers`` that measures, so it asks for the objectives when it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers.command import INTERRUPTED, command
from trainers.errors import UserError

if TYPE_CHECKING:
    import torch

    from objectives.objective import Objective
    from trainers.data.dataset import Images
    from trainers.job import Job
    from trainers.model_folder import ModelFolder
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.processes import Processes
    from trainers.run import Progress, Run

_CHECKPOINTS = 10
Measured = Mapping[str, Mapping[str, Any]]


def main(
    folder: Path,
    *,
    images: int | None = None,
    every: int | None = None,
    out: Path | None = None,
    exchange: bool = True,
    keep_students: bool = False,
) -> int:
    """Train an exported recipe with its full budget, and write a model that can be shipped.

    A training that was interrupted goes on from its last checkpoint. On several GPUs, or processes of a CPU:
    `torchrun --nproc-per-node 2 -m trainers.full DIR`; on GPUs also `accelerate launch --multi_gpu --num_processes 2`.

    Parameters
    ----------
    folder
        Folder that search.export wrote.
    images
        Images to train on, in place of the recipe's.
    every
        Images between checkpoints, each with samples and now and then FID; a tenth of them all when left out.
    out
        Folder for the model; DIR/model when left out.
    exchange
        Write the denoiser for torch.export and ONNX as well, which small trainings wait for; given again, it adds them.
    keep_students
        Write what each iteration of `progressive` makes, too, into students/ of that folder, for search.analyse.
    """
    for option, value in (("--images", images), ("--every", every)):
        if value is not None and value < 1:
            raise UserError(f"{option} must be at least 1, got {value}.")
    from rich.console import Console

    from trainers.job import Job
    from trainers.model_folder import ModelFolder
    from trainers.processes import joined

    job = Job.read(folder)
    if out is not None and out.resolve() == folder.resolve():
        raise UserError(
            f"--out {out} holds the recipe, and what its trial measured, which would be overwritten. "
            "Give another --out."
        )
    budget = images or job.budget.images
    with joined() as (processes, device):
        console = Console(highlight=False, markup=False, emoji=False, quiet=not processes.is_first)
        full = _Full(
            shipped=ModelFolder(out or folder / "model", folder, job),
            objectives=_objectives(job),
            images=budget,
            every=every or max(1, budget // _CHECKPOINTS),
            device=device,
            processes=processes,
            exchange=exchange,
            keep_students=keep_students,
            tell=partial(console.print, markup=False, soft_wrap=True),
        )
        try:
            full.go()
        except KeyboardInterrupt:
            console.print("\ninterrupted; give the same command again to go on from the last checkpoint")
            return INTERRUPTED
        except FloatingPointError as error:
            raise UserError(
                f"{error}. Lower a learning_rate in {folder / 'recipe.yaml'}, or export another trial."
            ) from None
    return 0


def _objectives(job: Job) -> list[Objective]:
    from pydantic import ValidationError

    from objectives.objective import OBJECTIVES

    try:
        return [OBJECTIVES.parse(written) for written in job.objectives]
    except ValidationError as error:
        raise UserError(f"objectives: {error.errors()[0]['msg']} Or export the trial again.") from None


@dataclass(kw_only=True)
class _Full:
    """The command, its options read."""

    shipped: ModelFolder
    objectives: list[Objective]
    images: int
    every: int
    device: torch.device
    processes: Processes
    exchange: bool
    keep_students: bool
    tell: Callable[[str], None]

    def go(self) -> None:
        from trainers.full_training import FullTraining
        from trainers.models import files

        training = FullTraining(
            recipe=self.shipped.job.recipe,
            folder=self.shipped.path,
            key=self.shipped.key(self.images),
            every=self.every,
            measure=self._judged,
            tell=self.tell,
            keeps_students=self.keep_students,
        )
        run = self._run(training.show)
        record = self.shipped.record(training.key)
        if record is not None:
            self.tell(f"{self.shipped.path} was trained with this recipe already; give another --out to repeat it")
            model = files.load(self.shipped.path, device=self.device)
        else:
            before = self._before(run)
            model, seconds = training.train(run)
            if self.processes.is_first:
                record = self._record(model, run, key=training.key, seconds=seconds)
                self.shipped.write(model, run, record)
                training.forget()
                self._tell_figures(record["measurements"], before)
        if self.processes.is_first and record is not None:
            for line in self.shipped.write_for_others(model, run, record, exchange=self.exchange):
                self.tell(line)
            self.tell(f"model: {self.shipped.path}, described in its model_card.md")
        # A process that ends takes its part of the group with it.
        self.processes.wait()

    def _run(self, show: Callable[[Progress], None]) -> Run:
        from trainers.cache import Cache
        from trainers.models.input_images import images_for
        from trainers.run import Run

        job, cache = self.shipped.job, Cache.default()
        cache.check()
        self.shipped.make()
        spec = job.teacher.planned_for(job.data)
        mistakes = job.recipe.mistakes(spec)
        if mistakes:
            raise UserError("\n".join([f"the recipe of {self.shipped.job_path} cannot be applied:", *mistakes]))
        images = images_for(job.data, spec)
        self._check_data(images)
        with self.processes.first_alone():
            teacher = job.teacher.obtain(images, cache=cache, device=self.device, on_progress=show)
        run = Run(
            seed=job.seed,
            device=self.device,
            images=images,
            teacher=teacher,
            cache=cache,
            budget_images=self.images,
            until_images=self.images,
            on_progress=show,
            processes=self.processes,
            micro_batches=job.micro_batches,
        )
        with self.processes.first_alone():
            # Only the first stage meets the teacher itself.
            for stage in job.recipe.stages[:1]:
                stage.prepare(run)
        return run

    def _check_data(self, images: Images) -> None:
        """Other images than the trial's are told; in other latents teacher and student would not see what they know."""
        expected = self.shipped.job.data_hash
        if not expected or expected == images.hash:
            return
        said = f"the data is not what the trial was trained on: its content hash is {images.hash}, not {expected}"
        if images.latents is not None:
            raise UserError(
                f"{said}. Images or autoencoder are others, and so are the latents. Give it the images that the study "
                "had; and where the folder has no decoder/, export the trial again."
            )
        self.tell(f"warning: {said}; its figures do not compare with those of this training")

    def _before(self, run: Run) -> Measured:
        """What the exported weights measure, drawn and compared here in the same way as the trained model will be."""
        from trainers.models import files

        if not self.processes.is_first or not (self.shipped.job_path / files.FILE).is_file():
            return {}
        return self._judged(files.load(self.shipped.job_path, device=self.device), run)

    def _judged(self, model: DiffusionModel, run: Run) -> Measured:
        """What only a trained model tells."""
        return self._measured(model, run, [piece for piece in self.objectives if piece.is_learned])

    def _measured(self, model: DiffusionModel, run: Run, objectives: Sequence[Objective]) -> Measured:
        import torch

        from objectives.objective import OBJECTIVES

        # Costs on what a trial had, so that they are those of the trial.
        has_gpu = self.shipped.job.resources.gpu > 0
        as_in_trial = run if has_gpu else replace(run, device=torch.device("cpu"))
        measured = {}
        for objective in objectives:
            objective.prepare(run.images, run.cache)
            measurement = objective.measure(model, run if objective.is_learned else as_in_trial)
            measured[OBJECTIVES.name_of(objective)] = asdict(measurement)
        return measured

    def _record(self, model: DiffusionModel, run: Run, *, key: str, seconds: float) -> dict[str, Any]:
        """What is kept of the training."""
        import torch

        from trainers.provenance import device_name, versions

        torch.set_num_threads(self.shipped.job.resources.cpu)
        return {
            "training": key,
            "measurements": self._measured(model, run, self.objectives),
            "images": self.images,
            "seed": self.shipped.job.seed,
            "achieved": [dict(note) for note in model.notes],
            "seconds": round(seconds, 1),
            "processes": self.processes.count,
            "versions": versions(),
            "device": device_name(model.device),
        }

    def _tell_figures(self, after: Measured, before: Measured) -> None:
        """Every figure, and whether costs are those of the trial."""
        from objectives.objective import OBJECTIVES
        from trainers.kept_costs import kept_costs

        for name, value in after.items():
            was = f"{before[name]['value']:.4g} +- {before[name]['stderr']:.2g} before, " if name in before else ""
            self.tell(f"{name}: {was}{value['value']:.4g} +- {value['stderr']:.2g} after")
        costs = {OBJECTIVES.name_of(piece): piece.is_exact for piece in self.objectives if not piece.is_learned}
        for line in kept_costs(after, self.shipped.trial(), is_exact=costs):
            self.tell(line)


if __name__ == "__main__":
    command(main, name="python -m trainers.full")
