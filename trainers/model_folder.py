"""The folder of a model that was trained in full: all that it needs to be used, understood and made again."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers.atomic import write_atomically
from trainers.data.latent import DECODER
from trainers.errors import UserError
from trainers.foreign import bytes_inside, is_number, json_inside
from trainers.job import FILE as JOB

if TYPE_CHECKING:
    from trainers.data.dataset import Decoder
    from trainers.job import Job
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run

RECORD = "measurements.json"
_LINEAGE = "lineage.json"


@dataclass(frozen=True)
class ModelFolder:
    """A folder, and the exported one that the model was trained from.

    Args:
        path: Of the model.
        job_path: Of the job.
        job: What was trained.
    """

    path: Path
    job_path: Path
    job: Job

    def key(self, images: int) -> str:
        """What a training with so many images depends on, in twelve hexadecimal digits."""
        recipe = (self.job_path / JOB).read_bytes()
        return hashlib.sha256(recipe + f":{images}:{self.job.seed}".encode()).hexdigest()[:12]

    def make(self) -> None:
        """Make the folder, before anything is computed for it.

        Raises:
            UserError: when it cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make the folder {self.path} ({error.strerror}). Give another --out.") from None

    def record(self, training: str) -> dict[str, Any] | None:
        """What a finished training kept, where it is the one with this key."""
        found = _json(self.path / RECORD)
        return dict(found) if found.get("training") == training and _is_record(found) else None

    def trial(self) -> Mapping[str, Mapping[str, Any]]:
        """What the trial measured, by objective; empty for a recipe that is no trial's."""
        measured = _json(self.job_path / RECORD).get("measurements", {})
        return measured if _is_measured(measured) else {}

    def _lineage(self) -> Mapping[str, Any]:
        """Where the trial is from; empty for a recipe that is no trial's."""
        found = _json(self.path / _LINEAGE)
        return found if _is_lineage(found) else {}

    def write(self, model: DiffusionModel, run: Run, record: Mapping[str, Any]) -> None:
        """Write model, decoder, samples, recipe and lineage, and last the record, which says that they are there."""
        from trainers.models import files
        from trainers.models.pictures import sample_strip

        files.save(model, self.path)
        if run.images.latents is not None:
            run.images.latents.decoder.save(self.path / DECODER)
        write_atomically(self.path / "samples.webp", sample_strip(model, run.images.decoded))
        for name in (JOB, _LINEAGE):
            # Never through a link: the copy is shipped.
            content = bytes_inside(self.job_path, name)
            if content is not None:
                write_atomically(self.path / name, content)
        write_atomically(self.path / RECORD, json.dumps(record, indent=1).encode())

    def write_for_others(
        self, model: DiffusionModel, run: Run, record: Mapping[str, Any], *, exchange: bool
    ) -> list[str]:
        """Write ``generate.py``, the folder for diffusers, the exchange formats and the card; one line for each."""
        from trainers.generate_script import generate_script
        from trainers.model_card import Card

        decoder = run.images.latents.decoder if run.images.latents is not None else None
        script = generate_script(has_labels=model.spec.network.classes > 0, has_latents=decoder is not None)
        write_atomically(self.path / "generate.py", script.encode())
        found = dict(self._for_others(model, decoder=decoder, exchange=exchange))
        needed = {"generate.py": "draws images with the package alone"}
        if decoder is not None:
            needed[DECODER] = "the autoencoder, which makes latents of images and images of latents"
        lineage = self._lineage()
        card = Card(
            name=self.job.name,
            model=model,
            teacher=run.teacher.spec,
            source=_origin(self.job, lineage),
            images=run.images,
            recipe=self.job.recipe.written(),
            record=record,
            trial=self.trial(),
            lineage=lineage,
            files=needed | found,
        )
        write_atomically(self.path / "model_card.md", card.text().encode())
        return [f"{name}: {remark}" for name, remark in found.items()]

    def _for_others(
        self, model: DiffusionModel, *, decoder: Decoder | None, exchange: bool
    ) -> Iterator[tuple[str, str]]:
        from trainers.models.diffusers_folder import save_for_diffusers
        from trainers.models.exchange import save_for_exchange

        try:
            opener = save_for_diffusers(model, self.path / "diffusers", decoder=decoder)
        except UserError as reason:
            shutil.rmtree(self.path / "diffusers", ignore_errors=True)
            yield "diffusers", f"not written. {reason}"
        else:
            yield "diffusers", f"for diffusers, {opener}; weights in float32"
        if exchange:
            yield from ((written.file, str(written)) for written in save_for_exchange(model, self.path))


def _origin(job: Job, lineage: Mapping[str, Any]) -> str:
    """Where the teacher is from; an exported recipe knows of its own copy alone."""
    study, loaded_from = lineage.get("study"), lineage.get("teacher_from")
    if not study:
        return str(job.teacher.source or "training by this recipe")
    return f"the study {study}, which loaded it from {loaded_from}" if loaded_from else f"the study {study}"


def _json(path: Path) -> Mapping[str, Any]:
    """The object in a file; empty where there is none, or a damaged one."""
    return json_inside(path.parent, path.name) or {}


def _is_measured(found: Any) -> bool:
    """Whether it has the form of measurements by objective."""
    return isinstance(found, dict) and all(
        isinstance(each, dict) and each.keys() >= {"value", "stderr", "samples", "by"} and _are_numbers(each)
        for each in found.values()
    )


def _is_lineage(found: Mapping[str, Any]) -> bool:
    """Whether what is read of it has the form of what export writes."""
    teacher, confirmed = found.get("teacher", {}), found.get("confirmed", {})
    return (
        isinstance(teacher, dict)
        and isinstance(confirmed, dict)
        and all(isinstance(again, dict) for again in confirmed.values())
    )


def _are_numbers(measurement: Mapping[str, Any]) -> bool:
    return all(is_number(measurement[name]) for name in ("value", "stderr", "samples"))


def _is_record(found: Mapping[str, Any]) -> bool:
    """Whether it has the form of what a finished training keeps."""
    notes = found.get("achieved")
    return (
        _is_measured(found.get("measurements"))
        and isinstance(notes, list)
        and all(isinstance(note, dict) and note.keys() >= {"what", "asked", "achieved"} for note in notes)
        and isinstance(found.get("versions"), dict)
        and isinstance(found.get("images"), int)
        and found.keys() >= {"seed", "seconds", "processes", "device"}
    )
