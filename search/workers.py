"""How many jobs run at a time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainers.resources import Resources

_AS_MANY_AS_A_CLUSTER_TAKES = 10_000


def worker_count(asked: int | None, resources: Resources, *, address: str | None) -> int:
    """What was asked for, else as many as the cluster at ``address`` takes, else as many as this machine holds."""
    if asked is not None:
        return asked
    if address:
        return _AS_MANY_AS_A_CLUSTER_TAKES
    cores = (os.cpu_count() or 1) // resources.cpu
    if not resources.gpu:
        return max(1, cores)
    import torch

    return max(1, min(cores, trials_on(torch.cuda.device_count(), resources.gpu)))


def trials_on(devices: int, gpu: float) -> int:
    """How many trials that take ``gpu`` each fit on so many devices; a share of a trial never lies on two.

    >>> trials_on(2, 0.5), trials_on(2, 0.4), trials_on(5, 2)
    (4, 4, 2)
    """
    return devices * int(1 / gpu + 1e-9) if gpu < 1 else int(devices / gpu)
