"""What all trials share, made or loaded once: data, teacher, extractor, gradients, the device's latency model."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from objectives.objective import OBJECTIVES
from search.evaluate import Workshop
from trainers.cache import Cache
from trainers.run import Progress, Run

if TYPE_CHECKING:
    import torch

    from search.space import Space
    from trainers.data.dataset import Images
    from trainers.models.arch_spec import ArchSpec

_FID_OF_INTEREST = 4.0
"""Students beyond this many times the teacher's FID interest nobody, unless the space says otherwise."""


def planned_teacher(space: Space) -> ArchSpec:
    """The teacher's architecture, without data and training."""
    return space.teacher.planned_for(space.data)


def load_images(space: Space, teacher: ArchSpec) -> Images:
    """The data at the size that the teacher takes.

    Raises:
        UserError: when it is not here, or has more classes than the teacher.
    """
    from trainers.models.input_images import images_for

    return images_for(space.data, teacher)


def pick_device(space: Space) -> torch.device:
    """CUDA when a trial asks for it and it is there, else the CPU."""
    import torch

    return torch.device("cuda" if space.resources.gpu and torch.cuda.is_available() else "cpu")


def build_workshop(
    space: Space,
    images: Images,
    *,
    cache: Cache,
    device: torch.device,
    on_progress: Callable[[Progress], None],
) -> Workshop:
    """Teacher, reference statistics and gradients, each from the cache when it is there."""
    # Before the teacher, whose training would be in vain where an objective lacks something.
    for objective in space.objectives:
        objective.prepare(images, cache)
    teacher = space.teacher.obtain(images, cache=cache, device=device, on_progress=on_progress)
    shop = Workshop(teacher, images, space.objectives, cache, device)
    run = teacher_run(shop)
    prepared: set[Hashable] = set()
    for candidate in space.corners():
        for stage in space.fill(candidate).stages[:1]:
            # Only the first stage meets the teacher itself; later ones meet what a trial made of it.
            if stage.preparation() not in prepared:
                prepared.add(stage.preparation())
                stage.prepare(run)
    return shop


def teacher_run(shop: Workshop) -> Run:
    """A run in which the teacher itself is prepared or measured."""
    return Run(
        seed=0,
        device=shop.device,
        images=shop.images,
        teacher=shop.teacher,
        cache=shop.cache,
        budget_images=0,
        until_images=0,
    )


def measured_teacher(shop: Workshop, folder: Path) -> dict[str, Any]:
    """What the teacher measures, as plain data; its sample strip goes into the study's folder."""
    from trainers.atomic import write_atomically
    from trainers.models import files
    from trainers.models.pictures import sample_strip

    run = teacher_run(shop)
    measured = {OBJECTIVES.name_of(objective): objective.measure(shop.teacher, run) for objective in shop.objectives}
    write_atomically(folder / "teacher" / "samples.webp", sample_strip(shop.teacher, shop.images.decoded))
    # Beside the results, so that an exported model needs nothing of this machine's cache.
    files.save(shop.teacher, folder / "teacher")
    return {
        "values": {name: measurement.value for name, measurement in measured.items()},
        "stderr": {name: measurement.stderr for name, measurement in measured.items()},
        "measurements": {name: asdict(measurement) for name, measurement in measured.items()},
        "fingerprint": shop.teacher.fingerprint(),
    }


def limits_of(space: Space, teacher_values: Mapping[str, float]) -> dict[str, float]:
    """What still interests: the space's own limits, else the teacher's costs and four times its FID."""
    limits = {}
    for objective in space.objectives:
        name = OBJECTIVES.name_of(objective)
        if name in space.limits:
            limits[name] = space.limits[name]
        elif name in teacher_values and objective.goal == "min":
            limits[name] = teacher_values[name] * (_FID_OF_INTEREST if objective.is_learned else 1.0)
    return {name: limit for name, limit in limits.items() if limit > 0}
