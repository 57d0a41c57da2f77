"""Fitting the device model: single layers give the shape of each kind's cost, small real U-Nets its level and the rest.

A layer called again and again in a loop is two to three times faster than between others, where neither its weights nor
its code are in the nearest caches. So everything is timed in turns, and a factor for each family of layers is fitted on
the U-Nets, together with what happens between the layers. Legend: R rows, T terms.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from objectives import _micro, _unets
from objectives._layer_terms import terms_of
from objectives._timing import alone, repeated_seconds
from trainers.cache import Cache
from trainers.models.arch_spec import ArchSpec

Array = NDArray[np.float64]

RATES = "rates"
_LAYER_ROUNDS, _LAYER_SECONDS = 30, 0.6
_UNET_ROUNDS, _UNET_SECONDS = 15, 1.5
_BATCH_ROUNDS = 3
#: Layers give the shape only, so their timings are taken where neighbours disturb least. The level comes from the
#: U-Nets and is the median, as the objective reports it.
_LAYER_QUANTILE, _UNET_QUANTILE = 0.25, 0.5
#: Kinds with a factor of their own; all others share one. One factor for all was 20 % too low for grouped U-Nets.
_FAMILIES = (("conv_grouped", "conv_grouped_1x1"), ("restore_8",), ("restore_4",), ("norm_flexible",))


def measured(device: torch.device, cache: Cache, *, threads: int) -> dict[str, Tensor]:
    """Seconds per term by kind, and under ``RATES`` the five other numbers of a DeviceModel; about 3 seconds."""
    # The random weights of the networks to time must not move the caller's random stream.
    with alone(cache.folder), _threads(threads), torch.random.fork_rng(devices=[]):
        with torch.no_grad():
            shape = _layer_weights(device)
            generation, weights = _fitted_to_unets(shape, device)
            forward = _rate(_unets.forward_calls(device), device)
        train = _rate(_unets.training_calls(device), device)
    found = {**weights, RATES: np.array([generation, *forward, *train])}
    return {name: torch.from_numpy(np.asarray(vector, dtype=np.float64)) for name, vector in found.items()}


def _layer_weights(device: torch.device) -> dict[str, Array]:
    """Seconds per term of each kind, every layer on its own."""
    cases = list(_micro.cases(device))
    seconds = _in_turns([call for _, _, call in cases], device, rounds=_LAYER_ROUNDS, within=_LAYER_SECONDS)
    typical = np.quantile(seconds, _LAYER_QUANTILE, axis=0)
    weights = {}
    for kind in dict.fromkeys(kind for kind, _, _ in cases):
        rows = [index for index, (of, _, _) in enumerate(cases) if of == kind]
        weights[kind] = _relative_nnls(np.array([cases[row][1] for row in rows]), typical[rows])
    return weights


def _fitted_to_unets(shape: Mapping[str, Array], device: torch.device) -> tuple[float, dict[str, Array]]:
    """Seconds of a generation without its steps, and the final weights, those of the glue among them."""
    drawn = list(_unets.generations(device))
    seconds = _in_turns([call for _, call in drawn], device, rounds=_UNET_ROUNDS, within=_UNET_SECONDS)
    rows = np.array([[1.0, *spec.sampling_steps * _level_terms(spec, shape)] for spec, _ in drawn])
    generation, *found = _relative_nnls(rows, np.quantile(seconds, _UNET_QUANTILE, axis=0))
    families = _families(shape)
    factors = {kind: factor for family, factor in zip(families, found, strict=False) for kind in family}
    weights = {kind: factors[kind] * weight for kind, weight in shape.items()}
    return generation, weights | {"glue": np.array(found[len(families) :])}


def _level_terms(spec: ArchSpec, shape: Mapping[str, Array]) -> Array:
    """Seconds of one step's layers by themselves, summed by family, then the terms of the glue."""
    terms = terms_of(spec)
    seconds = {kind: float(weight @ terms[kind]) for kind, weight in shape.items() if kind in terms}
    sums = [sum(seconds.get(kind, 0.0) for kind in family) for family in _families(shape)]
    return np.array([*sums, *terms["glue"]])


def _families(shape: Mapping[str, Array]) -> tuple[tuple[str, ...], ...]:
    special = {kind for family in _FAMILIES for kind in family}
    return (tuple(kind for kind in shape if kind not in special), *_FAMILIES)


def _rate(calls: Sequence[tuple[ArchSpec, int, Callable[[], object]]], device: torch.device) -> tuple[float, float]:
    """MACs per second of a batch, and seconds per layer that do not depend on it."""
    seconds = _in_turns([call for _, _, call in calls], device, rounds=_BATCH_ROUNDS, within=np.inf).min(axis=0)
    rows = np.array(
        [[batch * sum(layer.macs for layer in spec.layers.values()), len(spec.layers)] for spec, batch, _ in calls]
    )
    per_mac, per_layer = _relative_nnls(rows, seconds)
    return 1 / per_mac, per_layer


def _in_turns(calls: Sequence[Callable[[], object]], device: torch.device, *, rounds: int, within: float) -> Array:
    """Seconds (rounds, calls) after one round to warm up; fewer rounds, but 3 at least, when time is over."""
    for call in calls:
        call()
    taken: list[list[float]] = []
    until = time.perf_counter() + within
    while len(taken) < 3 or (len(taken) < rounds and time.perf_counter() < until):
        taken.append([repeated_seconds(call, device=device, least=1, most=1, within=0)[0] for call in calls])
    return np.array(taken)


def _relative_nnls(rows_RT: Array, seconds_R: Array) -> Array:
    """Non-negative weights that minimise the squared relative error."""
    from scipy.optimize import nnls

    scale_T = rows_RT.max(axis=0)
    scale_T[scale_T == 0] = 1.0
    weight_T, _ = nnls(rows_RT / scale_T / seconds_R[:, None], np.ones(len(seconds_R)))
    found_T: Array = weight_T / scale_T
    return found_T


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
