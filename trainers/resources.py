"""What one trial occupies; the full training of its recipe measures latency on the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field

# Of one machine; so many threads are begun, and a billion would take all memory.
_MOST = 1_024
_LEAST_SHARE = 0.0001
"""Of a device; Ray counts in such parts."""


def _placeable(devices: float) -> float:
    """As many devices as Ray gives to a trial: none, a share of one, or whole ones."""
    if not (devices == 0 or _LEAST_SHARE <= devices <= 1 or float(devices).is_integer()):
        raise ValueError(f"must be a whole number, or a share of one device of at least {_LEAST_SHARE:g}")
    return devices


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one trial occupies.

    Args:
        cpu: Cores.
        gpu: Devices, whole ones above 1; a share such as 0.5 lets trials use one together.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    cpu: Annotated[int, Field(gt=0, le=_MOST)] = 1
    gpu: Annotated[float, Field(ge=0, le=_MOST, allow_inf_nan=False), AfterValidator(_placeable)] = 0.0
