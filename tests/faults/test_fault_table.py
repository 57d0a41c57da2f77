"""The fast rows of the fault table, fewer kills and cuts than in ``make faults``, which runs all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.result import CannotTryError
from tests.faults.rows import FAST, ROWS
from trainers.cache import Cache


@pytest.fixture(autouse=True)
def shared_cache(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """One teacher for all rows; the process that drivers are forked from sees it too, as it starts at the first."""
    monkeypatch.setenv("SLIMFRONT_CACHE", str(cache.folder))


@pytest.mark.parametrize("name", FAST)
def test_nothing_acknowledged_is_lost(name: str, tmp_path: Path) -> None:
    title, row = ROWS[name]
    try:
        result = row(tmp_path, True)
    except CannotTryError as error:
        pytest.skip(f"{title}: {error}")
    assert result.acknowledged
    assert not result.lost
    assert result.paid_twice <= result.in_flight
