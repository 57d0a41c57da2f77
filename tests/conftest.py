"""One tiny model and one tiny data set for all tests; no test needs a GPU or the network."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from trainers.cache import Cache
from trainers.data.dataset import Images
from trainers.data.digits import Digits
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.networks.unet import Unet
from trainers.models.tracing import spec_of
from trainers.quiet import silence_libraries
from trainers.run import Run

os.environ["HF_HUB_OFFLINE"] = "1"
# Ray's workers give way to all else by default: beside another process of tests they would starve.
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 (so Ray spells it)
# Programs that tests start train with one thread too: two of each, beside another process of tests, would mostly wait
# for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A suite that a shell runs in the background inherits that interrupts are ignored; here some must be heard.
signal.signal(signal.SIGINT, signal.default_int_handler)
silence_libraries()
torch.set_num_threads(1)
_PROCESSES = ("tests/end_to_end/", "tests/faults/", "test_lost_workers")
_LONG = ("processes", "tests/trainers/test_full.py", "tests/search/test_drive.py", "tests/fuzz/test_exports.py")
"""Begun first: what begins last is waited for by all."""


class _ByFile(LoadScopeScheduling):
    """Gives whole files to the processes that run tests; all that starts Ray or kills processes goes to one."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        return "processes" if any(part in file for part in _PROCESSES) else file

    def _assign_work_unit(self, node: WorkerController) -> None:
        for file in reversed(_LONG):
            if file in self.workqueue:
                self.workqueue.move_to_end(file, last=False)
        super()._assign_work_unit(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """How ``-n 2`` shares the tests out."""
    return _ByFile(config, log)


@pytest.fixture(scope="session")
def digits() -> Images:
    """The embedded data set."""
    return Digits().load()


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    """A cache that the tests share and nobody else sees."""
    return Cache(tmp_path_factory.mktemp("cache"))


def build(network: Unet, *, seed: int = 0, sampling_steps: int = 4) -> DiffusionModel:
    """An untrained model whose every weight is random, zero-initialised ones included."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = network.build().eval()
        for parameter in net.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return DiffusionModel(net=net, spec=spec_of(network, sampling_steps=sampling_steps))


@pytest.fixture(scope="session")
def tiny() -> DiffusionModel:
    """Two resolutions, one of them attending with two heads, under 50,000 weights."""
    return build(
        Unet(image_size=8, image_channels=1, channels=(8, 16), norm_groups=4, attention=(False, True), head_dim=8)
    )


@pytest.fixture
def run(tiny: DiffusionModel, digits: Images, cache: Cache) -> Run:
    """A run of a few training steps on the tiny model."""
    return Run(
        seed=0,
        device=torch.device("cpu"),
        images=digits,
        teacher=tiny,
        cache=cache,
        budget_images=256,
        until_images=256,
    )


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).parent.parent
