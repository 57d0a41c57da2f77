"""Train an exported recipe in full: ``python -m trainers.full DIR``, the same code as a trial with a larger budget.

This command line is the one place in ``trainers`` that measures, so it asks for the objectives when it runs.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers.command import INTERRUPTED, command
from trainers.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from objectives.objective import Objective
    from trainers.data.dataset import Images
    from trainers.job import Job
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Progress, Run

_CHECKPOINTS = 10
_SECONDS_BETWEEN_LINES = 5.0


def main(folder: Path, *, images: int | None = None, out: Path | None = None) -> int:
    """Train an exported recipe with its full budget, and write a model that can be shipped.

    A training that was interrupted goes on from its last checkpoint.

    Parameters
    ----------
    folder
        Folder that search.export wrote.
    images
        Images to train on, in place of the recipe's.
    out
        Folder for the model; DIR/model when left out.
    """
    from trainers.quiet import silence_libraries

    silence_libraries()
    if images is not None and images < 1:
        raise UserError(f"--images must be at least 1, got {images}.")
    from rich.console import Console

    from trainers.job import Job

    job, out = Job.read(folder), out or folder / "model"
    training = _Training(folder, job, _objectives(job), images or job.budget.images, out, Console(highlight=False))
    try:
        return training.go()
    except KeyboardInterrupt:
        training.console.print("\ninterrupted; give the same command again to go on from the last checkpoint")
        return INTERRUPTED


def _objectives(job: Job) -> list[Objective]:
    from pydantic import ValidationError

    from objectives.objective import OBJECTIVES

    try:
        return [OBJECTIVES.parse(written) for written in job.objectives]
    except ValidationError as error:
        raise UserError(f"objectives: {error.errors()[0]['msg']} Or export the trial again.") from None


@dataclass
class _Training:
    folder: Path
    job: Job
    objectives: list[Objective]
    images: int
    out: Path
    console: Console
    #: When training began here, how many images an earlier run had seen by then, and when a line was last shown.
    begun: float = field(default_factory=time.monotonic)
    seen_before: int = 0
    shown: float = 0.0

    def go(self) -> int:
        import torch

        started = time.monotonic()
        run = self._run()
        before = self._before(run)
        model = self._train(run)
        # Latency is measured as in the trial, whatever the training used.
        torch.set_num_threads(self.job.resources.cpu)
        after = self._measured(model, run, learned_only=False)
        self._write(model, run.images, after, seconds=time.monotonic() - started)
        for name, value in after.items():
            was = f"{before[name]['value']:.4g} +- {before[name]['stderr']:.2g} before, " if name in before else ""
            self.console.print(f"{name}: {was}{value['value']:.4g} +- {value['stderr']:.2g} after")
        self.console.print(f"model: {self.out} (load it with trainers.models.files.load)")
        self._write_for_diffusers(model)
        return 0

    def _run(self) -> Run:
        import torch

        from trainers.cache import Cache
        from trainers.models.input_images import images_for
        from trainers.run import Run

        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        Cache.default().check()
        self._check_out()
        cache = Cache.default()
        spec = self.job.teacher.planned_for(self.job.data)
        mistakes = self.job.recipe.mistakes(spec)
        if mistakes:
            raise UserError("\n".join([f"the recipe of {self.folder} cannot be applied:", *mistakes]))
        images = images_for(self.job.data, spec)
        teacher = self.job.teacher.obtain(images, cache=cache, device=device, on_progress=self._show)
        return Run(
            seed=self.job.seed,
            device=device,
            images=images,
            teacher=teacher,
            cache=cache,
            budget_images=self.images,
            until_images=self.images,
            on_progress=self._show,
        )

    def _check_out(self) -> None:
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make the folder {self.out} ({error.strerror}). Give another --out.") from None

    def _before(self, run: Run) -> dict[str, Any]:
        """What the exported weights measure, drawn and compared here in the same way as the trained model will be."""
        from trainers.models import files

        if not (self.folder / files.FILE).is_file():
            return {}
        return self._measured(files.load(self.folder, device=run.device), run, learned_only=True)

    def _train(self, run: Run) -> DiffusionModel:
        from trainers.states import load_state, save_state

        checkpoint = self.out / f"checkpoint-{self.images}"
        state = load_state(checkpoint, device=str(run.device))
        if state is not None:
            self.console.print(f"going on from {state.images:,} of {self.images:,} images")
        ends = [self.images * part // _CHECKPOINTS for part in range(1, _CHECKPOINTS)] + [self.images]
        self.begun, self.seen_before = time.monotonic(), state.images if state else 0
        for end in ends:
            if state is not None and end <= state.images < self.images:
                continue
            run = run.up_to(end, state)
            model = self.job.recipe.run(run)
            if run.kept_state is not None and run.kept_state is not state:
                state = run.kept_state
                save_state(state, checkpoint)
        return model

    def _measured(self, model: DiffusionModel, run: Run, *, learned_only: bool) -> dict[str, Any]:
        from objectives.objective import OBJECTIVES

        measured = {}
        for objective in self.objectives:
            if objective.is_learned or not learned_only:
                objective.prepare(run.images, run.cache)
                measured[OBJECTIVES.name_of(objective)] = asdict(objective.measure(model, run))
        return measured

    def _write(self, model: DiffusionModel, images: Images, measured: dict[str, Any], *, seconds: float) -> None:
        from trainers.atomic import write_atomically
        from trainers.models import files
        from trainers.models.pictures import sample_strip
        from trainers.provenance import device_name, versions

        files.save(model, self.out)
        if images.latents is not None:
            images.latents.decoder.save(self.out / "decoder")
        write_atomically(self.out / "samples.webp", sample_strip(model, images.decoded))
        write_atomically(self.out / "recipe.yaml", (self.folder / "recipe.yaml").read_bytes())
        written = {
            "measurements": measured,
            "images": self.images,
            "seed": self.job.seed,
            "achieved": [dict(note) for note in model.notes],
            "seconds": round(seconds, 1),
            "versions": versions(),
            "device": device_name(model.device),
        }
        write_atomically(self.out / "measurements.json", json.dumps(written, indent=1).encode())

    def _write_for_diffusers(self, model: DiffusionModel) -> None:
        from trainers.models.diffusers_folder import save_for_diffusers

        try:
            save_for_diffusers(model, self.out / "diffusers")
        except UserError as reason:
            self.console.print(f"no folder for diffusers: {reason}")
        else:
            self.console.print(f"for diffusers: {self.out / 'diffusers'} (UNet2DModel.from_pretrained opens it)")

    def _show(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self.shown < _SECONDS_BETWEEN_LINES:
            return
        self.shown = now
        each = (now - self.begun) / max(1, progress.images - self.seen_before)
        self.console.print(
            f"{progress.stage}: {progress.images:,} of {progress.images_in_all:,} images, loss {progress.loss:.4f}, "
            f"{each * (progress.images_in_all - progress.images):.0f} s left"
        )


if __name__ == "__main__":
    command(main, name="python -m trainers.full")
