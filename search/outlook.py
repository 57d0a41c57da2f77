"""What going on with trials promises: what a stopping rule asks of a sampler that can foresee it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """Rates: the gain expected for each full training's worth still to be paid, by the share of the next look.

    Args:
        rates: Number of a waiting trial -> share -> rate; nothing where nothing can be expected yet.
        new: Share -> rate of the next new trial; nothing during start-up.
        odds: How much more probable what was measured is if full trainings go as looks do than if the two have nothing
            to do with each other: the logarithm of the ratio.
    """

    rates: Mapping[int, Mapping[float, float]]
    new: Mapping[float, float]
    odds: float = 0.0


Foresee = Callable[[Mapping[int, float], Sequence[float]], Outlook]
"""(waiting trial -> the share it was trained to, all shares) -> their outlook and that of a new trial."""
