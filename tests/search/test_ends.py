"""Every way a trial can end without a result has a name."""

from __future__ import annotations

import errno

import pytest
import torch

from search.ends import TRIED_AGAIN, TrialEndError, kind_of


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("x"), "crash"),
        (FloatingPointError("objective fid is inf"), "diverged"),
        (MemoryError(), "out_of_memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."), "out_of_memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "out_of_memory_cuda"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), "out_of_memory_cuda"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk_full"),
        (OSError(errno.ENOENT, "No such file"), "crash"),
        (RuntimeError("(sqlite3.OperationalError) database or disk is full"), "disk_full"),
        (TrialEndError("timeout", "too long"), "timeout"),
    ],
)
def test_an_error_has_its_kind(error: BaseException, kind: str) -> None:
    assert kind_of(error) == kind


def test_an_error_has_the_kind_of_what_it_came_from() -> None:
    def caused(*, by_hand: bool) -> BaseException:
        try:
            try:
                raise OSError(errno.ENOSPC, "No space left on device")
            except OSError as error:
                if by_hand:
                    raise RuntimeError("cannot save") from error
                raise RuntimeError("cannot save") from None
        except RuntimeError as error:
            return error

    assert kind_of(caused(by_hand=True)) == "disk_full" and kind_of(caused(by_hand=False)) == "crash"


def test_real_allocations_that_fail_are_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as failed:
        torch.empty(2**60)
    assert kind_of(failed.value) == "out_of_memory"


def test_what_is_the_trial_s_own_fault_is_not_tried_again() -> None:
    assert not TRIED_AGAIN & {"crash", "diverged", "timeout", "missing_objective", "disk_full"}
