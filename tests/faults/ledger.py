"""What a study has acknowledged, read beside it by a connection of its own, and what was trained for it.

``python -m tests.faults.ledger HOME TRIAL`` keeps what is acknowledged when a fault strikes a trial.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from tests.faults.home import study_of

_RUNGS = """
    SELECT trials.number, a.value_json FROM trials JOIN trial_user_attributes AS a USING (trial_id)
    WHERE a.key = 'rungs'
"""
_ENDED = """
    SELECT trials.number, a.value_json FROM trials JOIN trial_user_attributes AS a USING (trial_id)
    WHERE a.key = 'record' AND trials.state = 'COMPLETE'
"""
_CONFIRMED = "SELECT key, value_json FROM study_user_attributes WHERE key LIKE 'confirmed:%'"


def acknowledged(where: Path | Engine) -> dict[str, str]:
    """Every result that the database holds, by what it is a result of: a rung, a complete trial, a confirmation.

    Args:
        where: SQLite's file, or connections to a server.
    """
    if isinstance(where, Path) and not where.is_file():
        return {}
    engine = create_engine(f"sqlite:///file:{where}?mode=ro&uri=true&timeout=20") if isinstance(where, Path) else where
    try:
        with engine.connect() as connection:
            rungs, ended, again = (connection.execute(text(query)).all() for query in (_RUNGS, _ENDED, _CONFIRMED))
    except DBAPIError as error:
        if "no such table" in str(error) or "does not exist" in str(error):
            return {}
        raise
    finally:
        engine.dispose()
    found = {
        f"trial {number} at {rung['result']['images']}": json.dumps(rung["result"]["measurements"], sort_keys=True)
        for number, rungs_json in rungs
        for rung in json.loads(rungs_json)
    }
    found |= {f"trial {number}": json.dumps(json.loads(record)["values"], sort_keys=True) for number, record in ended}
    return found | {key: json.dumps(json.loads(result), sort_keys=True) for key, result in again}


def note_struck(home: Path, trial: int) -> None:
    """Keep what is acknowledged now, when a fault strikes that trial; the first time alone."""
    path = home / f"struck-{trial}.json"
    if not path.exists():
        path.write_text(json.dumps(acknowledged(study_of(home) / "study.db")))


def struck(home: Path, trial: int) -> dict[str, str]:
    """What was acknowledged when a fault struck that trial."""
    found: dict[str, str] = json.loads((home / f"struck-{trial}.json").read_text())
    return found


def lost(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What was acknowledged and is not there any more, or is another result."""
    return [name for name, result in before.items() if after.get(name) != result]


def paid_twice(paid: Path) -> int:
    """How many trainings up to a rung, or measurements of the front, were begun more than once."""
    lines = paid.read_text().splitlines() if paid.is_file() else []
    return sum(count - 1 for count in Counter(lines).values())


if __name__ == "__main__":
    note_struck(Path(sys.argv[1]), int(sys.argv[2]))
