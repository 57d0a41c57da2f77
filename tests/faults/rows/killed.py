"""The driver ends: killed at random moments, asked to end, cut off between any two writes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

from tests.faults.driver import Driver, database, finish, paid_file
from tests.faults.home import make_home, study_of
from tests.faults.ledger import acknowledged, lost, paid_twice
from tests.faults.planted.power import fingerprint
from tests.faults.result import Result, continued, ended, has_begun, has_traceback, judged, unreadable

_KILLS = int(os.environ.get("FAULTS_KILLS", "30"))
_CUTS = int(os.environ.get("FAULTS_CUTS", "1000"))
_STUDY_SECONDS = 4.0
"""About what the trainings of one study take; kills come anywhere in it."""


def driver_killed(place: Path, reduced: bool) -> Result:
    """SIGKILL at seeded random moments; one study after the other until there were enough kills."""
    moments = random.Random(0)
    wanted, kills, number = (3 if reduced else _KILLS), 0, 0
    known, gone, twice, waited = 0, [], 0, []
    while kills < wanted:
        home = make_home(place / str(number))
        number += 1
        before: dict[str, str] = {}
        while True:
            driver = Driver.start(home)
            driver.wait_until(lambda driver=driver: has_begun(driver))
            waited.append(time.monotonic() - driver.begun)
            is_over = kills >= wanted or _ends_within(driver, moments.uniform(0, _STUDY_SECONDS))
            if not is_over:
                before = acknowledged(database(home))
                is_over = not driver.kill()
            if is_over:
                assert driver.wait() == 0, driver.said
                break
            kills += 1
            gone += lost(before, acknowledged(database(home)))
        gone += [*lost(before, acknowledged(database(home))), *unreadable(study_of(home))]
        known += len(before)
        twice += paid_twice(paid_file(home))
    return Result(
        times=kills,
        acknowledged=known,
        lost=gone,
        paid_twice=twice,
        in_flight=kills,
        outcome="goes on",
        seconds=sorted(waited)[len(waited) // 2],
    )


def _ends_within(driver: Driver, seconds: float) -> bool:
    driver.process.join(seconds)
    return not driver.is_running


def driver_asked_to_end(place: Path, reduced: bool) -> Result:
    """SIGTERM, as a machine that is taken away sends it: it leaves as with Ctrl-C."""
    home = make_home(place)
    driver = Driver.start(home, faults={"slow": {"seconds": 0.5}})
    driver.wait_until(lambda: bool(acknowledged(database(home))))
    before = acknowledged(database(home))
    driver.send(signal.SIGTERM)
    assert driver.wait() == 130, f"exit {driver.process.exitcode}: {driver.said}"
    assert "Go on with:\n  python -m search.run fault.yaml" in driver.said and not has_traceback(driver)
    again, seconds = continued(home)
    assert again.process.exitcode == 0, again.said
    return judged(home, before, in_flight=1, outcome="exit 130 with the command to go on", seconds=[seconds])


def power_cut(place: Path, reduced: bool) -> Result:
    """A picture of the study between any two writes; a driver goes on from each."""
    home, cuts = make_home(place / "whole"), place / "cuts"
    driver = finish(home, faults={"cuts": {"folder": str(cuts), "study": str(study_of(home))}})
    assert driver.process.exitcode == 0, driver.said
    pictures = list({fingerprint(cut): cut for cut in sorted(cuts.iterdir(), reverse=True)}.values())[::-1]
    assert len(pictures) > 60, len(pictures)
    chosen = pictures[:: max(1, len(pictures) // (3 if reduced else _CUTS))]
    known, gone, twice, waited = 0, [], 0, []
    for cut in chosen:
        home = make_home(place / "again")
        study_of(home).parent.mkdir(parents=True)
        shutil.move(cut / "study", study_of(home))
        if (cut / "paid.jsonl").exists():
            shutil.copy(cut / "paid.jsonl", home)
        before, paid_before = acknowledged(database(home)), paid_twice(paid_file(home))
        again, seconds = continued(home)
        what = f"{cut.name} before {(cut / 'what.txt').read_text()}"
        result = judged(home, before, in_flight=1, outcome=ended(again))
        gone += [f"{what}: {each}" for each in result.lost]
        if again.process.exitcode or result.paid_twice - paid_before > 1:
            gone.append(f"{what}: {result.outcome}, paid twice {result.paid_twice}")
        known, twice = known + len(before), twice + result.paid_twice
        waited.append(seconds)
        shutil.rmtree(home)
    return Result(
        times=len(chosen),
        acknowledged=known,
        lost=gone,
        paid_twice=twice,
        in_flight=len(chosen),
        outcome="goes on",
        seconds=sorted(waited)[len(waited) // 2],
    )
