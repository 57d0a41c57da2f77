"""``--dry-run``: what a space holds and what it would cost, without training anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from search.known import Foresight
from search.preflight import Survey

if TYPE_CHECKING:
    from rich.console import Console

    from objectives.device_model import DeviceModel
    from search.space import Space
    from trainers.models.arch_spec import ArchSpec

_BATCH = 128
"""Images at a time, in training and in drawing."""
_START_SECONDS = 30
"""Imports, Ray and the first workers."""
_JOB_SECONDS = 1.0
"""What a trial spends on files and bookkeeping, from one rung to the next."""
_ON_THE_FRONT = 0.7
"""The part of the complete trials that is measured again."""


def report_json(foresight: Foresight, seen: Survey, *, workers: int, is_teacher_cached: bool) -> dict[str, Any]:
    """What ``--dry-run --json`` prints."""
    device = foresight.device_model
    return {
        "study": foresight.space.name,
        "teacher": costs_of(foresight.teacher, device),
        "smallest": {**costs_of(seen.smallest[1].spec, device), "candidate": seen.smallest[0]},
        "largest": {**costs_of(seen.largest[1].spec, device), "candidate": seen.largest[0]},
        "knobs": seen.knobs,
        "feasible_share": round(seen.feasible_share, 4),
        "limits": dict(foresight.limits),
        "estimate_seconds": round(
            estimate_seconds(foresight, seen, workers=workers, is_teacher_cached=is_teacher_cached)
        ),
        "workers": workers,
        "device": device.name,
    }


def costs_of(spec: ArchSpec, device: DeviceModel) -> dict[str, Any]:
    """The costs of an architecture, whatever the objectives of the space are."""
    from objectives.costs import attention_macs, macs, parameters, stored_bytes, stored_bytes_without_state
    from trainers.models.file_size import file_bytes

    return {
        "parameters": parameters(spec),
        "size_mb": stored_bytes(spec) / 1e6,
        "bytes": stored_bytes(spec),
        "bytes_without_state": stored_bytes_without_state(spec),
        "file_bytes": file_bytes(spec),
        "macs_g": macs(spec) / 1e9,
        "attention_macs_g": attention_macs(spec) / 1e9,
        "latency_ms": round(device.predict(spec), 4),
        "sampling_steps": spec.sampling_steps,
    }


def estimate_seconds(foresight: Foresight, seen: Survey, *, workers: int, is_teacher_cached: bool) -> float:
    """Time for the whole study on this machine, from the device's measured training and forward throughput."""
    space, device = foresight.space, foresight.device_model
    learned = [objective for objective in space.objectives if objective.is_learned]
    # Objectives that look at the same images share them.
    drawn = sum(count for count, _ in {(getattr(each, "samples", 0), getattr(each, "seed", 0)) for each in learned})
    images = space.budget.images if any(stage.trains for stage in space.fill(seen.largest[0]).stages) else 0
    at_rungs = space.budget.expected_at_rungs(space.halving)
    measurements = sum(at_rungs) + _ON_THE_FRONT * at_rungs[-1] * space.confirm

    def seconds(spec: ArchSpec) -> float:
        # The teacher answers for every image too, where its output is distilled.
        training = device.training_seconds(spec, images=images, batch=_BATCH)
        training += device.forward_seconds(foresight.teacher, images=images, batch=_BATCH)
        measuring = device.forward_seconds(spec, images=round(drawn * spec.evaluations), batch=_BATCH)
        return space.budget.trials * training + measurements * measuring + sum(at_rungs) * _JOB_SECONDS

    trials = sum(seconds(spec) for spec in seen.typical) / len(seen.typical)
    teacher = 0.0
    if not is_teacher_cached:
        teacher = device.training_seconds(foresight.teacher, images=space.teacher.images, batch=space.teacher.batch)
    return _START_SECONDS + teacher + trials / max(1, workers)


def _said_of_halving(space: Space) -> str:
    """How many trials that will be, where weak ones stop early."""
    if space.halving is None:
        return ""
    at_rungs = space.budget.expected_at_rungs(space.halving)
    return (
        f": about {at_rungs[0]:.0f} trials begin, {at_rungs[-1]:.0f} are trained to the end, the weak ones stop early"
    )


def show(console: Console, space: Space, report: Mapping[str, Any]) -> None:
    """The report as a table."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("", "parameters", "size", "MACs", "latency", "steps"):
        table.add_column(title, justify="left" if not title else "right")
    for row in ("teacher", "smallest", "largest"):
        costs = report[row]
        table.add_row(
            row,
            f"{costs['parameters']:,}",
            f"{costs['size_mb']:.3g} MB",
            f"{costs['macs_g']:.3g} G",
            f"{costs['latency_ms']:.3g} ms",
            str(costs["sampling_steps"]),
        )
    console.print(table)
    minutes = report["estimate_seconds"] / 60
    console.print(
        f"{report['knobs']} knobs, {report['feasible_share']:.0%} of random candidates meet limits and constraints. "
        f"The budget, {space.budget.worth}, lasts about {minutes:.0f} min with {report['workers']} at a time"
        f"{_said_of_halving(space)}. "
        f"Latency is predicted for {report['device']}."
    )
