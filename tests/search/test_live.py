"""The view while a study runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from search import live
from search.job import Job
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


def test_the_time_left_is_that_of_as_many_as_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a number of workers a cluster is given as many as it takes, which is not known beforehand."""
    monkeypatch.setattr(live.time, "monotonic", lambda: 0.0)
    budget = SimpleNamespace(rungs=(100,), images=100)
    views = SimpleNamespace(trials=[])
    study: Any = SimpleNamespace(write_views=lambda: views, left=lambda: 9.0, space=SimpleNamespace(budget=budget))
    tally = Tally(study, workers=10_000, expected_seconds=5.0)
    for number in range(3):
        tally.start(Job(number=number, candidate={}))
    assert tally.seconds_left == (9 + 3) * 5.0 / 3
