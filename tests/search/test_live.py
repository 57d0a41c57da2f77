"""The view while a study runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from search import live
from search.live import Tally
from search.record import Record


@pytest.mark.parametrize(("trials", "written"), [(1_000, 101), (1_001, 6)])
def test_views_of_many_trials_are_written_seldom(monkeypatch: pytest.MonkeyPatch, trials: int, written: int) -> None:
    """100 trials end, one every 2 seconds; writing takes a twentieth of the time at most where there are many."""
    now, calls = [0.0], []

    def write_views() -> Any:
        now[0] += 2.0
        calls.append(now[0])
        return SimpleNamespace(trials=[SimpleNamespace(state="complete")] * trials)

    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    monkeypatch.setattr("search.report.page.write_report", lambda views: None)
    study: Any = SimpleNamespace(write_views=write_views, left=lambda: 3.0)
    tally = Tally(study, workers=1, expected_seconds=1.0)
    for number in range(100):
        now[0] += 2.0
        tally.end(Record(number=number, state="complete"))
    assert len(calls) == written and tally._left == 3.0
