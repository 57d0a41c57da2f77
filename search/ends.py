"""How a trial can end without a result: each way has a name, and here alone it is told which one it was."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Literal, get_args

from trainers.redaction import without_passwords

if TYPE_CHECKING:
    from search.views import TrialView

Kind = Literal[
    "crash",
    "diverged",
    "out_of_memory",
    "out_of_memory_cuda",
    "timeout",
    "lost_worker",
    "lost_node",
    "lost_driver",
    "missing_objective",
    "disk_full",
]
TRIED_AGAIN: frozenset[Kind] = frozenset({"out_of_memory", "out_of_memory_cuda", "lost_worker", "lost_node"})
"""What may be the machine's fault as well as the trial's; once."""

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
# Where a library has no error of its own for it.
_WORDS: tuple[tuple[str, Kind], ...] = (
    ("CUDA out of memory", "out_of_memory_cuda"),
    ("CUDA error: out of memory", "out_of_memory_cuda"),
    ("_STATUS_ALLOC_FAILED", "out_of_memory_cuda"),
    ("can't allocate memory", "out_of_memory"),
    ("No space left on device", "disk_full"),
    ("database or disk is full", "disk_full"),
)


class TrialEndError(BaseException):
    """Ends the trial that runs, from outside of it; no handler for mistakes of its own may stop that.

    Args:
        reason: What was exceeded.
    """

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


class RayletDiedError(Exception):
    """Ray can start nothing on this machine any more: the run has to end, though no trial is at fault."""


def kind_of(error: BaseException) -> Kind:
    """What an error is, or the one that it came from.

    >>> kind_of(FloatingPointError("the loss is not finite")), kind_of(OSError(28, "No space left on device"))
    ('diverged', 'disk_full')
    """
    return next((kind for each in _chain(error) if (kind := _own_kind(each)) is not None), "crash")


def line_of(error: BaseException) -> str:
    """One line for the study, without a password.

    >>> line_of(ValueError("no such thing\\nas this"))
    'ValueError: no such thing'
    """
    text = without_passwords(str(error)).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else 'no message'}"[:500]


def is_kind(name: object) -> bool:
    """Whether this is the name of a kind."""
    return name in get_args(Kind)


def failures(trials: Iterable[TrialView]) -> str:
    """How many failed, by kind: ``3 failed (2 timeout, 1 crash)``."""
    failed = [trial for trial in trials if trial.state == "failed"]
    counts = Counter(trial.kind or "of no kind kept" for trial in failed)
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
    return f"{len(failed)} failed" + (f" ({kinds})" if failed else "")


def _own_kind(error: BaseException) -> Kind | None:
    import torch

    if isinstance(error, TrialEndError):
        return error.kind
    if isinstance(error, FloatingPointError):
        return "diverged"
    if isinstance(error, torch.OutOfMemoryError):
        return "out_of_memory_cuda"
    if isinstance(error, MemoryError):
        return "out_of_memory"
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return "disk_full"
    return next((kind for words, kind in _WORDS if words in str(error)), None)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
