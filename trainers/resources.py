"""What one trial occupies; the full training of its recipe measures latency on the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import ConfigDict, Field

# Of one machine; so many threads are begun, and a billion would take all memory.
_MOST = 1_024


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one trial occupies.

    Args:
        cpu: Cores.
        gpu: Devices; a share such as 0.5 lets trials use one together.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    cpu: Annotated[int, Field(gt=0, le=_MOST)] = 1
    gpu: Annotated[float, Field(ge=0, le=_MOST, allow_inf_nan=False)] = 0.0
