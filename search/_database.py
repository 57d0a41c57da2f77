"""The database of a study: Optuna on SQLite in its folder, or on a PostgreSQL server; others can read all the time."""

from __future__ import annotations

import os
import shlex
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy import URL, Engine, NullPool, create_engine, func, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError

from search._database_file import BUSY_SECONDS, FILE, faults_told, made_alone, prepared, reason_of, unusable
from search._held_storage import HeldStorage, PatientStorage
from search.file_system import check_local
from search.record import Record
from search.storage_url import (
    ALLOWED,
    VARIABLE,
    is_kept,
    is_of_environment,
    keep,
    own_password,
    url_of,
    without_password,
)
from search.stored import RECORD
from trainers.errors import UserError
from trainers.foreign import place_of

_ADVICE = "Is the server running, do the user and the database exist, and is the password in PGPASSWORD or ~/.pgpass?"
_MAKING_TABLES = 0x736C696D
"""The lock of the server that this program holds meanwhile; any number that others do not use."""
_CONNECTION = {
    "application_name": "slimfront",
    "connect_timeout": 10,
    # A network that swallows packets must not hold the driver for hours.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
# An empty password keeps libpq from PGPASSWORD and service files; it then still looks into ~/.pgpass, unless another
# file is named. One that is no file at all would be warned of.
_NO_PASSWORD = {"password": "", "passfile": f"{os.devnull}/none"}


class Database:
    """Trials and what is kept of them; each change is on disk when the call returns.

    Args:
        folder: Of the study, whose name it gives; both are made where they are not there.
        goals: Objective -> ``min`` or ``max``; other programs that open the database show these names.
        storage: URL of a PostgreSQL database, with a password or without. Left out, it is where the study began, else
            where the environment says, else a file in the folder.
        is_named: The user named ``storage``. To a server that only a space or a study's folder names goes no password
            of the user's: whose server it is, is not known.

    Raises:
        UserError: when the database cannot be used, or holds another study of this name.
    """

    def __init__(
        self, folder: Path, *, goals: Mapping[str, str], storage: str | None = None, is_named: bool = False
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        kept = _storage(folder, storage, is_named=is_named)
        #: For messages.
        self.place = _shown(folder, kept)
        directions = [StudyDirection.MINIMIZE if goal == "min" else StudyDirection.MAXIMIZE for goal in goals.values()]
        with faults_told(self.place):
            _check_name(folder, kept)
            self.optuna = optuna.create_study(
                study_name=folder.name, storage=HeldStorage(kept), directions=directions, load_if_exists=True
            )
            if self.optuna.directions != directions:
                held, asked = (
                    ", ".join(each.name.lower() for each in them) or "nothing"
                    for them in (self.optuna.directions, directions)
                )
                raise UserError(unusable(self.place, f"its objectives are to {held}, those of the space to {asked}"))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                self.optuna.set_metric_names(list(goals))
            # Read once for all, and whole: what cannot be read is found here.
            self.trials()

    @property
    def engine(self) -> Engine:
        """Connections to it."""
        storage = self.optuna._storage
        assert isinstance(storage, HeldStorage)
        return storage._backend.engine

    def trials(self) -> list[FrozenTrial]:
        """All of them by number, not to be written to."""
        return self.optuna.get_trials(deepcopy=False)

    def trial(self, number: int) -> FrozenTrial:
        """One of them."""
        return self.optuna._storage.get_trial(self._id(number))

    def set(self, number: int, key: str, value: Any) -> None:
        """An attribute of a trial that has not ended; they take none afterwards."""
        self.optuna._storage.set_trial_user_attr(self._id(number), key, value)

    def queue(self, candidate: Mapping[str, Any], attributes: Mapping[str, Any]) -> int:
        """Keep a candidate for a trial that is to come, with attributes of that trial, and give back its number."""
        self.optuna.enqueue_trial(dict(candidate), user_attrs=dict(attributes))
        return self.trials()[-1].number

    def begun(self, number: int) -> Trial:
        """A queued trial, which runs from now on."""
        self.optuna._storage.set_trial_state_values(self._id(number), TrialState.RUNNING)
        return Trial(self.optuna, self._id(number))

    @property
    def attributes(self) -> dict[str, Any]:
        """Of the study."""
        return self.optuna.user_attrs

    def set_of_study(self, key: str, value: Any) -> None:
        """An attribute of the study."""
        self.optuna.set_user_attr(key, value)

    def end(self, record: Record, *, values: Sequence[float] | None, excess: dict[str, float]) -> None:
        """End a trial: the record first, then Optuna's own tell, which is the one commit after which it counts.

        Args:
            values: Of the objectives in order; None when the trial failed or was rejected.
            excess: By how much it is beyond each limit, as samplers of Optuna understand constraints.
        """
        self.set(record.number, RECORD, record.as_json())
        trial = Trial(self.optuna, self._id(record.number))
        for name, value in excess.items():
            trial.set_constraint(name, value)
        self.optuna.tell(record.number, values, state=TrialState.FAIL if values is None else None)

    def _id(self, number: int) -> int:
        return self.optuna._storage.get_trial_id_from_study_id_trial_number(self.optuna._study_id, number)


def engine_of(folder: Path, storage: str | None = None, *, is_named: bool = False) -> Engine:
    """Connections to the database of the study in ``folder``, before anything is known of that study.

    Args:
        storage, is_named: As in ``Database``.

    Raises:
        UserError: when the database cannot be used.
    """
    return _storage(folder, storage, is_named=is_named).engine


def check_storage(folder: Path, storage: str | None, *, is_named: bool = False) -> None:
    """A study can be kept in ``folder``, or where ``storage`` says; at most its tables are made now.

    Args:
        storage, is_named: As in ``Database``.

    Raises:
        UserError: when it cannot, with the reason.
    """
    url = url_of(folder, storage, is_named=is_named)
    if url is not None:
        _server(url, is_named=is_named).engine.dispose()
    elif os.path.lexists(folder / FILE):
        _in_file(folder).engine.dispose()
    else:
        check_local(folder)


def _check_name(folder: Path, kept: RDBStorage) -> None:
    """A database file belongs to one folder, and its study has that folder's name."""
    if isinstance(kept, PatientStorage):
        return
    with kept.engine.connect() as connection:
        names = [str(name) for (name,) in connection.exec_driver_sql("SELECT study_name FROM studies")]
    if names and folder.name not in names:
        raise UserError(
            f"{_shown(folder, kept)} holds the study {names[0][:100]!r}, and this one is {folder.name!r}. "
            "Give the folder that name again, or give this run another --name."
        )


def _shown(folder: Path, kept: RDBStorage) -> str:
    if isinstance(kept, PatientStorage):
        return without_password(kept.engine.url.render_as_string(hide_password=False))
    return str(folder / FILE)


def _storage(folder: Path, storage: str | None, *, is_named: bool) -> RDBStorage:
    url = url_of(folder, storage, is_named=is_named)
    if url is None:
        return _in_file(folder)
    server = _server(url, is_named=is_named)
    if not is_kept(folder) and any(study.study_name == folder.name for study in server.get_all_studies()):
        raise UserError(
            f"{without_password(url)} holds a study named {folder.name!r} already, of another folder. Give this run "
            "another --name, or run it where that folder is: trials are kept there, and it says that the study is its."
        )
    keep(folder, url)
    return server


def _in_file(folder: Path) -> RDBStorage:
    with made_alone(folder):
        path = prepared(folder)
        with faults_told(path):
            return RDBStorage(
                _as_template(f"sqlite:///{path.resolve()}"), engine_kwargs={"connect_args": {"timeout": BUSY_SECONDS}}
            )


def _server(url: str, *, is_named: bool) -> PatientStorage:
    try:
        place = make_url(url).set(drivername="postgresql+psycopg")
    except ArgumentError:
        raise UserError(f"the storage {without_password(url)!r} is not a URL. Write {ALLOWED}.") from None
    root = place.query.get("sslrootcert", "system")
    if root != "system" and not place_of(str(root)).is_file():
        # libpq would wait for the other end of a pipe.
        raise UserError(
            f"the storage {without_password(url)} names the certificates {str(root)!r}, which is no file on this "
            "machine. Put them there, or name the file that holds them in sslrootcert."
        )
    # What the URL itself says of the connection goes before.
    options = {name: value for name, value in _CONNECTION.items() if name not in place.query}
    is_strange = not (is_named or is_of_environment(url) or own_password(url))
    if is_strange:
        options |= _NO_PASSWORD
    try:
        with _made_alone(place, options):
            return PatientStorage(
                _as_template(place.render_as_string(hide_password=False)),
                engine_kwargs={"pool_pre_ping": True, "connect_args": options},
            )
    except ImportError:
        raise UserError(
            f"{without_password(url)} needs the driver psycopg, which is not installed. "
            "Install it in the checkout of this program: pip install -e '.[postgres]'"
        ) from None
    except (DBAPIError, StorageInternalError, RuntimeError) as error:
        reason = reason_of(error)
        raise UserError(
            f"the database {without_password(url)} cannot be used: {reason}. "
            f"{_ADVICE if 'password' not in reason or not is_strange else _consent(url)}"
        ) from None


@contextmanager
def _made_alone(place: URL, options: Mapping[str, Any]) -> Iterator[None]:
    """Within it, no other process makes the tables in a database: two that do at once end with an error."""
    making = create_engine(place, poolclass=NullPool, connect_args=dict(options))
    with making.connect() as connection:
        # One that was suspended meanwhile would let all others wait for ever.
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{BUSY_SECONDS}s'")
        # Until the end of its transaction, which is that of the connection.
        connection.execute(select(func.pg_advisory_xact_lock(_MAKING_TABLES)))
        yield


def _consent(url: str) -> str:
    shown = shlex.quote(without_password(url))
    return (
        "It asks for a password, and those in PGPASSWORD and ~/.pgpass are for servers that you name, not for one that "
        f"only a file names. If it is yours, add --set storage={shown} to the command, or set {VARIABLE}={shown}."
    )


def _as_template(url: str) -> str:
    """Optuna fills in what stands in braces."""
    return url.replace("{", "{{").replace("}", "}}")
