"""The database and what goes with it: locked, held by another driver, another space."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from tests.faults.driver import Driver, database, finish
from tests.faults.home import SPACE, make_home
from tests.faults.ledger import acknowledged
from tests.faults.result import Result, continued, has_begun, has_traceback, judged
from tests.faults.templates import stopped


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
    """The file of the space is changed before the command is given again, in the end put back as it was."""
    home = stopped(place)
    make_home(place, SPACE.replace("up_0: 0.3", "up_0: 0.5"))
    before = acknowledged(database(home))
    refused = finish(home)
    assert refused.process.exitcode == 2 and not has_traceback(refused), refused.said
    assert "holds a study of another space" in refused.said and "0.5" in refused.said, refused.said
    make_home(place)
    again, seconds = continued(home)
    assert again.process.exitcode == 0, again.said
    return judged(home, before, in_flight=1, outcome="exit 2 with the difference", seconds=[seconds])
