"""``--dry-run``: what a space holds and what it would cost, without training anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from search.known import Foresight
from search.preflight import Survey
from search.report.number import duration

if TYPE_CHECKING:
    from rich.console import Console

    from objectives.device_model import DeviceModel
    from search.estimate import Estimate
    from search.other_studies import OtherStudy
    from search.space import Space
    from trainers.models.arch_spec import ArchSpec


def report_json(
    foresight: Foresight,
    seen: Survey,
    expected: Estimate,
    *,
    workers: int,
    price_per_hour: float | None = None,
    others: Sequence[OtherStudy] = (),
) -> dict[str, Any]:
    """What ``--dry-run --json`` prints; the price is of all that the workers run on together."""
    device = foresight.device_model
    return {
        "study": foresight.space.name,
        "teacher": costs_of(foresight.teacher, device),
        "smallest": {**costs_of(seen.smallest[1].spec, device), "candidate": seen.smallest[0]},
        "largest": {**costs_of(seen.largest[1].spec, device), "candidate": seen.largest[0]},
        "knobs": seen.knobs,
        "feasible_share": round(seen.feasible_share, 4),
        "limits": dict(foresight.limits),
        "from_study": [
            {"path": other.path, "results": len(other.results), "shared": list(other.shared)} for other in others
        ],
        "estimate_seconds": round(expected.seconds),
        "estimate_disk_mb": round(expected.disk_bytes / 1e6, 1),
        "estimate_memory_mb": round(expected.memory_bytes / 1e6),
        "estimate_price": None if price_per_hour is None else round(price_per_hour * expected.seconds / 3600, 2),
        "rehearsed": expected.is_rehearsed,
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
    console.print(
        f"{report['knobs']} knobs, {report['feasible_share']:.0%} of random candidates meet limits and constraints. "
        f"The budget is {space.budget.worth}{_said_of_halving(space)}."
    )
    price = report["estimate_price"]
    console.print(
        f"With {report['workers']} at a time it lasts about {duration(report['estimate_seconds'])}, takes about "
        f"{report['estimate_disk_mb']:.0f} MB of disk and {report['estimate_memory_mb'] / 1e3:.1f} GB of memory"
        f"{'' if price is None else f', and costs about {price:.2f}'}, "
        f"{'as a short rehearsal shows' if report['rehearsed'] else 'as predicted, without a rehearsal'}. "
        f"Latency is predicted for {report['device']}."
    )
