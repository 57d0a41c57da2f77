"""A trial taken out of its study, as a folder that needs nothing of it: recipe, weights, teacher, figures, lineage.

Of a study over latents also the autoencoder: another machine would train another one, with other latents.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from objectives.objective import OBJECTIVES
from search._study_folder import command_again
from search.space import Space
from search.views import StudyViews, TrialView
from trainers.atomic import write_atomically
from trainers.data.dataset import DATA
from trainers.data.latent import DECODER, Latent
from trainers.errors import UserError
from trainers.foreign import json_inside
from trainers.provenance import versions

_COPIED = ("model.safetensors", "measurements.json", "samples.webp")


def full_images(space: Space) -> int:
    """Of a full training where nobody says how many: those that the teacher saw, and never fewer than a trial's.

    What a teacher saw that was loaded is not known.
    """
    return max(space.budget.images, space.teacher.images if space.teacher.source is None else 0)


def export(views: StudyViews, trial: TrialView, out: Path, *, images: int | None = None) -> int:
    """Write ``trial`` of a study into the new folder ``out``, which then needs nothing of the study.

    Args:
        images: Of its full training; ``full_images`` when left out.

    Returns:
        The images of its full training.

    Raises:
        UserError: when the folder exists, or the trial's files are gone or damaged.
    """
    from search.report.answer import NO_MODEL
    from trainers.models import autoencoder, files

    if out.exists() or out.is_symlink():
        raise UserError(f"{out} exists already. Give another --out, or remove it.")
    sources = {name: views.file(trial.path, name) for name in _COPIED}
    teacher = views.file("teacher", "model.safetensors")
    missing = [f"{trial.path}/{name}" for name, source in sources.items() if source is None]
    if missing or teacher is None:
        advice = "Choose another trial." if teacher and any(map(views.has_model, views.complete)) else NO_MODEL
        lacking = " and no ".join(missing or ["teacher/model.safetensors"])
        raise UserError(f"trial {trial.number} cannot be exported: {views.folder} has no {lacking}. {advice}")
    space = Space.read(views.space_file)
    images = images or full_images(space)
    # Before anything is made: that the candidate is one of the space, and that its figures can be read.
    space.fill(trial.candidate)
    decoder = views.file("teacher", autoencoder.FILE) if space.data.has_latents else None
    if space.data.has_latents and decoder is None:
        raise UserError(
            f"trial {trial.number} cannot be exported: {views.folder} has no teacher/{autoencoder.FILE}, which makes "
            f"images of latents. Where the study was made, `{command_again(views.folder)}` writes it."
        )
    measured = json_inside(views.folder, Path(trial.path) / "measurements.json")
    if measured is None:
        raise UserError(f"{views.folder / trial.path}/measurements.json is damaged. Choose another trial.")
    try:
        out.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {out} ({error.strerror}). Give another --out.") from None
    try:
        # A damaged file would be found only where it is used, and there by somebody else.
        for model in (views.folder / trial.path, teacher):
            files.load(model)
        if decoder is not None:
            autoencoder.Autoencoder.load(decoder)
    except UserError:
        out.rmdir()
        raise
    for name, source in sources.items():
        if source is not None:
            shutil.copyfile(source, out / name)
    (out / "teacher").mkdir()
    shutil.copyfile(teacher, out / "teacher" / "model.safetensors")
    if decoder is not None:
        (out / DECODER).mkdir()
        shutil.copyfile(decoder, out / DECODER / autoencoder.FILE)
    lineage = _lineage(views, space, trial, measured)
    write_atomically(out / "lineage.json", json.dumps(lineage, indent=1).encode())
    # Last, so that a folder with a recipe is a whole one.
    write_atomically(out / "recipe.yaml", _recipe_text(space, trial, images=images).encode())
    return images


def _recipe_text(space: Space, trial: TrialView, *, images: int) -> str:
    """A space with nothing left open; teacher and autoencoder lie beside it."""
    data = replace(space.data, autoencoder=DECODER) if isinstance(space.data, Latent) else space.data
    written: dict[str, Any] = {
        "name": f"{space.name}-trial-{trial.number}",
        "data": DATA.written(data),
        "teacher": {"from": "teacher", "sampling_steps": space.teacher.sampling_steps},
        "recipe": space.filled(trial.candidate),
        "objectives": [OBJECTIVES.written(objective) for objective in space.objectives],
        "budget": {"trials": 1, "images": images},
        "resources": {"cpu": space.resources.cpu, "gpu": space.resources.gpu},
    }
    text = StringIO()
    YAML().dump(written, text)
    question = "".join(f"# {line}\n" for line in space.question.splitlines())
    return f"{question}# Trial {trial.number}, every value fixed.\n{text.getvalue()}"


def _lineage(views: StudyViews, space: Space, trial: TrialView, measured: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "study": views.front.study,
        "trial": trial.number,
        "candidate": trial.candidate,
        "seed": measured.get("seed", 0),
        "micro_batches": measured.get("micro_batches", 1),
        "space": space.fingerprint(),
        "data": measured.get("data", ""),
        "teacher": views.front.teacher.values if views.front.teacher else {},
        "teacher_from": space.teacher.source or "",
        # What it measured again after the search, where it did: the figures to hold the full training against.
        "confirmed": {name: asdict(again) for name, again in trial.confirmed.items()},
        "measured_with": trial.versions,
        "exported_with": versions(),
    }
