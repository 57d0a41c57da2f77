"""``--list``: every piece that a space can use, with its options, their defaults and what it is."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from objectives.objective import OBJECTIVES
from search.samplers.sampler import SAMPLERS
from search.trackers.tracker import TRACKERS
from trainers.compression.criteria.criterion import CRITERIA
from trainers.data.dataset import DATA
from trainers.models.diffusion import Diffusion
from trainers.models.network import NETWORKS
from trainers.models.samplers.sampler import SAMPLERS as IMAGE_SAMPLERS
from trainers.registry import Registry
from trainers.stage import STAGES
from trainers.teacher import Teacher

_KINDS: tuple[tuple[str, Registry[Any]], ...] = (
    ("data", DATA),
    ("teacher.network", NETWORKS),
    ("recipe stages", STAGES),
    ("pruning criteria", CRITERIA),
    ("samplers of images", IMAGE_SAMPLERS),
    ("objectives", OBJECTIVES),
    ("samplers of candidates", SAMPLERS),
    ("trackers", TRACKERS),
)


def listing() -> str:
    """One block per kind, one line per piece, one per option."""
    lines = []
    for title, registry in _KINDS:
        lines.append(f"{title}:")
        for name, piece in registry:
            lines.append(f"  {name:<16}{_first_line(piece)}")
            lines += [f"    {_option(field)}" for field in dataclasses.fields(piece)]
        if registry is NETWORKS:
            lines += ["", "teacher:", *(f"  {_option(field)}" for field in dataclasses.fields(Teacher))]
            lines += ["", "teacher.diffusion:", *(f"  {_option(field)}" for field in dataclasses.fields(Diffusion))]
        lines.append("")
    return "\n".join(lines).rstrip()


def _first_line(piece: type) -> str:
    return (inspect.getdoc(piece) or "").partition("\n")[0]


def _option(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return f"{field.name} = {field.default!r}"
    if field.default_factory is not dataclasses.MISSING:
        return f"{field.name} = {field.default_factory()!r}"
    return f"{field.name} (required)"
