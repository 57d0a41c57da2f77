"""The database of a study: Optuna on SQLite in its folder, set so that others can read while the driver writes."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy import Engine

from search.record import Record
from search.stored import RECORD
from trainers.errors import UserError

_FILE = "study.db"
_BUSY_SECONDS = 60


class Database:
    """Trials and what is kept of them; each change is on disk when the call returns.

    Args:
        folder: Of the study, whose name it gives; both are made where they are not there.
        goals: Objective -> ``min`` or ``max``; other programs that open the database show these names.

    Raises:
        UserError: when another file lies in the database's place.
    """

    def __init__(self, folder: Path, *, goals: Mapping[str, str]) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        storage = _storage(folder)
        self.engine = storage.engine
        self.optuna = optuna.create_study(
            study_name=folder.name,
            storage=storage,
            directions=["minimize" if goal == "min" else "maximize" for goal in goals.values()],
            load_if_exists=True,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.optuna.set_metric_names(list(goals))

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


def engine_of(folder: Path) -> Engine:
    """Connections to the database of the study in ``folder``, before anything is known of that study.

    Raises:
        UserError: when another file lies in the database's place.
    """
    return _storage(folder).engine


def _storage(folder: Path) -> optuna.storages.RDBStorage:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _FILE
    try:
        # Write-ahead logging lets others read while the driver writes; the setting stays with the file.
        with sqlite3.connect(path, timeout=_BUSY_SECONDS) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.DatabaseError as error:
        raise UserError(
            f"{path} is not a usable database ({error}). Move it away, or give the run another --name."
        ) from None
    return optuna.storages.RDBStorage(
        f"sqlite:///{path.resolve()}", engine_kwargs={"connect_args": {"timeout": _BUSY_SECONDS}}
    )
