"""Points of a study's front in full training, as one call."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from search.analysis.page import write_page
from search.exported import full_images
from search.space import Space
from search.validation.finding import Validation
from search.validation.work import FOLDER, Workers, chosen
from search.views import StudyViews, TrialView
from search.workers import worker_count
from trainers.atomic import write_atomically
from trainers.foreign import refuse_links_out

PAGE_FILE, JSON_FILE = "validation.html", "validation.json"


def validated(
    views: StudyViews,
    *,
    points: int = 5,
    images: int | None = None,
    workers: int | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Validation:
    """Train points of the front in full, and keep figures and page in the study's folder ``validation``.

    Args:
        points: Spread evenly from the best to the worst by the learned objective, 2 at least.
        images: Of each full training; when left out as many as the teacher saw, and never fewer than a trial.
        workers: At a time; as many as this machine holds when left out.
        tell: Called with lines for the user, by several threads.

    Raises:
        UserError: when the front has no two points, one cannot be trained, or a link leads out of the folder.
    """
    refuse_links_out(views.folder)
    space = Space.read(views.space_file)
    trials, images = chosen(views, points), images or full_images(space)
    count = min(len(trials), worker_count(workers, space.resources, address=None))
    tell(_plan(views, trials, images=images, workers=count))

    def on_line(number: int, line: str) -> None:
        # Of what a training says, how far it is and what it reaches; the rest is in its model card.
        if " images" in line or line.startswith(f"{views.learned.name}:"):
            tell(f"trial {number}: {line}")

    crew = Workers(
        views=views,
        images=images,
        count=count,
        cpu=space.resources.cpu,
        devices=_devices() if space.resources.gpu else 0,
        on_line=on_line,
    )
    found = Validation.of(views, list(crew.train(trials)), images=images)
    text = json.dumps(found.as_json(), indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(views.folder / FOLDER / JSON_FILE, f"{text}\n".encode())
    write_page(found, views.folder / FOLDER / PAGE_FILE)
    return found


def _plan(views: StudyViews, trials: Sequence[TrialView], *, images: int, workers: int) -> str:
    """What will be trained, and about how long that takes by what the trials took."""
    numbers = ", ".join(str(trial.number) for trial in trials)
    said = f"trials {numbers} of {len(views.front.points)} on the front, {images:,} images each, {workers} at a time"
    taken = [trial.seconds * images / trial.images for trial in trials if trial.seconds and trial.images]
    minutes = f"; about {max(1, round(sum(taken) / workers / 60))} min" if taken else ""
    return f"{said}{minutes}"


def _devices() -> int:
    import torch

    return torch.cuda.device_count()
