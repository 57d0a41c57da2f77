"""The address of a Ray cluster that is none."""

from __future__ import annotations

from typing import Any

import pytest

from search import tune
from tests.fuzz.watch import at_most
from trainers.errors import UserError


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:99999", "[::1]:1", "nowhere.invalid:6379"])
def test_a_cluster_that_does_not_answer_is_told_at_once(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray would knock for minutes."""

    def knock(**options: Any) -> None:
        raise AssertionError("Ray was asked")

    monkeypatch.setattr("ray.init", knock)
    with at_most(10), pytest.raises(UserError, match=r"no Ray cluster answers \(.+\)\. Start one"):
        tune.start(address=address, cpus=1, gpus=0)
