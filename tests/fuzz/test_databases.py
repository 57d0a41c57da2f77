"""Damaged databases of studies, and those of strangers: a search goes on with each, or refuses it with one message.

40 by default; ``SLIMFRONT_FUZZ=2000`` tries more, ``SLIMFRONT_FUZZ_SEED=x`` others.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from objectives.device_model import calibrated
from search._database import engine_of
from search.known import Foresight
from search.lease import held
from search.preparation import planned_teacher
from search.space import Space
from search.study import Study
from tests.fuzz.mutations import ODD, damaged, mutated
from tests.fuzz.watch import at_most
from tests.search.test_study import done, next_job
from tests.search.told_space import TOLD
from trainers.errors import UserError

CASES = int(os.environ.get("SLIMFRONT_FUZZ", "40"))
SEED = os.environ.get("SLIMFRONT_FUZZ_SEED", "")
SAMPLERS = ("{budget_ei: {seed: 3, startup_trials: 2}}", "{nsga2: {seed: 3, population: 2}}", "{tpe: {seed: 3}}")
ATTRIBUTES = ("trial_user_attributes", "trial_system_attributes", "study_user_attributes", "study_system_attributes")


@pytest.fixture(scope="module")
def spaces(tmp_path_factory) -> dict[str, Space]:
    path = tmp_path_factory.mktemp("spaces") / "told.yaml"
    found = {}
    for sampler in SAMPLERS:
        path.write_text(
            f"{TOLD}budget: {{trials: 12, images: {{min: 300, max: 900}}}}\nsampler: {sampler}\nconfirm: 1\n"
        )
        found[sampler] = Space.read(path)
    return found


@pytest.fixture(scope="module")
def foresights(spaces, cache) -> dict[str, Foresight]:
    device = calibrated(torch.device("cpu"), cache, threads=1)
    limits = {"fid": 1e6, "size_mb": 0.2}
    return {sampler: Foresight(space, planned_teacher(space), device, limits) for sampler, space in spaces.items()}


@pytest.fixture(scope="module")
def whole(foresights, tmp_path_factory) -> dict[str, bytes]:
    """A database for each sampler, with trials of every kind: complete, stopped, failed, running, queued, confirmed."""
    found = {}
    for sampler, foresight in foresights.items():
        study = Study(tmp_path_factory.mktemp("whole") / "study", foresight.space, foresight, {"values": {}})
        for _ in range(9):
            done(study, next_job(study))
        study.fail(next_job(study).number, "the loss is not finite", "diverged")
        study.fail(next_job(study).number, "lost", "lost_worker")
        study.next()
        study.try_by_hand(foresight.space.random_candidate(Random(0)))
        study._database.set_of_study("confirmed:0", {"fid": {"value": 30.0, "stderr": 0.1, "draws": 1}})
        study.write_views()
        study._database.engine.dispose()
        with closing(sqlite3.connect(study.folder / "study.db")) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        found[sampler] = (study.folder / "study.db").read_bytes()
    return found


def go_on(folder: Path, foresight: Foresight) -> None:
    """What a search does with a study that is there already."""
    engine = engine_of(folder)
    try:
        with held(folder, engine):
            study = Study(folder, foresight.space, foresight, {"values": {}})
            study.adopt_orphans()
            for _ in range(2):
                job = study.next()
                if job is not None and job.kind == "train":
                    done(study, job)
            study.is_finished()
            study.write_views()
            study._database.engine.dispose()
    finally:
        engine.dispose()


def damage(path: Path, generator: Random) -> None:
    kind = generator.randrange(10)
    if kind == 0:
        path.write_bytes(damaged(path.read_bytes(), generator))
    elif kind == 1:
        path.write_bytes(generator.choice((b"", b"a text", generator.randbytes(9_000), path.read_bytes()[:4_096])))
    else:
        with closing(sqlite3.connect(path)) as connection:
            steps = (_change_cell, _change_cell, _change_json, _change_json, _change_json, _drop_rows, _double, _schema)
            for _ in range(generator.choice((1, 1, 1, 3))):
                try:
                    steps[kind - 2](connection, generator)
                except (sqlite3.Error, OverflowError, ValueError):  # as an earlier step has damaged it
                    continue
            connection.commit()


def _tables(connection: sqlite3.Connection) -> list[str]:
    return sorted(name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'"))


def _row(connection: sqlite3.Connection, table: str, generator: Random) -> Any:
    rows = [row for (row,) in connection.execute(f'SELECT rowid FROM "{table}"')]
    return generator.choice(rows) if rows else None


def _change_cell(connection: sqlite3.Connection, generator: Random) -> None:
    table = generator.choice(_tables(connection))
    column = generator.choice([row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')])
    states = ("COMPLETE", "RUNNING", "WAITING", "PRUNED", "FAIL", "MAXIMIZE", "FINITE", "INF_POS", b"\0\xff")
    value = generator.choice((*(odd for odd in ODD if not isinstance(odd, list | dict)), *states))
    where = _row(connection, table, generator)
    connection.execute(f'UPDATE OR IGNORE "{table}" SET "{column}" = ? WHERE rowid = ?', (value, where))


def _change_json(connection: sqlite3.Connection, generator: Random) -> None:
    if generator.random() < 0.2:
        table, column = "trial_params", "distribution_json"
    else:
        table, column = generator.choice((*ATTRIBUTES, *ATTRIBUTES[:1] * 4)), "value_json"
    where = _row(connection, table, generator)
    ((text,),) = connection.execute(f"SELECT {column} FROM {table} WHERE rowid = ?", (where,))
    if generator.random() < 0.2:
        changed = damaged(str(text).encode(), generator, times=1).decode(errors="replace")
    else:
        changed = json.dumps(mutated(json.loads(text), generator))
    connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (changed, where))


def _drop_rows(connection: sqlite3.Connection, generator: Random) -> None:
    table = generator.choice(_tables(connection))
    where = _row(connection, table, generator) if generator.random() < 0.7 else None
    connection.execute(f'DELETE FROM "{table}" WHERE ? IS NULL OR rowid = ?', (where, where))


def _double(connection: sqlite3.Connection, generator: Random) -> None:
    number = generator.choice((3, 100, -1))
    generator.choice(
        (
            lambda: connection.execute("INSERT INTO studies(study_name) VALUES ('other')"),
            lambda: connection.execute("UPDATE studies SET study_name = 'other'"),
            lambda: connection.execute("INSERT INTO study_directions(direction, study_id, objective) VALUES (1, 1, 2)"),
            lambda: connection.execute(
                "INSERT INTO trials(number, study_id, state) VALUES (?, 1, 'RUNNING')", [number]
            ),
            lambda: connection.execute("UPDATE trials SET number = number + ?", [number]),
            lambda: connection.execute("UPDATE trials SET state = 'COMPLETE'"),
            lambda: connection.execute("UPDATE trials SET state = 'WAITING'"),
            lambda: connection.execute("UPDATE trial_params SET param_name = 'prune.ratio.mid2'"),
            lambda: connection.execute("UPDATE trial_params SET param_value = 1e300"),
        )
    )()


def _schema(connection: sqlite3.Connection, generator: Random) -> None:
    table = generator.choice(_tables(connection))
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n"
    long = "instr(printf('%.*c', 1000000, 'a'), printf('%.*c', 500000, 'a') || 'b')"
    column = generator.choice([row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')])
    generator.choice(
        (
            lambda: connection.execute(f'DROP TABLE "{table}"'),
            lambda: connection.execute(f'ALTER TABLE "{table}" RENAME COLUMN "{column}" TO gone'),
            lambda: connection.executescript(f'DROP TABLE "{table}"; CREATE VIEW "{table}" AS {endless}'),
            lambda: connection.executescript(f'CREATE TRIGGER t AFTER INSERT ON "{table}" BEGIN {endless}; END'),
            lambda: connection.execute(f'CREATE VIRTUAL TABLE "{table}2" USING fts5(x)'),
            lambda: connection.execute("UPDATE alembic_version SET version_num = 'v9.9.9'"),
            lambda: connection.execute("UPDATE version_info SET schema_version = 1"),
            lambda: connection.execute(f'CREATE INDEX i ON "{table}"("{column}") WHERE {long} = 1'),
            lambda: connection.execute(f'CREATE INDEX i ON "{table}"({long})'),
            lambda: connection.execute(f'ALTER TABLE "{table}" ADD COLUMN x AS ({long})'),
        )
    )()


def test_damaged_databases_are_gone_on_with_or_refused(whole, foresights, tmp_path):
    gone_on, refused = 0, set()
    for number in range(CASES):
        generator = Random(f"database {number}{SEED}")
        sampler, folder = generator.choice(SAMPLERS), tmp_path / "home" / "study"
        folder.mkdir(parents=True)
        (folder / "study.db").write_bytes(whole[sampler])
        damage(folder / "study.db", generator)
        try:
            with at_most(10):
                go_on(folder, foresights[sampler])
            gone_on += 1
        except (UserError, SQLAlchemyError, StorageInternalError) as error:
            # Those of the database itself are told by the command, as ``search.session`` has it.
            refused.add(str(error))
            assert str(error).strip()
        except BaseException as error:
            raise AssertionError(f"database {number}{SEED}: {type(error).__name__}: {error}") from error
        assert [path.name for path in (tmp_path / "home").iterdir()] == ["study"]
        shutil.rmtree(tmp_path / "home")
    assert gone_on and len(refused) > 5
