"""Several processes on one training, as torchrun starts them: each computes a part of every batch, all take one step.

Images, noise and timesteps are drawn for the whole batch in every process, so how many there are changes nothing but
the order in which a gradient is added up. Gradients of compact models are small; they are added in one piece, which
needs no wrapper around the network and leaves the training as it is in one process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from trainers.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from trainers.models.diffusion_model import DiffusionModel

#: The others wait while the first one measures, however long that takes.
_PATIENCE = timedelta(days=7)
#: What torchrun sets, and `accelerate launch --multi_gpu`, which calls it; and what it is without.
_OF_LAUNCHER = {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"}
#: What accelerate sets where several processes are asked for.
_OF_SEVERAL = ("ACCELERATE_MIXED_PRECISION", "MASTER_ADDR")


@dataclass(frozen=True, kw_only=True)
class Processes:
    """Those that train together, seen from one of them.

    Args:
        rank: Of this one, from 0; the first one alone writes and measures.
        count: How many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this one writes and measures."""
        return self.rank == 0

    def part_of(self, batch: int) -> slice:
        """The images of a batch that this one computes; parts differ by one image at most.

        >>> [Processes(rank=rank, count=3).part_of(8) for rank in range(3)]
        [slice(0, 2, None), slice(2, 5, None), slice(5, 8, None)]
        """
        return slice(self.rank * batch // self.count, (self.rank + 1) * batch // self.count)

    def share_of(self, batch: int) -> float:
        """What the mean over this one's part contributes to the mean over the batch.

        Raises:
            UserError: when there are more processes than images in a batch.
        """
        if batch < self.count:
            raise UserError(f"a batch of {batch} cannot be shared by {self.count} processes. Start fewer.")
        part = self.part_of(batch)
        return (part.stop - part.start) / batch

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, equal in all of them to the last bit."""
        if self.count == 1:
            return
        import torch
        from torch import distributed

        flat = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(flat)
        for tensor, total in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.count > 1:
            from torch import distributed

            distributed.barrier()

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """Within it the first computes what is cached, and the others come after it and find it there."""
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()

    def check_agreement(self, model: DiffusionModel, what: str) -> None:
        """Make sure that all have the same model; sums over different ones would train none of them.

        Raises:
            UserError: when they differ, which unequal devices may cause.
        """
        if self.count == 1:
            return
        import torch
        from torch import distributed

        # One hexadecimal digit less than there are, so that it is no number beyond an int64.
        mine = torch.tensor(int(model.fingerprint()[:15], 16), device=model.device)
        theirs = [torch.empty_like(mine) for _ in range(self.count)]
        distributed.all_gather(theirs, mine)
        if any(not torch.equal(mine, other) for other in theirs):
            raise UserError(
                f"{what}: the {self.count} processes have different models. Train on equal devices, or in one process."
            )


@contextmanager
def joined() -> Iterator[tuple[Processes, torch.device]]:
    """The processes that torchrun or accelerate started, with this one's device; one process without them.

    Raises:
        UserError: when there are more processes on this machine than GPUs; without any GPU they share the CPU. Or when
            accelerate was asked for several and did not say to which this one belongs.
    """
    import torch

    if "WORLD_SIZE" not in os.environ and all(name in os.environ for name in _OF_SEVERAL):
        # It starts one, or leaves several to MPI; each of these would train the whole, and all write to one folder.
        raise UserError(
            "accelerate launch joins several processes with --multi_gpu alone. Add it, or start them with "
            "`torchrun --nproc-per-node 2 -m trainers.full DIR`, and a single one with `python -m trainers.full DIR`."
        )
    count, rank, local = (int(os.environ.get(name) or own) for name, own in _OF_LAUNCHER.items())
    devices = torch.cuda.device_count()
    if devices and local >= devices:
        raise UserError(f"this machine has {devices} GPUs, fewer than processes. Start at most one process for each.")
    device = torch.device("cuda", local) if devices else torch.device("cpu")
    if count == 1:
        yield Processes(), device
        return
    from torch import distributed

    if devices:
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if devices else "gloo", timeout=_PATIENCE)
    try:
        yield Processes(rank=rank, count=count), device
    finally:
        distributed.destroy_process_group()
