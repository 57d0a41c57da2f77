"""What a study has acknowledged, read beside it by a connection of its own, and what was trained for it."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

_ATTRIBUTES = """
    SELECT trials.number, a.key, a.value_json FROM trials JOIN trial_user_attributes AS a USING (trial_id)
    WHERE a.key = 'rungs'
"""
_ENDED = """
    SELECT trials.number, trials.state, a.value_json FROM trials JOIN trial_user_attributes AS a USING (trial_id)
    WHERE a.key = 'record' AND trials.state = 'COMPLETE'
"""


def acknowledged(database: Path) -> dict[str, str]:
    """Every result that the database holds, by what it is a result of: a rung, a complete trial, a confirmation."""
    if not database.is_file():
        return {}
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=20)) as connection:
            rungs = connection.execute(_ATTRIBUTES).fetchall()
            ended = connection.execute(_ENDED).fetchall()
            again = connection.execute(
                "SELECT key, value_json FROM study_user_attributes WHERE key LIKE 'confirmed:%'"
            ).fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return {}
        raise
    found = {
        f"trial {number} at {rung['result']['images']}": json.dumps(rung["result"]["measurements"], sort_keys=True)
        for number, _, text in rungs
        for rung in json.loads(text)
    }
    found |= {f"trial {number}": json.dumps(json.loads(text)["values"], sort_keys=True) for number, _, text in ended}
    return found | {key: json.dumps(json.loads(text), sort_keys=True) for key, text in again}


def lost(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What was acknowledged and is not there any more, or is another result."""
    return [name for name, result in before.items() if after.get(name) != result]


def paid_twice(paid: Path) -> int:
    """How many trainings up to a rung, or measurements of the front, were begun more than once."""
    lines = paid.read_text().splitlines() if paid.is_file() else []
    return sum(count - 1 for count in Counter(lines).values())
