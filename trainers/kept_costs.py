"""Whether a model that was trained in full costs what its trial did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def kept_costs(
    measured: Mapping[str, Mapping[str, Any]],
    trial: Mapping[str, Mapping[str, Any]],
    *,
    is_exact: Mapping[str, bool],
) -> Iterator[str]:
    """One line for those that are equal, and one for each that is not.

    Args:
        measured, trial: Objective -> its measurement; what one of them lacks is not compared.
        is_exact: Of each cost, whether it is counted, like size and MACs; what a clock gives differs a little from one
            time to the next.
    """
    both = [name for name in is_exact if name in measured and name in trial]
    equal = [name for name in both if is_exact[name] and measured[name]["value"] == trial[name]["value"]]
    if equal:
        figures = (f"{name} {measured[name]['value']:.6g}" for name in equal)
        yield f"as in the trial: {', '.join(figures)}"
    for name in both:
        now, then = measured[name]["value"], trial[name]["value"]
        if not is_exact[name]:
            elsewhere = f", on {trial[name]['by']}" if trial[name]["by"] != measured[name]["by"] else ""
            yield f"{name}: {now:.4g}, in the trial {then:.4g}{elsewhere} ({100 * (now / then - 1):+.0f} %)"
        elif name not in equal:
            yield f"not as in the trial: {name} {now:.6g}, was {then:.6g}: other channels were left in full training"
