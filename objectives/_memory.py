"""How many bytes of tensors are alive at once while something is computed."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary


def peak_bytes(call: Callable[[], object], *, held: Iterable[Tensor], device: torch.device) -> int:
    """Bytes of ``held`` and the most that ``call`` adds to them, itself without gradients.

    On a GPU as its allocator counts, with the workspaces of the kernels. On a CPU every tensor that an operation gives
    back counts until it is let go, which is the same each time; what an operation needs within itself is not seen.
    """
    kept = sum(storage.nbytes() for storage in {tensor.untyped_storage() for tensor in held})
    if device.type == "cuda":
        return kept + _added_on_gpu(call, device)
    counter = _Alive(held)
    with torch.no_grad(), counter:
        call()
    return kept + counter.most


def _added_on_gpu(call: Callable[[], object], device: torch.device) -> int:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    with torch.no_grad():
        call()
    torch.cuda.synchronize(device)
    return int(torch.cuda.max_memory_allocated(device)) - before


class _Alive(TorchDispatchMode):
    """Counts the bytes of the storages that operations give back, until nothing refers to them."""

    def __init__(self, held: Iterable[Tensor]) -> None:
        super().__init__()
        self.most = 0
        self._now = 0
        self._known = WeakIdKeyDictionary({tensor.untyped_storage(): True for tensor in held})

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage in self._known:
            return
        self._known[storage] = True
        self._change(storage.nbytes())
        weakref.finalize(storage, self._change, -storage.nbytes())

    def _change(self, count: int) -> None:
        self._now += count
        self.most = max(self.most, self._now)
