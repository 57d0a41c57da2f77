"""The database and what goes with it: locked, held by another driver, another space."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from sqlalchemy import create_engine, make_url

from tests.faults.driver import Driver, database, finish
from tests.faults.home import SPACE, make_home
from tests.faults.ledger import acknowledged
from tests.faults.result import CannotTryError, Result, continued, has_begun, has_traceback, judged
from tests.search import postgres


def locked_for_a_while(place: Path, reduced: bool) -> Result:
    """Another process holds the write lock for some seconds."""
    home = make_home(place)
    driver = Driver.start(home)
    driver.wait_until(lambda: bool(acknowledged(database(home))))
    with closing(sqlite3.connect(database(home), timeout=30)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        before = acknowledged(database(home))
        time.sleep(4)
        connection.rollback()
    assert driver.wait() == 0 and not has_traceback(driver), driver.said
    return judged(home, before, in_flight=0, outcome="waits, then ends")


def locked_for_good(place: Path, reduced: bool) -> Result:
    """Another process never lets go of the write lock; the patience of a minute is two seconds here."""
    home = make_home(place)
    driver = Driver.start(home, faults={"impatient": {"seconds": 2}})
    driver.wait_until(lambda: bool(acknowledged(database(home))))
    with closing(sqlite3.connect(database(home), timeout=30)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        before = acknowledged(database(home))
        code = driver.wait()
    assert code == 4 and not has_traceback(driver), driver.said[-3000:]
    assert "locked" in driver.said and "python -m search.run" in driver.said, driver.said
    again, seconds = continued(home)
    assert again.process.exitcode == 0, again.said
    return judged(home, before, in_flight=1, outcome="exit 4: why, and how to go on", seconds=[seconds])


def two_drivers(place: Path, reduced: bool) -> Result:
    """The same command twice."""
    home = make_home(place)
    first = Driver.start(home)
    first.wait_until(lambda: has_begun(first))
    second = Driver.start(home)
    assert second.wait() == 3 and not has_traceback(second), second.said
    assert "held by another driver" in second.said, second.said
    before = acknowledged(database(home))
    assert first.wait() == 0, first.said
    return judged(home, before, in_flight=0, outcome="the second: exit 3, who holds it")


def space_edited(place: Path, reduced: bool) -> Result:
    """The file of the space is changed while the driver runs, and put back as it was when the command was refused."""
    home = make_home(place)
    driver = Driver.start(home, faults={"slow": {"seconds": 0.5}})
    driver.wait_until(lambda: bool(acknowledged(database(home))))
    make_home(place, SPACE.replace("up_0: 0.3", "up_0: 0.5"))
    before = acknowledged(database(home))
    driver.wait_until(lambda: len(acknowledged(database(home))) > len(before))
    driver.kill()
    before = acknowledged(database(home))
    refused = finish(home)
    assert refused.process.exitcode == 2 and not has_traceback(refused), refused.said
    assert "holds a study of another space" in refused.said and "0.5" in refused.said, refused.said
    make_home(place)
    again, seconds = continued(home)
    assert again.process.exitcode == 0, again.said
    outcome = "the driver goes on as it began; the next: exit 2 with the difference"
    return judged(home, before, in_flight=1, outcome=outcome, seconds=[seconds])


def server_restarted(place: Path, reduced: bool) -> Result:
    """The database is on a PostgreSQL server, which crashes and comes back after four seconds."""

    def strike(server: postgres.Server) -> None:
        server.stop()
        time.sleep(4)
        server.start()

    return _on_server(place, strike, outcome="waits, then ends")


def connection_dropped(place: Path, reduced: bool) -> Result:
    """All connections to the PostgreSQL server are cut."""
    return _on_server(place, postgres.Server.cut, outcome="connects again, and ends")


def server_read_only(place: Path, reduced: bool) -> Result:
    """The PostgreSQL server takes nothing more, as after a switch to its replica."""

    def strike(server: postgres.Server) -> None:
        server.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        server.execute("SELECT pg_reload_conf()")
        server.cut()

    def mend(server: postgres.Server) -> None:
        # This setting alone may be changed where nothing else may.
        server.execute("ALTER SYSTEM RESET default_transaction_read_only")
        server.execute("SELECT pg_reload_conf()")

    return _on_server(place, strike, mend, outcome="exit 4: why, and how to go on")


def _on_server(
    place: Path,
    strike: Callable[[postgres.Server], None],
    mend: Callable[[postgres.Server], None] | None = None,
    *,
    outcome: str,
) -> Result:
    reason = postgres.why_not()
    if reason is not None:
        raise CannotTryError(reason)
    with postgres.running() as server:
        home, named = make_home(place), {"storage": server.url(password=None), "password": postgres.PASSWORD}
        driver = Driver.start(home, faults={"slow": {"seconds": 0.5}, "server": named})
        kept = create_engine(make_url(server.url()).set(drivername="postgresql+psycopg"))
        try:
            driver.wait_until(lambda: bool(acknowledged(kept)))
            before = acknowledged(kept)
            kept.dispose()
            strike(server)
            code, seconds = driver.wait(), None
            assert not has_traceback(driver), driver.said[-3000:]
            if mend is not None:
                assert code == 4 and "run the same command again" in driver.said, driver.said[-3000:]
                mend(server)
                again, seconds = continued(home, faults={"server": named})
                code = again.process.exitcode
            assert code == 0, driver.said[-3000:]
            return judged(home, before, in_flight=1, outcome=outcome, seconds=[seconds] if seconds else [], kept=kept)
        finally:
            kept.dispose()
