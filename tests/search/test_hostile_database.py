"""A study's database that is damaged, or a stranger's: one message that names it, and nothing in it is obeyed."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sqlite3
import struct
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import torch

from objectives.device_model import calibrated
from search import best, compare, explore
from search import run as search_run
from search._database import Database, check_storage, engine_of
from search.known import Foresight
from search.lease import held
from search.preparation import planned_teacher
from search.space import Space
from search.study import Study
from tests.fuzz.watch import at_most
from tests.search.study_folder import study_folder
from tests.search.test_study import done, next_job
from tests.search.told_space import TOLD
from trainers.command import command
from trainers.errors import UserError

WRITTEN = TOLD + "budget: {trials: 4, images: {min: 300, max: 900}}\nsampler: {random: {seed: 3}}\nconfirm: 1\n"
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n"

LONG = "instr(printf('%.*c', 1000000, 'a'), printf('%.*c', 500000, 'a') || 'b')"


def with_column(column: str) -> str:
    """A statement that makes the table of a trial's attributes anew, with another column for their values."""
    columns = "trial_user_attribute_id INTEGER PRIMARY KEY, trial_id INTEGER, key VARCHAR(512)"
    return f"DROP TABLE trial_user_attributes; CREATE TABLE trial_user_attributes ({columns}, {column})"


def with_index(definition: str) -> str:
    """A statement that puts the index ``i`` on a trial's attributes; what it is of is not computed meanwhile."""
    told = definition.replace("'", "''")
    plain = "CREATE INDEX i ON trial_user_attributes(key)"
    return f"{plain}; PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = '{told}' WHERE name = 'i'"


@pytest.fixture(scope="module")
def foresight(tmp_path_factory, cache) -> Foresight:
    path = tmp_path_factory.mktemp("spaces") / "told.yaml"
    path.write_text(WRITTEN)
    space = Space.read(path)
    device = calibrated(torch.device("cpu"), cache, threads=1)
    return Foresight(space, planned_teacher(space), device, {"fid": 1e6, "size_mb": 0.2})


@pytest.fixture(scope="module")
def whole(foresight: Foresight, tmp_path_factory) -> Path:
    """A study in the midst of its search."""
    study = Study(tmp_path_factory.mktemp("whole") / "told", foresight.space, foresight, {"values": {}})
    for _ in range(6):
        done(study, next_job(study))
    study.next()
    study._database.set_of_study("confirmed:0", {"fid": {"value": 30.0, "stderr": 0.1, "draws": 1}})
    study.write_views()
    study._database.engine.dispose()
    (study.folder / "space.yaml").write_text(WRITTEN)
    return study.folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "studies" / "runs" / "told"))


@pytest.fixture
def refusal(folder: Path, foresight: Foresight) -> Callable[[], str]:
    """The message when the search of the folder is to go on."""

    def message() -> str:
        with at_most(10), pytest.raises(UserError) as error:
            engine = engine_of(folder)
            with held(folder, engine):
                Study(folder, foresight.space, foresight, {"values": {}})
        said = str(error.value)
        assert "--name" in said and len(said) < 1_000
        return said

    return message


def execute(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / "study.db")) as connection:
        for statement in statements:
            connection.executescript(statement)
        connection.commit()


def test_study_that_is_whole_goes_on(folder: Path, foresight: Foresight) -> None:
    study = Study(folder, foresight.space, foresight, {"values": {}})
    assert len(study.records()) >= 4 and study.adopt_orphans()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"not a database, but a text of some length" * 30, "file is not a database"),
        (bytes(range(256)) * 40, "file is not a database"),
        (4_096, "malformed"),
        (30_000, "malformed"),
    ],
)
def test_file_that_is_no_database_or_half_of_one(folder: Path, refusal, content: bytes | int, expected: str) -> None:
    path = folder / "study.db"
    execute(folder, "PRAGMA wal_checkpoint(TRUNCATE)")
    path.write_bytes(path.read_bytes()[:content] if isinstance(content, int) else content)
    message = refusal()
    assert message.startswith(f"{path} cannot be used: ") and expected in message


@pytest.mark.parametrize("name", ["study.db", "study.db-wal", "study.db-journal"])
def test_pipe_in_the_place_of_a_file_is_not_waited_for(folder: Path, refusal, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    assert f"{name} cannot be used: it is no regular file" in refusal()


def test_link_to_another_file_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (folder / "study.db").rename(tmp_path / "private.db")
    (folder / "study.db").symlink_to(tmp_path / "private.db")
    with pytest.raises(UserError, match=r"study\.db leads out of"):
        check_storage(folder, None)


def test_journal_that_names_another_file_deletes_nothing(folder: Path, refusal, tmp_path: Path) -> None:
    """SQLite deletes the super-journal that a hot journal names, when it has rolled it back."""
    precious = tmp_path / "precious"
    precious.write_text("the only copy\n")
    magic, name = bytes.fromhex("d9d505f920a163d7"), os.fsencode(precious)
    pages = (folder / "study.db").stat().st_size // 4_096
    head = (magic + struct.pack(">IIIII", 0, 1, pages, 512, 4_096)).ljust(512, b"\0")
    tail = struct.pack(">I", 0) + name + struct.pack(">II", len(name), sum(name)) + magic
    (folder / "study.db-journal").write_bytes(head + tail)
    assert "names another file, and no study's does" in refusal()
    assert precious.read_text() == "the only copy\n"


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (f"DROP TABLE trials; CREATE VIEW trials AS {ENDLESS}", "'trials', which is no plain table but a view"),
        (f"CREATE TRIGGER t AFTER INSERT ON trials BEGIN {ENDLESS}; END", "'t', which is no plain table but a trigger"),
        ("CREATE VIRTUAL TABLE v USING fts5(x)", "'v', which is no plain table but a virtual table"),
        (
            with_index(f"CREATE INDEX i ON trial_user_attributes(key) WHERE {LONG} = 1"),
            "its table 'trial_user_attributes' has the index 'i', which is not of columns alone",
        ),
        (
            with_index(f"CREATE INDEX i ON trial_user_attributes({LONG})"),
            "has the index 'i', which is not of columns alone",
        ),
        ("ALTER TABLE trials ADD COLUMN x AS (1)", "its table 'trials' computes its column 'x'"),
        (with_column("value_json TEXT AS ('7')"), "its table 'trial_user_attributes' computes its column 'value_json'"),
        (with_column("value_json TEXT AS ('7') STORED"), "computes its column 'value_json'"),
        (with_column(f"value_json TEXT DEFAULT ({LONG})"), "stands in its column 'value_json' when nothing is given"),
        (with_column(f"value_json TEXT, CHECK ({LONG})"), "computes whether a row may be written"),
        (with_column(f"value_json TEXT, /* ' */ CHECK ({LONG}) /* ' */"), "computes whether a row may be written"),
        (with_column("value_json TEXT CHECK (value_json LIKE '%a%a%a%a')"), "computes whether a row may be written"),
        (";".join(f"CREATE TABLE x{number}(y)" for number in range(100)), "tables or more, and a study's has 64"),
        ("UPDATE alembic_version SET version_num = 'v99.0.0.a'", "no longer compatible with the table schema"),
        ("UPDATE alembic_version SET version_num = 'v2.6.0.a'", "no longer compatible with the table schema"),
        ("DROP TABLE alembic_version; UPDATE version_info SET schema_version = 3", "no longer compatible"),
        ("DROP TABLE study_directions; CREATE TABLE study_directions(x)", "no such column"),
        ("DELETE FROM study_directions", "its objectives are to nothing, those of the space to minimize, minimize"),
        ("UPDATE study_directions SET direction = 'MAXIMIZE'", "its objectives are to maximize, maximize, those of"),
        ("UPDATE studies SET study_name = 'other'", "holds the study 'other', and this one is 'told'"),
        ("UPDATE trials SET state = 'ASLEEP'", "cannot be read (there is no 'ASLEEP'"),
        ("UPDATE trials SET state = 'PRUNED' WHERE number = 0", "trial 0: it is pruned"),
        ("UPDATE trials SET state = 'COMPLETE'", "trial 0: it is complete with 0 values for 2 objectives"),
        ("UPDATE trials SET state = 'WAITING'", "trial 0: it is queued, and has begun"),
        ("UPDATE trials SET number = number + 1", "trial 0 is missing"),
        ("DELETE FROM trials", "has rows of a trial or study that is not there"),
        ("DELETE FROM trials WHERE number = 1", "has rows of a trial or study that is not there"),
        ("UPDATE trial_params SET param_name = 'x' WHERE param_name = 'quantize.bits'", "'x', which is no knob of"),
        ("UPDATE trial_params SET param_value = 1e9 WHERE param_name LIKE '%mid'", "prune.ratio.mid must be in {float"),
        ("UPDATE trial_params SET param_value = 7 WHERE param_name = 'quantize.bits'", "cannot be read"),
        ("UPDATE trial_params SET distribution_json = '{'", "cannot be read (Expecting property name"),
        ("UPDATE trial_user_attributes SET value_json = '{'", "cannot be read (Expecting property name"),
        ("UPDATE trial_user_attributes SET value_json = '3'", "candidate: "),
        (
            "UPDATE trial_user_attributes SET value_json = '\"x\"' WHERE key = 'rungs'",
            "rungs: Input should be",
        ),
        ("UPDATE trial_user_attributes SET value_json = '[{}]' WHERE key = 'rungs'", "rungs.0.share: Field"),
        (
            "UPDATE trial_user_attributes SET value_json = '7' WHERE key = 'target_share'",
            "target_share: Input",
        ),
        (
            "UPDATE trial_user_attributes SET value_json = '{}' WHERE key = 'candidate'",
            "its candidate has values for not",
        ),
        ("UPDATE study_user_attributes SET value_json = '-1' WHERE key = 'seconds'", "it says that it took -1 seconds"),
        ("UPDATE study_user_attributes SET value_json = '[]' WHERE key LIKE 'conf%'", "what trial 0 measured again: "),
        (
            "UPDATE study_user_attributes SET key = 'begun_again:0', value_json = 'true' WHERE key = 'seconds'",
            "it says that it began True times to measure trial 0 again",
        ),
        ("UPDATE study_user_attributes SET value_json = '[' WHERE key = 'seconds'", "cannot be read (Expecting value"),
    ],
)
def test_content_that_no_search_of_the_space_wrote(folder: Path, refusal, statement: str, expected: str) -> None:
    execute(folder, statement)
    assert expected in refusal()


def with_repeated_pages(path: Path, table: str, *, levels: int) -> None:
    """Put pages into the tree of a table all of whose children are one page: few bytes, and an endless walk."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        ((root,),) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", [table])
        ((size,),) = connection.execute("PRAGMA page_size")
    file = bytearray(path.read_bytes())
    place = slice((root - 1) * size, root * size)
    file += file[place]
    for _ in range(levels):
        child, end, pointers = len(file) // size, size, b""
        page = bytearray(size)
        for key in range(1, 501):
            cell = struct.pack(">I", child) + (bytes([key]) if key < 128 else bytes([0x80 | key >> 7, key & 0x7F]))
            end -= len(cell)
            page[end : end + len(cell)] = cell
            pointers += struct.pack(">H", end)
        head = struct.pack(">BHHHBI", 5, 0, 500, end, 0, child)
        page[: len(head) + len(pointers)] = head + pointers
        file += page
    file[place] = file[-size:]
    struct.pack_into(">I", file, 28, len(file) // size)
    path.write_bytes(file)


def test_tree_whose_branches_are_one_branch_is_not_walked(folder: Path, refusal) -> None:
    with_repeated_pages(folder / "study.db", "trial_user_attributes", levels=2)
    assert (folder / "study.db").stat().st_size < 300_000
    assert "it is malformed (" in refusal()


def test_far_more_than_a_study_has_is_not_read(folder: Path, refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("search._database_file._MOST_STEPS", 50)
        assert "there is far more to look through than in any study's" in refusal()
    with monkeypatch.context() as patched:
        patched.setattr("search._database_content._MOST_TRIALS", 3)
        assert "its table 'trials' has " in refusal()
    execute(folder, "UPDATE study_user_attributes SET value_json = '[' || printf('%.*c', 9000000, ' ') || ']'")
    assert "has a 'value_json' of 9,000,002 characters, and a study's have 8,388,608 at most" in refusal()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("process", "x"),
        ("process", 2**70),
        ("host", b"\xff"),
        ("host", "h" * 256),
        ("since", 1e300),
        ("last_beat", "now"),
        ("beats", None),
    ],
)
def test_lease_that_no_driver_wrote(folder: Path, refusal, column: str, value: object) -> None:
    with held(folder, engine := engine_of(folder)):
        pass
    engine.dispose()
    row = {"study": "told", "token": "t", "host": "h", "boot": "b", "process": 1, "process_start": "1", "since": 1.0}
    row |= {"beats": 1, "last_beat": 1.0, column: value if value != 2**70 else 2**62}
    with closing(sqlite3.connect(folder / "study.db")) as connection:
        connection.execute("DROP TABLE slimfront_leases")
        connection.execute(f"CREATE TABLE slimfront_leases ({', '.join(row)})")
        connection.execute(f"INSERT INTO slimfront_leases VALUES ({', '.join('?' * len(row))})", list(row.values()))
        connection.commit()
    assert "who holds the study cannot be read from it" in refusal()


def test_members_of_enumerations_that_older_versions_check_are_no_computation(
    folder: Path, foresight: Foresight
) -> None:
    """SQLAlchemy before 1.4 wrote such checks; a migration of Optuna writes a default."""
    with closing(sqlite3.connect(folder / "study.db")) as connection:
        ((text,),) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'trials'")
        members = ", ".join(f"'{state}'" for state in ("RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING"))
        changed = text.replace("PRIMARY KEY", f"CONSTRAINT states CHECK (state IN ({members})), \n\tPRIMARY KEY")
        changed = changed.replace("number INTEGER", "number INTEGER DEFAULT '-1'")
        assert changed.count("CHECK") == 1 and changed.count("DEFAULT") == 1
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'trials'", [changed])
        connection.commit()
    assert len(Study(folder, foresight.space, foresight, {"values": {}}).records()) >= 4


def test_other_studies_in_the_same_file_are_left_alone(folder: Path, foresight: Foresight) -> None:
    execute(folder, "INSERT INTO studies(study_name) VALUES ('other')")
    assert len(Study(folder, foresight.space, foresight, {"values": {}}).records()) >= 4


def test_a_database_that_is_locked_or_cannot_be_read_is_not_called_damaged(folder: Path, monkeypatch) -> None:
    monkeypatch.setattr("search._database_file.BUSY_SECONDS", 0.1)
    with closing(sqlite3.connect(folder / "study.db")) as connection:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UserError, match=r"study\.db cannot be opened \(database is locked\)"):
            check_storage(folder, None)


def test_what_a_dead_trial_left_in_its_folder_is_taken_only_as_a_result(folder: Path, foresight: Foresight) -> None:
    study = Study(folder, foresight.space, foresight, {"values": {}})
    number = next(trial.number for trial in study._database.trials() if not trial.user_attrs.get("rungs"))
    (folder / study.trial_path(number)).mkdir(parents=True)
    images = foresight.space.budget.images
    measurement = {"value": 1.0, "stderr": 0.0, "samples": 1, "by": ""}
    whole = {"images": images, "measurements": {"fid": measurement, "size_mb": measurement}, "seconds": {}}
    whole |= {"achieved": [], "versions": {}, "device": "cpu"}
    for change in (
        {"images": 10**30},
        {"measurements": [1]},
        {"seconds": {"x": "y"}},
        {"achieved": [3]},
        {"device": 3},
    ):
        (folder / study.trial_path(number) / "measurements.json").write_text(json.dumps({**whole, **change}))
        assert study._finished(study._database.trial(number)) is None, change
    (folder / study.trial_path(number) / "measurements.json").write_text(json.dumps(whole))
    assert study._finished(study._database.trial(number)) is not None


# On the command line


def called(monkeypatch: pytest.MonkeyPatch, main: object, *arguments: object) -> tuple[object, str]:
    """Exit code, and what was written to stderr."""
    err = io.StringIO()
    monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as end:
        command(main, name="command")  # type: ignore[arg-type]
    return end.value.code, err.getvalue()


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (f"DROP TABLE trials; CREATE VIEW trials AS {ENDLESS}", "no plain table but a view"),
        ("CREATE TABLE slimfront_leases(study); INSERT INTO slimfront_leases VALUES ('told')", "no such column"),
        ("UPDATE trial_user_attributes SET value_json = '{'", "cannot be read (Expecting property name"),
        ("UPDATE trial_user_attributes SET value_json = '3' WHERE key = 'rungs'", "rungs: Input should be"),
    ],
)
def test_search_exits_with_2_and_one_message(folder: Path, cache, monkeypatch, statement: str, expected: str) -> None:
    def never(*arguments: object, **options: object) -> None:
        raise AssertionError("something was computed for it")

    monkeypatch.chdir(folder.parents[2])
    monkeypatch.setenv("SLIMFRONT_CACHE", str(cache.folder))
    monkeypatch.setattr("trainers.teacher.Teacher.obtain", never)
    execute(folder, statement)
    code, said = called(monkeypatch, search_run.main, folder / "space.yaml", "--resume", "--workers", 0)
    assert code == 2 and expected in said and "Traceback" not in said and len(said.splitlines()) == 1


@pytest.mark.parametrize("kind", ["pipe", "text"])
def test_commands_that_only_look_leave_the_database_closed(tmp_path: Path, monkeypatch, kind: str) -> None:
    study = study_folder(tmp_path / "study", trials=16)
    if kind == "pipe":
        os.mkfifo(study / "study.db")
    else:
        (study / "study.db").write_text("no database")
    other = study_folder(tmp_path / "other", trials=16, seed=1)
    with at_most(120):
        for main, arguments in ((best.main, ["--knee"]), (explore.main, []), (compare.main, [other])):
            assert called(monkeypatch, main, study, *arguments) == (0, ""), main


def test_database_of_a_study_is_whole_when_it_is_made(tmp_path: Path) -> None:
    database = Database(tmp_path / "new", goals={"fid": "min", "images_per_s": "max"})
    assert database.trials() == [] and database.place == str(tmp_path / "new" / "study.db")
    with pytest.raises(UserError, match=r"its objectives are to minimize, maximize, those of the space to minimize"):
        Database(tmp_path / "new", goals={"fid": "min"})
