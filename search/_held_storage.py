"""Optuna's storage for the one driver that holds a study: it reads only what it has written itself, and it is patient.

Optuna reads every unfinished trial again at each look, since others could have changed it. Trials that were stopped
early stay unfinished, so a long study would read nearly all of itself several times for each decision.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage, _StudyInfo
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, PendingRollbackError

from search._database_file import reason_of
from search.record import Record
from search.storage_url import without_password
from search.stored import RECORD
from trainers.errors import UserError

PATIENCE_SECONDS = 300.0
"""How long a server may be away. Meanwhile trials go on training; their results wait to be told."""
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.25, 10.0
_BEYOND_ALL_TRIALS = 2**31 - 1
_CALLS = (
    "create_new_study",
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_directions",
    "get_study_user_attrs",
    "get_study_system_attrs",
    "set_study_user_attr",
    "set_study_system_attr",
    "_set_trial_param",
    "set_trial_user_attr",
    "set_trial_system_attr",
    "get_trial",
    "_get_trials",
    "get_trial_id_from_study_id_trial_number",
)
"""What may be done twice without harm, when it is not known whether the first time counted."""

_log = logging.getLogger(__name__)


class HeldStorage(_CachedStorage):
    """A cache that is whole, because nobody else writes while the study is held."""

    def __init__(self, backend: RDBStorage) -> None:
        super().__init__(backend)
        self._is_whole: set[int] = set()
        self._changed: set[int] = set()

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        self._read_trials_from_remote_storage(study_id)
        trial_id = super().create_new_trial(study_id, template_trial)
        self._changed.add(trial_id)
        if self._trial_id_to_study_id_and_number[trial_id][1] >= len(self._studies[study_id].trials):
            # There is one that nobody knows of: its call had no answer.
            self._is_whole.discard(study_id)
        return trial_id

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        with self._changing(trial_id):
            super().set_trial_param(trial_id, param_name, param_value_internal, distribution)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        with self._changing(trial_id):
            return super().set_trial_state_values(trial_id, state, values)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        with self._changing(trial_id):
            super().set_trial_user_attr(trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        with self._changing(trial_id):
            super().set_trial_system_attr(trial_id, key, value)

    @contextmanager
    def _changing(self, trial_id: int) -> Iterator[None]:
        try:
            yield
        finally:
            # Afterwards: a thread that reads meanwhile must not take the old content for the new one.
            self._changed.add(trial_id)

    def _read_trials_from_remote_storage(self, study_id: int) -> None:
        with self._lock:
            self._studies.setdefault(study_id, _StudyInfo())
            if study_id not in self._is_whole:
                changed, after = set[int](), -1
            elif self._changed:
                changed, after = set(self._changed), _BEYOND_ALL_TRIALS
            else:
                return
            trials = self._backend._get_trials(
                study_id, states=None, included_trial_ids=changed, trial_id_greater_than=after
            )
            self._add_trials_to_cache(study_id, trials)
            self._is_whole.add(study_id)
            self._changed -= changed


class ServerAwayError(UserError):
    """The server of a study's database stays away, or refuses; exit code 4."""


class PatientStorage(RDBStorage):
    """A database on a server that may be away for a while: what was not done is done again when it is back.

    Raises:
        ServerAwayError: from any call, when the server stays away, or refuses.
    """

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        def tell() -> bool:
            if tries[0] and RDBStorage.get_trial(self, trial_id).state == state:
                # It was done, and only the answer was lost.
                return True
            tries[0] += 1
            return RDBStorage.set_trial_state_values(self, trial_id, state, values)

        tries = [0]
        return _patiently(tell, self)

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        before = _patiently(lambda: self._numbers(study_id), self)
        trial = _patiently(lambda: RDBStorage._create_new_trial(self, study_id, template_trial), self)
        for number, unanswered in sorted(_patiently(lambda: self._numbers(study_id), self).items()):
            if number not in before and number != trial.number:
                # Made by a call whose answer was lost: nobody knows of it, so nobody may wait for it.
                record = Record(number=number, state="rejected", reason="made twice while the database was away")
                self.set_trial_user_attr(unanswered, RECORD, record.as_json())
                self.set_trial_state_values(unanswered, TrialState.FAIL)
        return trial

    def _numbers(self, study_id: int) -> dict[int, int]:
        """The last few trials, by number."""
        from optuna.storages._rdb.models import TrialModel

        query = select(TrialModel.number, TrialModel.trial_id).where(TrialModel.study_id == study_id)
        with self.engine.connect() as connection:
            rows = connection.execute(query.order_by(TrialModel.trial_id.desc()).limit(10)).all()
        return dict(row.tuple() for row in rows)


def _patiently(call: Callable[[], Any], storage: RDBStorage) -> Any:
    deadline, wait = time.monotonic() + PATIENCE_SECONDS, _FIRST_WAIT_SECONDS
    while True:
        try:
            return call()
        except (StorageInternalError, DBAPIError) as error:
            if not _may_pass(error):
                raise ServerAwayError(_stopped(storage, f"refuses ({reason_of(error)})")) from None
            if time.monotonic() + wait > deadline:
                away = f"has not answered for {PATIENCE_SECONDS:g} s ({reason_of(error)})"
                raise ServerAwayError(_stopped(storage, away)) from None
            _log.warning("%s: trying again", reason_of(error))
            time.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_SECONDS)


def _may_pass(error: BaseException) -> bool:
    cause = error if isinstance(error, DBAPIError) else error.__cause__
    # The last is what a transaction says whose connection was lost before its end; Optuna has rolled it back by now.
    return isinstance(cause, OperationalError | InterfaceError | PendingRollbackError) or (
        isinstance(cause, DBAPIError) and cause.connection_invalidated
    )


def _stopped(storage: RDBStorage, what: str) -> str:
    place = without_password(storage.engine.url.render_as_string(hide_password=False))
    return (
        f"the database {place} {what}. What it has confirmed is kept. "
        "Put that right and run the same command again: the study goes on where it was."
    )


def _made_patient(name: str) -> Callable[..., Any]:
    method = getattr(RDBStorage, name)

    @functools.wraps(method)
    def patient(self: PatientStorage, *args: Any, **options: Any) -> Any:
        return _patiently(lambda: method(self, *args, **options), self)

    return patient


for _name in _CALLS:
    setattr(PatientStorage, _name, _made_patient(_name))
