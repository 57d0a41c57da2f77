"""Where a study is kept: a file on a local disk, or a PostgreSQL server that may go away and come back."""

from __future__ import annotations

import json
import os
import random
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import OperationalError, PendingRollbackError

from search import _held_storage, storage_url
from search._database import Database, check_storage, engine_of
from search.file_system import check_local, is_shared, mounted
from search.known import Foresight
from search.preparation import planned_teacher
from search.session import Session
from search.space import Space, SpaceError
from search.study import Study
from search.views import StudyViews
from tests.devices import ONE_CORE
from tests.fuzz.watch import at_most
from tests.search import postgres
from tests.search.test_study import SPACE, done, next_job, run_through
from trainers.cache import Cache
from trainers.errors import UserError

GOALS = {"fid": "min", "size_mb": "min"}
needs_server = pytest.mark.skipif(postgres.why_not() is not None, reason=str(postgres.why_not()))
needs_driver = pytest.mark.skipif(find_spec("psycopg") is None, reason="psycopg is not installed")
SMALL = ("budget.images={min: 300, max: 900}", "budget.trials=2", "confirm=1", "sampler={random: {seed: 3}}")


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Server]:
    with postgres.running() as running:
        yield running


@pytest.fixture
def url(server: postgres.Server, request: pytest.FixtureRequest) -> str:
    name = f"d{abs(hash(request.node.nodeid)):x}"
    server.execute(f"CREATE DATABASE {name}")
    return server.url(name)


@pytest.fixture
def open_study(tmp_path: Path, cache: Cache) -> Callable[..., Study]:
    def build(*overrides: str, name: str = "told", storage: str | None = None) -> Study:
        (tmp_path / "told.yaml").write_text(SPACE)
        space = Space.read(tmp_path / "told.yaml", [*overrides, *([f"storage={storage}"] if storage else [])])
        foresight = Foresight(space, planned_teacher(space), ONE_CORE, {"fid": 1e6, "size_mb": 0.2})
        return Study(tmp_path / name, space, foresight, {"values": {}, "stderr": {}})

    return build


def confirmed(study: Study) -> None:
    """Run a study to its end, what is measured again included."""
    while (job := study.next()) is not None:
        if job.kind == "train":
            done(study, job)
        else:
            first = study.records()[job.number].values["fid"]
            study.confirm(job.number, {"fid": {"value": first + 1, "stderr": 0.1, "draws": 1}})
    assert study.is_finished()


def told(study: Study) -> list[dict[str, Any]]:
    """What a study holds, without what a clock measured."""
    return [{**record.as_json(), "seconds": 0} for record in study.records()]


# A file


MOUNTS = """\
/dev/sda1 / ext4 rw,relatime 0 0
server:/export /home nfs4 rw,vers=4.2 0 0
/dev/sdb1 /home/me/scratch xfs rw 0 0
//nas/share /mnt/with\\040space cifs rw 0 0
me@host: /mnt/ssh fuse.sshfs rw 0 0
/dev/fuse /mnt/local fuse.ntfs rw 0 0
tmpfs /mnt/over tmpfs rw 0 0
10.0.0.1@tcp:/fs /mnt/over lustre rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/home/me/studies", "nfs4"),
        ("/mnt/with space/studies", "cifs"),
        ("/mnt/ssh", "fuse.sshfs"),
        ("/mnt/over/studies/x", "lustre"),
        ("/home/me/scratch/studies", None),
        ("/homestead/studies", None),
        ("/mnt/local/studies", None),
        ("/srv", None),
    ],
)
def test_a_database_file_is_refused_on_a_network_file_system(folder: str, kind: str | None) -> None:
    if kind is None:
        check_local(Path(folder), mounts=MOUNTS)
        return
    with pytest.raises(
        UserError,
        match=rf"lies on a file system that other machines may share \({kind}, mounted on .*--set storage=postgresql://",
    ):
        check_local(Path(folder), mounts=MOUNTS)


@pytest.mark.parametrize("kind", ["9p", "virtiofs"])
def test_only_a_sandbox_has_its_root_on_a_shared_folder(kind: str) -> None:
    assert mounted(Path("/work"), f"none / {kind} rw 0 0\n") == ("/", kind)
    assert not is_shared("/", kind) and is_shared("/mnt/c", kind)


@pytest.mark.parametrize(
    "kind",
    [
        *("ocfs2", "gfs2", "orangefs", "virtiofs", "vboxsf", "vmhgfs", "prl_fs", "fakeowner"),
        *("fuse.lustre", "fuse.mountpoint-s3", "fuse.grpcfuse", "fuse.osxfs", "fuse.vmhgfs-fuse", "fuse.ceph-fuse"),
    ],
)
def test_what_machines_can_share_is_not_taken_for_local(kind: str) -> None:
    with pytest.raises(UserError, match=rf"share \({kind}, mounted on /data\)"):
        check_local(Path("/data/studies"), mounts=f"/dev/sda1 / ext4 rw 0 0\nx /data {kind} rw 0 0\n")


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "overlay", "tmpfs", "apfs", "fuse.ntfs", "fuseblk"])
def test_what_one_machine_has_is_local(kind: str) -> None:
    check_local(Path("/data/studies"), mounts=f"x /data {kind} rw 0 0\n")


def opened_at_once(open_one: Callable[[int], Any]) -> list[Any]:
    """Engines that three drivers open at the same moment; what one of them raises is raised."""
    together = threading.Barrier(3)

    def opened(index: int) -> Any:
        together.wait()
        return open_one(index)

    with ThreadPoolExecutor(3) as pool:
        return list(pool.map(opened, range(3)))


def test_drivers_that_start_a_study_at_once_find_one_database(tmp_path: Path) -> None:
    """Each would make the tables; the others took them for damage."""
    engines = opened_at_once(lambda index: engine_of(tmp_path / "told"))
    assert {tuple(sorted(sqlalchemy.inspect(each).get_table_names())) for each in engines}.pop()[0] == "alembic_version"


def test_a_folder_with_braces_in_its_name_holds_a_study(tmp_path: Path) -> None:
    folder = tmp_path / "{SCHEMA_VERSION} {x}" / "one"
    Database(folder, goals=GOALS)
    assert (folder / "study.db").is_file()


# A URL


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("mysql://me:secret@host/db", "begins with 'mysql://'"),
        ("postgresql://me:secret@host", "names no database"),
        ("postgresql://me:secret@host:port/db", "its host or port cannot be read"),
        ("secret", "begins with 'no scheme'"),
        ("[secret]", "must be postgresql://user@host/database"),
        ("postgresql://me:secret@ha@host/db", "an '@' too many. Write %40"),
        ("postgresql://me:secret t@host/db", "Write %20 for a blank"),
        ("mysql://root:me:sec'ret@h/db", "begins with 'mysql://'"),
        ('mysql://root:me:sec"ret@h/db', "begins with 'mysql://'"),
        ("postgresql://me:1/secret?me:secret@host/db", "an '@' too many. Write %40"),
        ("postgresql://me:secret@host/db%00", "a character that cannot be seen"),
        ("postgresql://me:secret@host/db#", "has a part that such a URL cannot have"),
    ],
)
def test_a_storage_that_is_none_is_a_mistake_that_shows_no_password(tmp_path: Path, written: str, said: str) -> None:
    (tmp_path / "told.yaml").write_text(f"{SPACE}storage: {written}\n")
    for overrides in ([], [f"storage={written}"]):
        with pytest.raises(SpaceError, match=said) as error:
            Space.read(tmp_path / "told.yaml", overrides)
        assert "me:sec" not in str(error.value) and "ret@" not in str(error.value)


@pytest.mark.parametrize("rest", ["hunter2", "hunter2=x", "port=hunter2"])
def test_the_rest_of_a_password_with_an_ampersand_is_not_shown(tmp_path: Path, rest: str) -> None:
    url = f"postgresql://me@/db?password=ab&{rest}"
    (tmp_path / "told.yaml").write_text(f"{SPACE}storage: {url}\n")
    with pytest.raises(SpaceError, match="storage: has the option") as error:
        Space.read(tmp_path / "told.yaml")
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("sslkeylogfile=/tmp/x", "has the option 'sslkeylogfile'. It can have application_name, channel_binding, "),
        ("SSLMODE=require", "has the option 'SSLMODE'"),
        ("plugin=x", "has the option 'plugin'"),
        ("service=x", "has the option 'service'"),
        ("passfile=/home/me/x", "has the option 'passfile'"),
        ("s3cr:t=x", "has the option that has no such name"),
        ("connect_timeout=0", "'connect_timeout', which must be a number of seconds from 1 to 600, got '0'"),
        ("connect_timeout=-1", "got '-1'"),
        ("connect_timeout=3600", "got '3600'"),
        ("connect_timeout=", "got ''"),
        ("sslmode=none", "which must be disable|allow|prefer|require|verify-ca|verify-full, got 'none'"),
        ("sslrootcert=ca.pem", "'system' or the whole path of a file, got 'ca.pem'"),
        ("sslmode=require&sslmode=disable", "has an option twice"),
        ("host=/tmp", "has a host before the database, and"),
        ("port=5433", "has a host before the database, and"),
        ("host=other", "the folder of a socket"),
        ("password=", "'password', which must be at least one character."),
    ],
)
def test_options_of_a_stranger_s_url_are_among_those_that_do_no_harm(tmp_path: Path, option: str, said: str) -> None:
    url = f"postgresql://me@127.0.0.1:9/db?{option}"
    (tmp_path / "told.yaml").write_text(f"{SPACE}storage: {url}\n")
    with pytest.raises(SpaceError) as error:
        Space.read(tmp_path / "told.yaml")
    assert said in str(error.value) and "Write" not in str(error.value)
    # A study of a stranger names its database too.
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "storage.json").write_text(json.dumps({"storage": url}))
    with at_most(20), pytest.raises(UserError) as refused:
        check_storage(tmp_path / "one", None)
    assert said in str(refused.value) and 'its "storage"' in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me@host:5433/db?sslmode=verify-full&sslrootcert=/etc/ca.pem&connect_timeout=600&password=a%40b",
        "postgres://me:p%40%2F%3F%20@[::1]/db?channel_binding=require&application_name=our%20lab",
        "postgresql:///db?host=/var/run/postgresql&port=5433",
    ],
)
def test_options_that_servers_ask_for_are_allowed(url: str) -> None:
    assert storage_url.mistake_of(url) is None


def test_certificates_that_are_not_there_are_said(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "none"):
        url = f"postgresql://me@127.0.0.1:9/db?sslmode=verify-full&sslrootcert={tmp_path / name}"
        with at_most(20), pytest.raises(UserError, match=f"{name}', which is no file on this machine"):
            check_storage(tmp_path / "one", url)


@needs_driver
def test_a_server_that_says_nothing_is_not_waited_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://me@127.0.0.1:{silent.getsockname()[1]}/db?connect_timeout=1"
        with at_most(20), pytest.raises(UserError, match=r"cannot be used: .*timeout"):
            check_storage(tmp_path / "one", url)


def test_a_space_keeps_no_password(tmp_path: Path) -> None:
    url, bare = "postgresql://me:s3cr%3At@host:5433/db?sslmode=require&password=more", "postgresql://me@host:5433/db"
    (tmp_path / "plain.yaml").write_text(SPACE)
    (tmp_path / "told.yaml").write_text(f"# Which?\n{SPACE}storage: {url}\n")
    for space in (Space.read(tmp_path / "told.yaml"), Space.read(tmp_path / "plain.yaml", [f"storage={url}"])):
        assert space.storage == url
        for text in (space.text, space.effective_text, repr(space), *space.overrides):
            assert "s3cr" not in text and "more" not in text
        assert f"storage: {bare}?sslmode=require" in space.effective_text
    assert Space.read(tmp_path / "told.yaml").question == "Which?"
    assert Space.read(tmp_path / "told.yaml").fingerprint() == Space.read(tmp_path / "plain.yaml").fingerprint()


def test_a_study_stays_where_it_began(tmp_path: Path) -> None:
    first, folder = "postgresql://me@host/db", tmp_path / "one"
    assert storage_url.url_of(folder, None, environment={}) is None
    assert storage_url.url_of(folder, None, environment={storage_url.VARIABLE: first}) == first
    storage_url.keep(folder, "postgresql://me:secret@host/db")
    assert json.loads((folder / "storage.json").read_text()) == {"storage": first, "study": "one"}
    assert storage_url.url_of(folder, None, environment={}) == first
    other_user = "postgresql://you:secret@HOST:5432/db?sslmode=require"
    assert storage_url.url_of(folder, other_user, environment={}) == other_user
    with pytest.raises(
        UserError, match=r"has its study in postgresql://me@host/db, asked for is postgresql://me@host/2"
    ):
        storage_url.url_of(folder, "postgresql://me:secret@host/2", environment={})
    (folder / "storage.json").write_text('{"storage": 3}')
    with pytest.raises(UserError, match=r"storage.json: its \"storage\" cannot be read"):
        storage_url.url_of(folder, None, environment={})
    Database(tmp_path / "file", goals=GOALS)
    with pytest.raises(UserError, match=r"has its study in .*study.db, asked for"):
        storage_url.url_of(tmp_path / "file", first, environment={})


def test_a_missing_driver_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    said = r"postgresql://me@host/db needs the driver psycopg.*pip install -e '.\[postgres\]'"
    with pytest.raises(UserError, match=said):
        check_storage(tmp_path / "one", "postgresql://me:secret@host/db")


# A server


@needs_server
def test_a_study_comes_to_the_same_on_a_server_and_in_a_file(open_study, url: str, tmp_path: Path) -> None:
    on_server, in_file = open_study(*SMALL, storage=url), open_study(*SMALL, name="file")
    for study in (on_server, in_file):
        confirmed(study)
        study.write_views()
    assert told(on_server) == told(in_file) and len(told(on_server)) > 2
    assert not (tmp_path / "told" / "study.db").exists()
    written = [path.read_text() for path in (tmp_path / "told").rglob("*") if path.is_file()]
    assert written and not any(postgres.QUOTED in text or postgres.PASSWORD in text for text in written)
    # Who only reads views needs no database.
    points, same = (StudyViews.open(tmp_path / name).front.points for name in ("told", "file"))
    assert points == same != []


@needs_server
def test_studies_that_are_the_first_on_a_server_at_once_find_one_database(url: str, tmp_path: Path) -> None:
    """As the jobs of an array do."""
    engines = opened_at_once(lambda index: engine_of(tmp_path / f"study_{index}", url, is_named=True))
    assert all(sqlalchemy.inspect(each).has_table("trials") for each in engines)


@needs_server
def test_a_study_on_a_server_goes_on(open_study, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run_through(first := open_study(*SMALL, storage=url), until=lambda job: job.first_rung > 0)
    assert list(first.adopt_orphans().values()) == ["wait"]
    # The folder says where it is; the password comes from libpq's own places, when the user says so.
    monkeypatch.setenv("PGPASSWORD", postgres.PASSWORD)
    with pytest.raises(UserError, match="not for one that only a file names"):
        open_study(*SMALL)
    monkeypatch.setenv(storage_url.VARIABLE, storage_url.without_password(url))
    again = open_study(*SMALL)
    assert told(again) == told(first)
    confirmed(again)
    assert told(open_study(*SMALL, storage=url)) == told(again)


@needs_server
def test_a_database_holds_studies_by_name_and_each_has_one_folder(open_study, url: str, tmp_path: Path) -> None:
    one, two = open_study(*SMALL, name="one", storage=url), open_study(*SMALL, name="two", storage=url)
    done(one, next_job(one))
    assert one.records() and not two.records()
    (tmp_path / "two" / "storage.json").unlink()
    with pytest.raises(UserError, match=r"holds a study named 'two' already, of another folder"):
        open_study(*SMALL, name="two", storage=url)


@needs_server
def test_connections_that_are_cut_lose_nothing(open_study, url: str, server: postgres.Server) -> None:
    study, plain = open_study(*SMALL, storage=url), open_study(*SMALL, name="file")
    confirmed(plain)
    # Before every call of the driver, as a network that breaks again and again would.
    calls = random.Random(0)
    for name in ("next", "report", "confirm"):
        method = getattr(study, name)

        def cut(*arguments: Any, _method: Callable[..., Any] = method) -> Any:
            if calls.random() < 0.5:
                server.cut()
            return _method(*arguments)

        setattr(study, name, cut)
    confirmed(study)
    assert told(study) == told(plain)
    assert told(open_study(*SMALL, storage=url)) == told(plain)


@needs_server
def test_a_server_that_is_started_again_is_waited_for(open_study, url: str, server: postgres.Server) -> None:
    study = open_study(*SMALL, storage=url)
    done(study, next_job(study))
    before, job = told(study), next_job(study)
    server.stop()
    starting = threading.Timer(0.5, server.start)
    starting.start()
    record = done(study, job)
    starting.join()
    assert told(open_study(*SMALL, storage=url)) == [*before, {**record.as_json(), "seconds": 0}] == told(study)


def test_a_search_whose_server_stays_away_is_stopped_and_no_bad_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def away(*arguments: object) -> int:
        raise _held_storage.ServerAwayError("the database postgresql://h/d has not answered for 300 s")

    monkeypatch.chdir(tmp_path)
    (tmp_path / "told.yaml").write_text(SPACE)
    monkeypatch.setattr(Session, "_look", lambda session: (None, None, None))
    monkeypatch.setattr("search.preparation.load_images", lambda *arguments: None)
    monkeypatch.setattr("search.preflight.check_disk", lambda *arguments, **options: None)
    monkeypatch.setattr(Session, "_search_holding", away)
    assert Session(Path("told.yaml"), workers=0).go() == 4
    assert capsys.readouterr().err == "stopped: the database postgresql://h/d has not answered for 300 s\n"


@needs_server
def test_a_server_that_stays_away_ends_the_run_with_one_message(
    open_study, url: str, server: postgres.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_held_storage, "PATIENCE_SECONDS", 0.3)
    study = open_study(*SMALL, storage=url)
    done(study, next_job(study))
    before, job = told(study), next_job(study)
    server.stop()
    try:
        with pytest.raises(
            UserError, match=r"has not answered for 0.3 s \(.*\)\. What it has confirmed is kept"
        ) as error:
            done(study, job)
        assert postgres.QUOTED not in str(error.value) and postgres.PASSWORD not in str(error.value)
        with pytest.raises(UserError, match=r"cannot be used: .*Connection refused"):
            check_storage(study.folder, url)
    finally:
        server.start()
    again = open_study(*SMALL, storage=url)
    assert again.adopt_orphans() == {job.number: "queued"} and told(again)[: len(before)] == before
    confirmed(again)


@needs_server
def test_a_server_is_reached_through_its_socket(tmp_path: Path, server: postgres.Server) -> None:
    check_storage(
        tmp_path / "one",
        f"postgresql://{postgres.USER}:{postgres.QUOTED}@/postgres?host={server.folder}&port={server.port}",
    )


def test_a_transaction_that_lost_its_connection_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so by an error of its own, when the server was started again before it ended."""
    monkeypatch.setattr(_held_storage, "_FIRST_WAIT_SECONDS", 0.01)
    left = [PendingRollbackError("Can't reconnect until invalid transaction is rolled back.")]

    def call() -> str:
        if left:
            raise StorageInternalError("An exception is raised during the commit.") from left.pop()
        return "done"

    storage: Any = None
    assert _held_storage._patiently(call, storage) == "done"


@needs_server
def test_a_refusal_is_not_waited_out(open_study, url: str) -> None:
    study = open_study(*SMALL, storage=url)
    with study._database.engine.begin() as connection:
        connection.execute(sqlalchemy.text("ALTER TABLE trials RENAME TO gone"))
    with pytest.raises(UserError, match=r"refuses \(.*trials.*does not exist") as error:
        study.next()
    assert postgres.QUOTED not in str(error.value)


@needs_server
@pytest.mark.parametrize("call", ["next", "report"])
def test_an_answer_that_is_lost_is_no_trial_that_is_lost(
    open_study, url: str, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server commits, and the connection breaks before it can say so."""
    monkeypatch.setattr(_held_storage, "_FIRST_WAIT_SECONDS", 0.01)
    study, plain = open_study(*SMALL, storage=url), open_study(*SMALL, name="file")
    job = next_job(study) if call == "report" else None
    engine, lost = study._database.engine, []

    def commit(connection: Any) -> None:
        connection.commit()
        if len(lost) < 40 and len(lost) % 2 == 0:
            lost.append(True)
            raise OperationalError("COMMIT", {}, Exception("the connection is lost"))
        lost.append(False)

    engine.dialect.do_commit, original = commit, engine.dialect.do_commit
    try:
        job = job or next_job(study)
        done(study, job)
    finally:
        engine.dialect.do_commit = original
    assert lost.count(True) >= 3
    done(plain, next_job(plain))
    (shown,), (expected,) = ([each for each in told(of) if each["state"] != "rejected"] for of in (study, plain))
    assert (shown["candidate"], shown["values"]) == (expected["candidate"], expected["values"])
    assert study.left() == plain.left()
    confirmed(study)


@needs_server
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"database": "nowhere"}, 'database "nowhere" does not exist'),
        ({"password": "wrong"}, "password authentication failed"),
        ({"user": "nobody"}, "password authentication failed"),
        ({"password": None}, "no password supplied"),
    ],
)
def test_a_database_that_cannot_be_used_is_said_before_anything_else(
    server: postgres.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], said: str
) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "told.yaml").write_text(f"{SPACE}storage: {server.url(**changed)}\n")
    with pytest.raises(UserError, match=said) as error:
        Session(tmp_path / "told.yaml", workers=0).go()
    assert "wrong" not in str(error.value) and postgres.QUOTED not in str(error.value)
    assert not (tmp_path / "studies").exists()
