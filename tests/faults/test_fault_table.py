"""The rows of the fault table: the fast ones in every run, all of them as the slow part and in ``make faults``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.rows import FAST, ROWS
from tests.faults.rows.disk import CannotMountError


@pytest.fixture(autouse=True)
def shared_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """One teacher for all rows; the process that drivers are forked from sees it too, as it starts at the first."""
    monkeypatch.setenv("SLIMFRONT_CACHE", str(tmp_path_factory.getbasetemp() / "faults-cache"))


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in ROWS]
)
def test_nothing_acknowledged_is_lost(name: str, tmp_path: Path) -> None:
    title, row = ROWS[name]
    try:
        result = row(tmp_path, name in FAST)
    except CannotMountError as error:
        pytest.skip(f"{title}: no file system of its own can be mounted here ({error})")
    assert result.acknowledged
    assert not result.lost
    assert result.paid_twice <= result.in_flight
