"""The values that 8-bit and 4-bit codes stand for, before they are multiplied by their scale."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=8)
def value_table(format: str, device: torch.device) -> Tensor:
    """The value in [-1, 1] of each code.

    ``int8``: 8-bit dynamic map with a sign (Dettmers et al. 2022, section 1.3); ``nf4``: Dettmers et al. 2023,
    appendix E; ``fp4``: sign, 2-bit exponent, 1-bit mantissa. A test holds them against bitsandbytes' own.
    """
    tables = {"int8": _dynamic_map, "nf4": lambda: _NF4, "fp4": lambda: _FP4}
    return torch.tensor(tables[format](), dtype=torch.float32, device=device)


@lru_cache(maxsize=8)
def pair_table(format: str, device: torch.device) -> Tensor:
    """For each byte, the values of its upper and lower half, as the bits of one float64."""
    table = value_table(format, device)
    byte = torch.arange(256, device=device)
    return torch.stack((table[byte >> 4], table[byte & 15]), dim=1).view(torch.float64).flatten()


def _dynamic_map() -> list[float]:
    """256 sorted values: 7 powers of ten, each split evenly into twice as many as the one below."""
    values = [0.0, 1.0]
    for power in range(7):
        edge_count = 2**power + 1
        edges = torch.linspace(0.1, 1, edge_count)
        mean_ = (edges[:-1] + edges[1:]) / 2
        for value in (10.0 ** (power - 6) * mean_).tolist():
            values += [value, -value]
    return sorted(values)


_NF4 = [
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
]  # fmt: skip
_FP4 = [0.0, 0.0052083333, 2 / 3, 1.0, 1 / 3, 0.5, 1 / 6, 0.25]
_FP4 += [-value for value in _FP4]
