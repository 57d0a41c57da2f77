"""The door to Ray: Tune places jobs on workers; the study says which, and keeps what they measure.

Tune's own state is disposable: it lies in a temporary folder and is never restored from.
"""

from __future__ import annotations

import json
import logging
import math
import os
import secrets
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.drive import BUSY_SECONDS, Watcher, carried_out, keep, plan_of
from search.watchdog import GRACE_SECONDS
from trainers.errors import UserError

if TYPE_CHECKING:
    from search.evaluate import Workshop
    from search.job import Job
    from search.study import Study

_OBJECT_STORE_MB = 256
_ANSWER_SECONDS = 10.0

# Read by Ray when it is imported.
os.environ.update(
    {
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        # Ctrl-C must reach us at once; the study keeps what is measured.
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_WARN_THRESHOLD_S": "60",
        # Tune's snapshots of its own state are never read.
        "TUNE_GLOBAL_CHECKPOINT_S": "86400",
        "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
        "TUNE_RESULT_BUFFER_LENGTH": "1",
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
)

import ray  # noqa: E402
from ray import tune  # noqa: E402
from ray._private import ray_constants  # noqa: E402
from ray.tune.search import Searcher  # noqa: E402

from search._ray_asking import asked_when_placed  # noqa: E402
from search._ray_losses import how_it_was_lost, leave_end, losses_told, raylet_watched, take_end  # noqa: E402


@dataclass(frozen=True)
class _SharedInputs:
    """A Workshop as tensors and text, sent once to each node through Ray's object store."""

    spec: str
    state: Mapping[str, Any]
    images: Any
    objectives: tuple[Any, ...]
    cache_folder: str
    device: str
    cpus: int

    @classmethod
    def of(cls, shop: Workshop, *, cpus: int) -> _SharedInputs:
        state = {name: tensor.cpu() for name, tensor in shop.teacher.net.state_dict().items()}
        return cls(
            shop.teacher.spec.to_json(),
            state,
            shop.images,
            shop.objectives,
            str(shop.cache.folder),
            shop.device.type,
            cpus,
        )

    def workshop(self) -> Workshop:
        import torch

        from search.evaluate import Workshop
        from trainers.cache import Cache
        from trainers.models.arch_spec import ArchSpec
        from trainers.models.building import assembled
        from trainers.models.diffusion_model import DiffusionModel

        # Ray shows each worker the devices that are its own, numbered from 0.
        device = torch.device(self.device)
        torch.set_num_threads(self.cpus)
        spec = ArchSpec.from_json(self.spec)
        state = {name: tensor.clone().to(device) for name, tensor in self.state.items()}
        teacher = DiffusionModel(net=assembled(spec, state), spec=spec)
        return Workshop(teacher, self.images, self.objectives, Cache(Path(self.cache_folder)), device)


class _Worker(tune.Trainable):
    """Does one job after the other; between two of them it holds nothing but what all trials share.

    Tune could pause a trial and keep its state. Here each job is a trial of Tune's, and what a promoted trial goes on
    from lies in its folder: that outlives the driver, as Tune's state does not.
    """

    def setup(self, config: dict[str, Any], shared: _SharedInputs | None = None) -> None:
        from trainers.quiet import silence_libraries

        silence_libraries()
        assert shared is not None
        self._shop = shared.workshop()
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        from search.evaluate import TrialPlan

        self._plan = TrialPlan(**config["plan"])
        self._results = carried_out(self._plan, self._shop, before_exit=partial(leave_end, Path(self._plan.folder)))

    def step(self) -> dict[str, Any]:
        result = next(self._results)
        is_last = "failed" in result or result.get("images") in (None, self._plan.rungs[self._plan.last_rung])
        # As text: Tune flattens nested results on their way to the searcher.
        return {"result": json.dumps(result), "done": is_last}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing to save: the trial's folder is the state."""

    def load_checkpoint(self, checkpoint: str) -> None:
        """Nothing to restore."""


@dataclass
class _Given:
    """A job that Tune has, and the seconds that are left to its trial.

    Args:
        begun, heard: When a worker began it, and when that was last heard of; never, while it waits for one.
    """

    job: Job
    seconds_left: float
    begun: float = math.inf
    heard: float = math.inf

    @property
    def is_late(self) -> bool:
        return time.monotonic() - self.begun > self.seconds_left + GRACE_SECONDS

    @property
    def busy_seconds(self) -> float:
        """Of its worker, since that was last heard of."""
        return max(0.0, time.monotonic() - self.heard)


class _StudySearcher(Searcher):
    """Hands the study's jobs to Tune and Tune's results to the study.

    What goes wrong in here, such as a full disk, ends the run: Tune would take it for a fault of a trial.
    """

    def __init__(self, study: Study, watcher: Watcher) -> None:
        super().__init__()
        self._study = study
        self._watcher = watcher
        self._given: dict[str, _Given] = {}
        self._is_asked = False
        #: Why the run has to end.
        self.error: Exception | None = None
        #: Why the worker was lost that Tune is about to name.
        self.loss: BaseException | None = None

    def suggest(self, trial_id: str) -> Any:
        # Tune asks all the time; the answer changes only when something has ended.
        if self.error is None and not self._is_asked:
            with self._ending_the_run():
                job = self._study.next()
                if job is None:
                    self._is_asked = bool(self._given)
                    return None if self._given else Searcher.FINISHED
                plan = asdict(plan_of(self._study, job))
                # What a worker told a driver that died before it could hear says nothing of this training.
                take_end(self._folder_of(job))
                left = plan["seconds_left"]
                self._given[trial_id] = _Given(job, math.inf if left is None else left)
                return {"plan": plan}
        # Where nothing runs, no result will come at which the run could be stopped.
        return Searcher.FINISHED if self.error is not None and not self._given else None

    def started(self, trial_id: str) -> None:
        """A worker begins the job."""
        given = self._given[trial_id]
        given.begun = given.heard = time.monotonic()
        with self._ending_the_run():
            self._watcher.started(given.job)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        given = self._given[trial_id]
        given.heard = time.monotonic()
        self._keep(given.job, json.loads(result["result"]))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        # Tune gives the last result here, not to on_trial_result.
        given, self._is_asked = self._given.pop(trial_id), False
        if error or not result:
            lost = how_it_was_lost(self._folder_of(given.job), self.loss, is_late=given.is_late)
            self._keep(given.job, {**lost, BUSY_SECONDS: given.busy_seconds})
        else:
            self._keep(given.job, json.loads(result["result"]))

    def _folder_of(self, job: Job) -> Path:
        """As workers name it."""
        return (self._study.folder / self._study.trial_path(job.number)).resolve()

    def _keep(self, job: Job, told: Mapping[str, Any]) -> None:
        if self.error is None:
            with self._ending_the_run():
                keep(self._study, job, told, self._watcher)

    @contextmanager
    def _ending_the_run(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.error = error

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its searcher to restore it later; ours is rebuilt from the study instead.
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the study is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing to save: the study is the state."""


class _Starts(tune.Callback):
    """Tells the searcher when a worker begins a job: Tune may have it for long before there is a place for it."""

    def __init__(self, searcher: _StudySearcher) -> None:
        self._searcher = searcher

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._searcher.started(trial.trial_id)


class _Ending(tune.Stopper):
    """Stops all trials when the run has to end."""

    def __init__(self, searcher: _StudySearcher) -> None:
        self._searcher = searcher

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._searcher.error is not None


def start(*, address: str | None, cpus: int, gpus: int) -> None:
    """Start Ray on this machine with that many cores and devices, or connect to a cluster.

    Raises:
        UserError: when there is no cluster at ``address``.
    """
    logging.getLogger("ray").setLevel(logging.ERROR)
    if ray.is_initialized():
        return
    quiet = {"include_dashboard": False, "logging_level": logging.ERROR, "log_to_driver": False}
    asked_to_end = signal.getsignal(signal.SIGTERM)
    if address:
        try:
            _check_port(address)
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
        except (OSError, OverflowError, ValueError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
            raise UserError(
                f"--address {address}: no Ray cluster answers ({reason}). "
                "Start one with `ray start --head`, or leave --address out to run on this machine alone."
            ) from None
    else:
        # "local": a cluster that someone else has started on this machine is neither joined nor stumbled over.
        _hide_token()
        with _heard_by_this_machine_alone():
            ray.init("local", num_cpus=cpus, num_gpus=gpus, object_store_memory=_OBJECT_STORE_MB * 2**20, **quiet)
    if threading.current_thread() is threading.main_thread():
        # Ray's own leaves without a word; ours says how to go on.
        signal.signal(signal.SIGTERM, asked_to_end)


def _check_port(address: str) -> None:
    """Somebody listens at HOST:PORT; Ray itself would knock for minutes.

    Raises:
        OSError, OverflowError: when nobody does, or there can be no such port.
    """
    host, _, port = address.rpartition(":")
    if host and "/" not in address and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_SECONDS).close()


@contextmanager
def _heard_by_this_machine_alone() -> Iterator[None]:
    """What is started within listens on loopback.

    Ray does so by itself on systems where it builds no clusters; on Linux it listens on all interfaces, unless it is
    told that it builds none here either. Its processes read that in the environment, this one when Ray is imported.
    """
    variable = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    here, theirs = ray_constants.ENABLE_RAY_CLUSTER, os.environ.get(variable)
    ray_constants.ENABLE_RAY_CLUSTER, os.environ[variable] = False, "0"
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = here
        if theirs is None:
            del os.environ[variable]
        else:
            os.environ[variable] = theirs


def _hide_token() -> None:
    """Whoever can read Ray's token may run code as this user; Ray would make the file readable to all."""
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token")).expanduser()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            path.chmod(0o600)
        else:
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(32))


def search_on_ray(study: Study, shop: Workshop, watcher: Watcher, *, workers: int) -> None:
    """Do jobs on Ray until the study is finished; ``start`` was called before.

    Raises:
        RayletDiedError: when nothing can be placed on this machine any more.
    """
    resources = study.space.resources
    shared = _SharedInputs.of(shop, cpus=resources.cpu)
    trainable = tune.with_parameters(_Worker, shared=shared)
    searcher = _StudySearcher(study, watcher)
    with (
        tempfile.TemporaryDirectory(prefix="slimfront-tune-") as scratch,
        asked_when_placed(),
        losses_told(searcher),
        raylet_watched(),
    ):
        tune.Tuner(
            tune.with_resources(trainable, {"cpu": resources.cpu, "gpu": resources.gpu}),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                num_samples=-1,
                max_concurrent_trials=workers,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="trials",
                storage_path=scratch,
                verbose=0,
                stop=_Ending(searcher),
                callbacks=[_Starts(searcher)],
            ),
        ).fit()
    if searcher.error is not None:
        raise searcher.error


def stop() -> None:
    """Shut Ray down."""
    ray.shutdown()
