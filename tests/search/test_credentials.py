"""A password of the user's goes to a database server that the user named, and to none that only a file names."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from search import storage_url
from search._database import check_storage, engine_of
from search.session import Session
from search.space import Space
from tests.search import postgres
from tests.search.test_study import SPACE
from trainers.errors import UserError

pytestmark = pytest.mark.skipif(find_spec("psycopg") is None, reason="psycopg is not installed")
AMBIENT, IN_FILE, OWN = "ambient-pw", "pgpass-pw", "own-pw"
_NO_ENCRYPTION, _ASKS_FOR_PASSWORD = b"N", b"R" + struct.pack("!II", 8, 3)


class Asking:
    """A server that has no encryption, asks everybody for a password in clear text, and remembers the answers."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self.url = f"postgresql://me@127.0.0.1:{listening.getsockname()[1]}/db"
        self.heard = b""
        threading.Thread(target=self._answer, daemon=True).start()

    def _answer(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection:
                # Requests for encryption are 8 bytes long; what follows them says who wants to connect.
                while len(connection.recv(1000)) == 8:
                    connection.sendall(_NO_ENCRYPTION)
                connection.sendall(_ASKS_FOR_PASSWORD)
                self.heard += connection.recv(1000)


@pytest.fixture
def asking() -> Iterator[Asking]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield Asking(listening)


@pytest.fixture(params=["PGPASSWORD", "PGPASSFILE"])
def ambient(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """What libpq finds by itself."""
    for name in ("PGPASSWORD", "PGPASSFILE", storage_url.VARIABLE):
        monkeypatch.delenv(name, raising=False)
    if request.param == "PGPASSWORD":
        monkeypatch.setenv("PGPASSWORD", AMBIENT)
        return AMBIENT.encode()
    (tmp_path / "pgpass").write_text(f"*:*:*:*:{IN_FILE}\n")
    (tmp_path / "pgpass").chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    return IN_FILE.encode()


def searched(folder: Path, *overrides: str, storage: str = "") -> str:
    """What a search says of a server that it cannot use."""
    (folder / "told.yaml").write_text(f"{SPACE}{f'storage: {storage}' if storage else ''}\n")
    with pytest.raises(UserError) as error:
        Session(folder / "told.yaml", overrides=overrides, workers=0).go()
    return str(error.value)


def test_a_server_that_only_a_space_names_gets_none(
    asking: Asking, ambient: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = searched(tmp_path, storage=asking.url)
    assert asking.heard == b""
    assert f"add --set storage={asking.url} to the command, or set SLIMFRONT_STORAGE={asking.url}." in said
    assert not (tmp_path / "studies").exists()


def test_a_server_that_only_a_study_names_gets_none(asking: Asking, ambient: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "one"
    storage_url.keep(folder, asking.url)
    for look in (check_storage, engine_of):
        with pytest.raises(UserError, match="not for one that only a file names"):
            look(folder, None)
    # Nor one beside another that the environment names.
    (folder / "storage.json").write_text(json.dumps({"storage": asking.url.replace("/db", "/db2")}))
    with pytest.raises(UserError, match="not for one that only a file names"):
        check_storage(folder, asking.url.replace("/db", "/db2"))
    assert asking.heard == b""


def test_a_server_that_the_user_names_gets_it(
    asking: Asking, ambient: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "is the password in PGPASSWORD or ~/.pgpass?" in searched(tmp_path, f"storage={asking.url}")
    assert ambient in asking.heard
    for storage in (asking.url, ""):
        asking.heard = b""
        monkeypatch.setenv(storage_url.VARIABLE, asking.url)
        searched(tmp_path, storage=storage)
        assert ambient in asking.heard


def test_a_password_in_the_url_is_the_one_that_goes(
    asking: Asking, ambient: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for url in (asking.url.replace("me@", f"me:{OWN}@"), f"{asking.url}?password={OWN}"):
        asking.heard = b""
        searched(tmp_path, storage=url)
        assert OWN.encode() in asking.heard and ambient not in asking.heard
    asking.heard = b""
    searched(tmp_path, storage=asking.url.replace("me@", "me:@"))
    assert asking.heard == b""


def test_what_the_environment_says_of_a_server_goes_before_what_a_space_does() -> None:
    safe = {storage_url.VARIABLE: "postgresql://me@host/db?sslmode=verify-full"}
    folder, weak = Path("nowhere"), "postgresql://me@host:5432/db?sslmode=disable"
    assert storage_url.url_of(folder, weak, environment=safe) == safe[storage_url.VARIABLE]
    assert storage_url.url_of(folder, weak, is_named=True, environment=safe) == weak
    for other in ("postgresql://me@host/db2", "postgresql://me@other/db", "postgresql://me:pw@host/db"):
        assert storage_url.url_of(folder, other, environment=safe) == other


def test_only_an_option_of_the_command_names_a_storage(tmp_path: Path) -> None:
    url = "postgresql://me@host/db"
    (tmp_path / "told.yaml").write_text(f"{SPACE}storage: {url}\n")
    for overrides, is_named in (([], False), (["budget.trials=2"], False), (["storage=null"], False)):
        assert Space.read(tmp_path / "told.yaml", overrides).is_storage_named == is_named
    for override in (f"storage={url}", f" storage = {url}"):
        assert Space.read(tmp_path / "told.yaml", [override]).is_storage_named


@pytest.mark.skipif(postgres.why_not() is not None, reason=str(postgres.why_not()))
def test_a_space_names_a_server_that_asks_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)
    with postgres.running() as server:
        server.trust_everybody()
        check_storage(tmp_path / "one", server.url(password=None))
