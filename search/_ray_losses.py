"""What is lost on Ray: a worker, its node, or the raylet that starts workers. For ``search.tune`` alone."""

from __future__ import annotations

import _thread
import json
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from ray._private import state as ray_state
from ray._private import worker as ray_worker
from ray.air.execution._internal import RayActorManager
from ray.exceptions import (
    ActorDiedError,
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
)
from ray.experimental import internal_kv
from ray.tune.execution.tune_controller import TuneController

from search.ends import Kind, RayletDiedError, TrialEndError, is_kind, kind_of
from search.watchdog import too_long

_TABLE = "slimfront"
"""The namespace of the cluster's table in which workers say why they end."""

_TELL_SECONDS = 10.0
"""After which a worker that hangs is ended, whether the cluster has heard it or not."""

_ANSWER_SECONDS = 3.0
"""In which a node answers that is there."""

_NODE_DIED = "its node has died"
"""As Ray says it of an actor; it has no error of its own for that."""


class TellsLosses(Protocol):
    """Whom ``losses_told`` tells."""

    #: Why the worker was lost that Tune is about to name.
    loss: BaseException | None


def leave_end(folder: Path, end: TrialEndError) -> None:
    """Say what ended the trial of this folder, for a driver that is told only that its worker is gone.

    In the cluster's own table, since a worker may share no folder with the driver.
    """
    told = json.dumps({"kind": end.kind, "reason": end.reason})
    # A cluster that does not answer must not keep a worker that hangs.
    teller = threading.Thread(
        target=internal_kv._internal_kv_put, args=(str(folder), told), kwargs={"namespace": _TABLE}, daemon=True
    )
    teller.start()
    teller.join(_TELL_SECONDS)


def take_end(folder: Path) -> TrialEndError | None:
    """What was said of the trial of this folder, which is then forgotten; None when nothing was."""
    if not internal_kv._internal_kv_initialized():
        return None
    try:
        told = internal_kv._internal_kv_get(str(folder), namespace=_TABLE)
        if told is None:
            return None
        internal_kv._internal_kv_del(str(folder), namespace=_TABLE)
        written = json.loads(told)
        kind: Kind = written["kind"]
        return TrialEndError(kind, str(written["reason"])) if is_kind(kind) else None
    except (RayError, ValueError, KeyError, TypeError):
        return None


def how_it_was_lost(folder: Path, loss: BaseException | None, *, is_late: bool = False) -> dict[str, str]:
    """How a trial ended whose worker is gone: as its watchdog said, or as Ray does.

    Args:
        is_late: It had taken longer than it may, so that a watchdog that could not even speak has ended it.
    """
    left = take_end(folder)
    if left is not None:
        return {"failed": left.reason, "kind": left.kind}
    lines = str(loss).strip().splitlines() if loss is not None else []
    said = f": {lines[0][:300]}" if lines else ""
    if isinstance(loss, RayTaskError):
        return {"failed": f"its worker was lost{said}", "kind": kind_of(loss.cause)}
    if isinstance(loss, OutOfMemoryError):
        return {"failed": "Ray ended its worker, since the machine ran out of memory", "kind": "out_of_memory"}
    if is_late:
        end = too_long()
        return {"failed": end.reason, "kind": end.kind}
    if isinstance(loss, NodeDiedError) or (isinstance(loss, RayActorError) and _is_node_gone(loss)):
        return {"failed": f"its node was lost{said}", "kind": "lost_node"}
    return {"failed": f"its worker was lost{said}", "kind": "lost_worker"}


def _is_node_gone(loss: RayActorError) -> bool:
    """Whether a worker was lost with its node.

    Ray says so only of what it asks of a worker later: half a minute may pass until it counts a node as dead. What is
    lost at once it calls unavailable, as it does where the worker alone has died. So the node is asked: its raylet
    listens as long as there is one.
    """
    if _NODE_DIED in str(loss):
        return True
    if loss.actor_id is None:
        return False
    try:
        place = ray_state.actors(loss.actor_id)["Address"]["NodeID"]
        (node,) = (each for each in ray_state.nodes() if each["NodeID"] == place)
    except (RayError, LookupError, ValueError):
        return False
    try:
        address = (node["NodeManagerAddress"], node["NodeManagerPort"])
        socket.create_connection(address, timeout=_ANSWER_SECONDS).close()
    except OSError:
        return True
    return not node["Alive"]


@contextmanager
def losses_told(searcher: TellsLosses) -> Iterator[None]:
    """Within it, every loss of a worker is one lost trial, and the searcher knows why.

    Tune ends the whole study with a RuntimeError where Ray's memory monitor ends a worker in the midst of a task: it
    knows of actors that died and of tasks that failed, and takes an OutOfMemoryError for neither. And it tells its
    searchers that a trial failed, not why.
    """
    task_failed, trial_failed = RayActorManager._actor_task_failed, TuneController._process_trial_failure

    def known(manager: RayActorManager, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, RayError) and not isinstance(exception, RayActorError | RayTaskError):
            died = ActorDiedError()
            died.__cause__ = exception
            exception = died
        task_failed(manager, tracked_actor_task, exception)

    def told(controller: TuneController, trial: Any, exception: Exception) -> None:
        searcher.loss = exception.__cause__ or exception
        trial_failed(controller, trial, exception)

    RayActorManager._actor_task_failed, TuneController._process_trial_failure = known, told
    try:
        yield
    finally:
        RayActorManager._actor_task_failed, TuneController._process_trial_failure = task_failed, trial_failed


@contextmanager
def raylet_watched() -> Iterator[None]:
    """Leave the block with ``RayletDiedError`` as soon as the raylet of this machine dies.

    Ray itself notices late: the driver goes on waiting for up to minutes, or is ended from C++ with a dump and no word
    on what to do. The raylet is asked nothing; a connection to it ends when it does.
    """
    path = getattr(ray_worker._global_node, "raylet_socket_name", None)
    # Elsewhere than in the main thread nothing can be interrupted; where sockets are none of Unix's, nothing watched.
    if path is None or not hasattr(socket, "AF_UNIX") or threading.current_thread() is not threading.main_thread():
        yield
        return
    is_dead, is_over = threading.Event(), threading.Event()
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)

    def watch() -> None:
        with suppress(OSError):
            connection.recv(1)
        if not is_over.is_set():
            is_dead.set()
            _thread.interrupt_main(signal.SIGINT)

    thread = threading.Thread(target=watch, name="raylet-watch", daemon=True)
    thread.start()
    try:
        yield
    except KeyboardInterrupt:
        if is_dead.is_set():
            raise RayletDiedError(
                "Ray's raylet on this machine, the process that starts its workers, has died"
            ) from None
        raise
    finally:
        is_over.set()
        # Wakes the thread, which may be waiting for what never comes.
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        thread.join()
        connection.close()
