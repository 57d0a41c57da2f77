"""One block pruned alone and nothing trained afterwards: its FID and its pictures, block after block.

After the sensitivity analysis of progressive distillation with pruning (the thesis, section 4.1), which zeroes weights
and leaves attention alone; here the channels really go, with all that is coupled to them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from objectives.costs import parameters
from objectives.objective import OBJECTIVES, Measurement
from trainers.compression.channels import coupled_groups
from trainers.compression.prune import Prune
from trainers.errors import UserError
from trainers.models.pictures import sample_strip
from trainers.provenance import versions
from trainers.stage import STAGES

if TYPE_CHECKING:
    from objectives.fid import Fid
    from trainers.compression.criteria.criterion import Criterion
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run

By = Literal["block", "macro-block"]
Rule = Literal["paper", "flexible"]
RATIOS = (0.25, 0.5, 0.75)


@dataclass(frozen=True, kw_only=True)
class Point:
    """One block pruned alone.

    Args:
        ratio: Share of its channels that was asked for; 0 for the whole model.
        achieved: Share of its channels that went.
        lighter: Share of the model's parameters that went with them.
        fid: None when what is left draws no finite images.
        strip: What it draws, as a WEBP file; empty in that case.
    """

    block: str
    ratio: float
    achieved: float
    lighter: float
    fid: Measurement | None
    strip: bytes


def check_prunable(spec: ArchSpec, name: str) -> None:
    """Refuse a model that cannot lose channels.

    Raises:
        UserError: saying why, and what to analyse in its place.
    """
    try:
        Prune().plan(spec)
    except UserError as error:
        raise UserError(f"{name} cannot lose channels: {error} Analyse its teacher in its place.") from None


def blocks_of(spec: ArchSpec, by: By) -> dict[str, list[str]]:
    """Blocks that can lose channels, in the order of the network -> the names of their coupled groups."""
    found: dict[str, list[str]] = {}
    for group in coupled_groups(spec):
        found.setdefault(group.block if by == "block" else group.macro_block, []).append(group.name)
    return found


def whole_point(run: Run, fid: Fid) -> Point:
    """The model as it is. It is measured each time: what measured it tells whether kept points may be used."""
    measured = fid.measure(run.teacher, run)
    return Point(
        block="",
        ratio=0.0,
        achieved=0.0,
        lighter=0.0,
        fid=measured,
        strip=sample_strip(run.teacher, run.images.decoded),
    )


def pruned_points(
    run: Run,
    fid: Fid,
    whole: Point,
    *,
    by: By,
    criterion: Criterion,
    rule: Rule,
    advance: Callable[[float], None],
) -> Iterator[Point]:
    """Each block at each ratio. Every point goes into the cache, so that an interrupted analysis goes on from there."""
    blocks = blocks_of(run.teacher.spec, by)
    for place, (block, groups) in enumerate(blocks.items()):
        for index, ratio in enumerate(RATIOS):
            stage = Prune(ratio={block: ratio}, criterion=criterion, rule=rule)
            model = stage.apply(run.teacher, run)
            measured, strip = _measured(model, run, fid, stage, whole)
            yield Point(
                block=block,
                ratio=ratio,
                achieved=1 - _width(model.spec, groups) / _width(run.teacher.spec, groups),
                lighter=1 - parameters(model.spec) / parameters(run.teacher.spec),
                fid=measured,
                strip=strip,
            )
            advance((place * len(RATIOS) + index + 1) / (len(blocks) * len(RATIOS)))


def _measured(
    model: DiffusionModel, run: Run, fid: Fid, stage: Prune, whole: Point
) -> tuple[Measurement | None, bytes]:
    assert whole.fid is not None

    def measure() -> dict[str, torch.Tensor]:
        try:
            found, strip = json.dumps(asdict(fid.measure(model, run))), sample_strip(model, run.images.decoded)
        except FloatingPointError:
            # Pruning without training may leave nothing that works; that is a result, too.
            found, strip = "null", b""
        return {"fid": _bytes_tensor(found.encode()), "strip": _bytes_tensor(strip)}

    key = {
        "model": run.teacher.fingerprint(),
        "data": run.images.hash,
        "stage": STAGES.written(stage),
        "fid": OBJECTIVES.written(fid),
        "by": whole.fid.by,
        "versions": versions(),
    }
    kept = run.cache.tensors("sensitivity", key, measure)
    found, strip = (kept[name].numpy().tobytes() for name in ("fid", "strip"))
    written = json.loads(found)
    return Measurement(**written) if written else None, strip


def _bytes_tensor(content: bytes) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(content, dtype=np.uint8).copy())


def _width(spec: ArchSpec, names: Sequence[str]) -> int:
    return sum(group.width for group in coupled_groups(spec) if group.name in names)
