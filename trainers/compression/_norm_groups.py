"""What becomes of a norm's groups when channels go."""

from __future__ import annotations

import itertools
from functools import lru_cache

from torch import Tensor

from trainers.models.arch_spec import Layer


def thinned(layer: Layer, kept_C: Tensor, *, keeps_count: bool, is_zeroed: bool) -> Layer:
    """The norm over the kept channels.

    Args:
        kept_C: Sorted channels that stay.
        keeps_count: As many equal groups as before, whoever falls into them (Diff-Pruning), where that many divide the
            width; else every channel stays in its group, and groups may become uneven (Flexible Group Normalization).
        is_zeroed: Statistics go on counting the channels that are gone.
    """
    width = len(kept_C)
    if layer.kind == "layer_norm":
        return layer.but(inputs=width, outputs=width)
    if keeps_count and _divides(layer, width):
        return layer.but(inputs=width, outputs=width)
    edges = (0, *itertools.accumulate(sizes_of(layer)))
    survivors = [int(((kept_C >= first) & (kept_C < last)).sum()) for first, last in itertools.pairwise(edges)]
    return _with_groups(layer, survivors, is_zeroed=is_zeroed)


# Of thousands of candidates that a search thinks of, most norms have a width that another one had.
@lru_cache(maxsize=8192)
def thinned_evenly(layer: Layer, width: int, *, keeps_count: bool, is_zeroed: bool) -> Layer:
    """The norm over ``width`` channels when it is not yet known which ones stay: as even as they can be."""
    if layer.kind == "layer_norm" or (keeps_count and _divides(layer, width)):
        return layer.but(inputs=width, outputs=width)
    count = len(sizes_of(layer))
    survivors = [width // count + (place < width % count) for place in range(count)]
    return _with_groups(layer, survivors, is_zeroed=is_zeroed)


def sizes_of(layer: Layer) -> tuple[int, ...]:
    """Channels of each group of a norm."""
    if isinstance(layer.norm_groups, tuple):
        return layer.norm_groups
    return (layer.outputs // layer.norm_groups,) * layer.norm_groups


def _divides(layer: Layer, width: int) -> bool:
    return isinstance(layer.norm_groups, int) and width % layer.norm_groups == 0 and not layer.norm_over


def _with_groups(layer: Layer, survivors: list[int], *, is_zeroed: bool) -> Layer:
    """Groups that lost all their channels are gone; the only one left is written as their number.

    Several stay sizes even where they happen to be equal: whether they are is not known before channels are scored, and
    what comes next must not depend on it.
    """
    over = layer.norm_over or (sizes_of(layer) if is_zeroed else ())
    sizes = tuple(size for size in survivors if size)
    counted = tuple(count for count, size in zip(over, survivors, strict=True) if size) if over else ()
    width = sum(sizes)
    is_plain = len(sizes) == 1 and counted in ((), sizes)
    return layer.but(
        inputs=width,
        outputs=width,
        norm_groups=1 if is_plain else sizes,
        norm_over=() if is_plain else counted,
    )
