"""For tests: a finished study whose learned objective is a known function of its knobs."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from search.preparation import planned_teacher
from search.space import Space
from search.views import StudyViews

SPACE = """\
name: known
teacher: {network: {unet: {channels: [8, 16], norm_groups: 4}}}
recipe:
  - prune:
      criterion: {choice: [{diff_pruning: {threshold: {float: [0.0, 0.1]}}}, magnitude]}
      ratio: {mid: {float: [0.0, 0.8]}, up_0: {float: [0.0, 0.6]}}
  - distil: {learning_rate: {float: [1.0e-4, 1.0e-2], log: true}}
  - quantize: {bits: {choice: [32, 8, 4]}}
objectives: [{fid: {extractor: labels}}, size_mb, latency_ms]
budget: {trials: 60, images: {min: 300, max: 900}}
"""
LIMITS = {"fid": 80.0, "size_mb": 0.17, "latency_ms": 40.0}
OBJECTIVES = [
    {"name": "fid", "goal": "min", "title": "FID", "learned": True},
    {"name": "size_mb", "goal": "min", "unit": "MB", "title": "Size"},
    {"name": "latency_ms", "goal": "min", "unit": "ms", "title": "Latency"},
]


def log_fid(candidate: Mapping[str, Any]) -> float:
    """A sum of effects, one of them of a knob that only one of two choices has."""
    kinds = {"diff_pruning": 0.0, "magnitude": 0.2}
    return (
        math.log(20)
        + candidate["prune.ratio.mid"] / 0.8
        + 0.3 * candidate["prune.ratio.up_0"] / 0.6
        + 6.0 * candidate.get("prune.criterion.diff_pruning.threshold", 0.0)
        + kinds[candidate["prune.criterion"]]
    )


def latency(candidate: Mapping[str, Any]) -> float:
    return 30 * math.exp(-0.8 * candidate["prune.ratio.mid"] - 0.5 * candidate["prune.ratio.up_0"])


def known_study(
    folder: Path,
    *,
    trials: int = 40,
    noise: float = 0.02,
    of: Callable[[Mapping[str, Any]], float] = log_fid,
    seed: int = 0,
    is_within: Callable[[Mapping[str, float]], bool] = lambda values: True,
    **changes: Any,
) -> StudyViews:
    """The study after ``trials`` random ones; ``changes`` replace keys of front.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "space.yaml").write_text(SPACE)
    space = Space.read(folder / "space.yaml")
    teacher = planned_teacher(space)
    generator = random.Random(seed)
    lines: list[dict[str, Any]] = []
    while len(lines) < trials:
        candidate = space.random_candidate(generator)
        size = space.named_objectives["size_mb"].predict(space.fill(candidate).plan(teacher), None)  # type: ignore[arg-type]
        assert size is not None
        fid = math.exp(of(candidate) + noise * generator.gauss(0, 1))
        values = {"fid": fid, "size_mb": size, "latency_ms": latency(candidate)}
        if not is_within(values):
            continue
        line = {"number": len(lines), "state": "complete", "candidate": candidate, "values": values}
        line |= {"stderr": {"fid": 0.01 * fid}, "seconds": 10.0, "images": 900, "path": f"trials/{len(lines):04d}"}
        lines.append(line)
    front = {"study": "known", "objectives": OBJECTIVES, "limits": LIMITS, "finished": True, "seconds": 200.0}
    (folder / "front.json").write_text(json.dumps({**front, "budget_images": 900, "budget_trials": 60, **changes}))
    write_trials(folder, lines)
    return StudyViews.open(folder)


def write_trials(folder: Path, lines: list[dict[str, Any]]) -> None:
    """``trials.jsonl``."""
    (folder / "trials.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
