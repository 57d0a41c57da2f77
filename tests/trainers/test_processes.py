"""Several processes: their parts make up every batch, and their gradients its gradient."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from trainers.distillation._loop import _batch, _uniform
from trainers.distillation._training import denoising_loss
from trainers.distillation.finetune import Finetune
from trainers.errors import UserError
from trainers.processes import Processes, joined
from trainers.run import Run


def test_gradients_of_the_parts_add_up_to_that_of_the_batch(run: Run) -> None:
    model, stage = run.teacher, Finetune(batch=17)
    gradients, images = {}, {}
    for count in (1, 3):
        net, seen = model.copy_of_net(), []
        for rank in range(count):
            processes = Processes(rank=rank, count=count)
            batch = _batch(model, replace(run, processes=processes), 0, stage, _uniform(model.spec))
            seen.append(batch.noisy_BCHW)
            (denoising_loss(model.spec, stage)(net, batch) * processes.share_of(17)).backward()
        images[count] = torch.cat(seen)
        gradients[count] = [parameter.grad for parameter in net.parameters()]
    assert torch.equal(images[1], images[3])
    for whole, parts in zip(gradients[1], gradients[3], strict=True):
        assert whole is not None and parts is not None
        torch.testing.assert_close(parts, whole, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("batch", [3, 8, 64])
def test_parts_are_all_of_a_batch_and_nearly_equal(batch: int) -> None:
    several = [Processes(rank=rank, count=3) for rank in range(3)]
    places = [place for one in several for place in range(batch)[one.part_of(batch)]]
    sizes = [len(range(batch)[one.part_of(batch)]) for one in several]
    assert places == list(range(batch)) and max(sizes) - min(sizes) <= 1
    assert sum(one.share_of(batch) for one in several) == pytest.approx(1)


def test_a_batch_is_not_shared_by_more_processes_than_it_has_images() -> None:
    with pytest.raises(UserError, match=r"a batch of 2 cannot be shared by 3 processes"):
        Processes(count=3).share_of(2)


def test_processes_that_accelerate_does_not_join_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As accelerate 1.15 starts one for ``launch --cpu --num_processes 2``, or MPI two that know of no other."""
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    # A cluster may set this for everything.
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    with joined() as (processes, _):
        assert processes == Processes()
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    with pytest.raises(UserError, match="joins several processes with --multi_gpu alone"), joined():
        pass
