"""For tests: a real PostgreSQL server of their own, on a free port of this machine, that can be stopped and started."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

USER, PASSWORD = "tester", "s3cr:t{x}@"
QUOTED = "s3cr%3At%7Bx%7D%40"
_NOBODY = "nobody"


def programs() -> Path | None:
    """The folder of the newest PostgreSQL installed here; None when there is none."""
    found = [each.parent for each in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    on_path = shutil.which("initdb")
    found += [Path(on_path).resolve().parent] if on_path else []
    return max(found, key=lambda folder: folder.parts[-2:], default=None)


def why_not() -> str | None:
    """Why there can be no server here; None when there can."""
    if programs() is None:
        return "PostgreSQL is not installed (Debian: apt-get install postgresql)"
    return None if find_spec("psycopg") else "psycopg is not installed (pip install -e '.[postgres]')"


class Server:
    """A server in a temporary folder; it asks for a password."""

    def __init__(self, folder: Path) -> None:
        #: Of its socket.
        self.folder = folder
        self._data = folder / "data"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        password = folder / "password"
        password.write_text(PASSWORD)
        if os.geteuid() == 0:
            shutil.chown(folder, _NOBODY)
            shutil.chown(password, _NOBODY)
        self._run("initdb", "-U", USER, "--auth=scram-sha-256", f"--pwfile={password}", "--no-sync", "-E", "UTF8")
        with (self._data / "postgresql.conf").open("a") as settings:
            settings.write(
                f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{folder}'\n"
            )
            # A server that stops and starts again has what it has confirmed; only a power cut would lose it.
            settings.write("fsync = off\nshared_buffers = 16MB\nautovacuum = off\n")
        self.start()

    def url(self, database: str = "postgres", *, user: str = USER, password: str | None = QUOTED) -> str:
        secret = "" if password is None else f":{password}"
        return f"postgresql://{user}{secret}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        self._run("pg_ctl", "-w", "-s", "-l", str(self._data / "log"), "start")

    def stop(self) -> None:
        """At once, as a crash does: connections are cut."""
        self._run("pg_ctl", "-w", "-s", "-m", "immediate", "stop")

    def execute(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    def trust_everybody(self) -> None:
        """From now on it asks for no password."""
        (self._data / "pg_hba.conf").write_text("host all all 127.0.0.1/32 trust\n")
        self._run("pg_ctl", "-s", "reload")

    def cut(self) -> None:
        """Every connection but the one that says so."""
        self.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'slimfront'")

    def _run(self, program: str, *arguments: str) -> None:
        folder = programs()
        assert folder is not None
        command = [str(folder / program), "-D", str(self._data), *arguments]
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root.
            command = ["runuser", "-u", _NOBODY, "--", *command]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd="/"
        )
        assert done.returncode == 0, done.stderr


@contextmanager
def running() -> Iterator[Server]:
    """A server, stopped and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="slimfront-postgres-"))
    try:
        server = Server(folder)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
