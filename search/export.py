"""Take one model out of a study, ready to be trained in full: ``python -m search.export STUDY --knee --out DIR``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from trainers.command import command
from trainers.errors import UserError

if TYPE_CHECKING:
    from search.space import Space
    from search.views import StudyViews, TrialView

_COPIED = ("model.safetensors", "measurements.json", "samples.webp")


def main(
    study: Path,
    *,
    out: Path,
    trial: int | None = None,
    knee: Annotated[bool, Parameter(negative="")] = False,
    maxima: Annotated[Sequence[str], Parameter(name="--max", negative=(), show_default=False)] = (),
    images: int | None = None,
) -> int:
    """Export one trial: its recipe without a knob, weights, measurements and lineage.

    Choose it by --trial, by --knee, or as the best within --max.

    Parameters
    ----------
    study
        Folder of a study.
    out
        Folder to write; it must not exist yet.
    trial
        Number of the trial.
    knee
        The trial at the knee of the front.
    maxima
        The best within a budget, as OBJECTIVE=NUMBER; repeat for several.
    images
        Images of the full training; as many as the teacher saw when left out.
    """
    from rich.console import Console

    from search.views import StudyViews

    if images is not None and images < 1:
        raise UserError(f"--images must be at least 1, got {images}.")
    views = StudyViews.open(study)
    chosen = _chosen(views, trial=trial, knee=knee, maxima=maxima)
    export(views, chosen, out, images=images)
    console = Console(highlight=False)
    console.print(f"trial {chosen.number} is in {out}; train it in full with\n  python -m trainers.full {out}")
    return 0


def export(views: StudyViews, trial: TrialView, out: Path, *, images: int | None = None) -> None:
    """Write ``trial`` of a study into the new folder ``out``, which then needs nothing of the study.

    Raises:
        UserError: when the folder exists, or the trial's files are gone.
    """
    from search.space import Space
    from trainers.atomic import write_atomically

    if out.exists():
        raise UserError(f"{out} exists already. Give another --out, or remove it.")
    sources = {name: views.file(trial.path, name) for name in _COPIED}
    teacher = views.file("teacher", "model.safetensors")
    missing = [name for name, source in sources.items() if source is None]
    if missing or teacher is None:
        raise UserError(
            f"trial {trial.number} cannot be exported: {views.folder / trial.path} has no {missing or 'teacher'}. "
            "Choose another trial."
        )
    space = Space.read(views.folder / "space.yaml")
    try:
        out.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {out} ({error.strerror}). Give another --out.") from None
    for name, source in sources.items():
        if source is not None:
            shutil.copyfile(source, out / name)
    (out / "teacher").mkdir()
    shutil.copyfile(teacher, out / "teacher" / "model.safetensors")
    lineage = _lineage(views, space, trial, out)
    write_atomically(out / "lineage.json", json.dumps(lineage, indent=1).encode())
    # Last, so that a folder with a recipe is a whole one.
    write_atomically(out / "recipe.yaml", _recipe_text(space, trial, images=images).encode())


def _chosen(views: StudyViews, *, trial: int | None, knee: bool, maxima: Sequence[str]) -> TrialView:
    from search.best import best, read_bounds

    if (trial is not None) + knee + bool(maxima) != 1:
        raise UserError("which trial? Give one of --trial NUMBER, --knee and --max OBJECTIVE=NUMBER.")
    if knee:
        if views.front.knee is None:
            raise UserError(f"{views.folder} has no knee: no trial is within the limits. Choose one with --trial.")
        trial = views.front.knee
    if trial is not None:
        found = next((known for known in views.complete if known.number == trial), None)
        if found is None:
            numbers = ", ".join(str(known.number) for known in views.complete[:40]) or "none yet"
            raise UserError(f"trial {trial} is not a completed trial of {views.folder}. Completed: {numbers}.")
        return found
    answer = best(views, read_bounds(maxima, "--max"))
    if answer.best is None:
        raise UserError(f"no trial of {views.folder} fits {' '.join(maxima)}. See search.best for the nearest.")
    return answer.best


def _recipe_text(space: Space, trial: TrialView, *, images: int | None) -> str:
    """A space with nothing left open; the teacher lies beside it."""
    from io import StringIO

    from ruamel.yaml import YAML

    from objectives.objective import OBJECTIVES
    from trainers.data.dataset import DATA

    written: dict[str, Any] = {
        "name": f"{space.name}-trial-{trial.number}",
        "data": DATA.written(space.data),
        "teacher": {"from": "teacher", "sampling_steps": space.teacher.sampling_steps},
        "recipe": space.filled(trial.candidate),
        "objectives": [OBJECTIVES.written(objective) for objective in space.objectives],
        "budget": {"trials": 1, "images": images or space.teacher.images},
        "resources": {"cpu": space.resources.cpu, "gpu": space.resources.gpu},
    }
    text = StringIO()
    YAML().dump(written, text)
    question = "".join(f"# {line}\n" for line in space.question.splitlines())
    return f"{question}# Trial {trial.number}, every value fixed.\n{text.getvalue()}"


def _lineage(views: StudyViews, space: Space, trial: TrialView, out: Path) -> dict[str, Any]:
    from trainers.provenance import versions

    measured = json.loads((out / "measurements.json").read_text())
    return {
        "study": views.front.study,
        "trial": trial.number,
        "candidate": trial.candidate,
        "seed": measured.get("seed", 0),
        "space": space.fingerprint(),
        "data": measured.get("data", ""),
        "measured_with": trial.versions,
        "exported_with": versions(),
    }


if __name__ == "__main__":
    command(main, name="python -m search.export")
