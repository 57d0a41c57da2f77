"""What uneven groups cost: FlexibleGroupNorm and the thesis' mask beside nn.GroupNorm, eager and compiled.

Run ``python tests/benchmarks/compression_norm.py --threads 2``. All are timed in turn within each round, so a busy
neighbour slows each alike, and each round starts with another one, because what ran before decides which memory is at
hand. Medians of many rounds; with as many threads as cores and a neighbour they are worth little.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
import warnings
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from trainers.models.group_norm import FlexibleGroupNorm

SHAPES = ((128, 256, 16, 16), (128, 256, 8, 8), (64, 64, 8, 8), (1, 256, 16, 16))
#: What pruning left of 8 equal groups; repeated to the width.
SIZES = {256: (5, 11, 8, 8, 7, 9, 6, 10), 64: (1, 3, 2, 2)}


class MaskedGroupNorm(nn.Module):
    """The thesis' way (work D, section 3.3, Eq. 3.8-3.10): a C x C mask adds up the channels of each group."""

    def __init__(self, sizes: tuple[int, ...], *, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(sum(sizes)))
        self.bias = nn.Parameter(torch.zeros(sum(sizes)))
        self.register_buffer("mask_CC", torch.block_diag(*(torch.full((size, size), 1 / size) for size in sizes)))

    def forward(self, input_BCHW: Tensor) -> Tensor:
        """Normalised values."""
        mean_BC = input_BCHW.mean((2, 3)) @ self.mask_CC
        centred_BCHW = input_BCHW - mean_BC[:, :, None, None]
        variance_BC = centred_BCHW.square().mean((2, 3)) @ self.mask_CC
        normalised_BCHW = centred_BCHW / (variance_BC + self.eps).sqrt()[:, :, None, None]
        return normalised_BCHW * self.weight[:, None, None] + self.bias[:, None, None]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(table(rounds=options.rounds))


def table(*, rounds: int = 40) -> str:
    """One line per shape and kind of norm, in milliseconds and as a multiple of nn.GroupNorm run in the same way."""
    lines = [
        f"{torch.get_num_threads()} thread(s), medians of {rounds} rounds, ms (x nn.GroupNorm)",
        f"{'':18} {'':10} {'eager: forward':>18} {'and backward':>18} {'compiled: forward':>18} {'and backward':>18}",
    ]
    for shape in SHAPES:
        columns = [
            timed({name: way(norm, shape) for name, norm in candidates(shape[1], is_compiled=compiled).items()}, rounds)
            for compiled, way in itertools.product((False, True), (forward, forward_and_backward))
        ]
        for name in columns[0]:
            cells = (f"{column[name]:9.3f} ({column[name] / column['GroupNorm']:5.2f})" for column in columns)
            lines.append(f"{shape!s:18} {name:10} " + " ".join(f"{cell:>18}" for cell in cells))
    return "\n".join(lines)


def candidates(channels: int, *, is_compiled: bool) -> dict[str, Callable[[Tensor], Tensor]]:
    """The norms to compare, by name."""
    sizes = SIZES[channels] * (channels // sum(SIZES[channels]))
    norms: dict[str, Callable[[Tensor], Tensor]] = {
        "GroupNorm": nn.GroupNorm(len(sizes), channels),
        "proper": FlexibleGroupNorm(sizes, eps=1e-5),
        "zeroed": FlexibleGroupNorm(sizes, eps=1e-5, over=(max(sizes),) * len(sizes)),
        "mask": MaskedGroupNorm(sizes, eps=1e-5),
    }
    if not is_compiled:
        return norms
    torch.compiler.reset()
    return {name: torch.compile(norm, fullgraph=True) for name, norm in norms.items()}


def forward(norm: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> Callable[[], object]:
    """A call to time, as in sampling."""
    input = torch.randn(shape)

    def call() -> object:
        with torch.no_grad():
            return norm(input)

    return call


def forward_and_backward(norm: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> Callable[[], object]:
    """A call to time, as in training."""
    input, gradient = torch.randn(shape, requires_grad=True), torch.randn(shape)

    def call() -> object:
        input.grad = None  # else gradients are added up, which takes as long as the norm
        return norm(input).backward(gradient)

    return call


def timed(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each; all of them in every round."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's, at the first call
        for _ in range(2):
            for call in calls.values():
                call()
    names = list(calls)
    for turn in range(rounds):
        for index in range(len(names)):
            name = names[(turn + index) % len(names)]
            begun = time.perf_counter()
            calls[name]()
            taken[name].append((time.perf_counter() - begun) * 1_000)
    return {name: statistics.median(times) for name, times in taken.items()}


if __name__ == "__main__":
    main()
