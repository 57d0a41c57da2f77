"""What is turned away untrained: by limits that a user wrote, and by the teacher's own costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from search.known import PREDICTION_SLACK, Foresight
from search.preparation import planned_teacher
from search.space import Space
from tests.devices import ONE_CORE
from trainers.cache import Cache

SPACE = """
teacher: {network: {unet: {channels: [8, 16], norm_groups: 4}}, sampling_steps: 4}
recipe: [{quantize: {bits: {choice: [32, 8]}}}]
objectives: [fid, size_mb, latency_ms]
"""


@pytest.fixture
def foresight(tmp_path: Path, cache: Cache) -> Foresight:
    (tmp_path / "space.yaml").write_text(SPACE)
    space = Space.read(tmp_path / "space.yaml")
    return Foresight(space, planned_teacher(space), ONE_CORE, {})


def test_a_teacher_faster_than_predicted_does_not_exclude_its_equals(foresight: Foresight) -> None:
    whole = {"quantize.bits": 32}
    predicted = foresight.of(whole).costs["latency_ms"]
    of_teacher = {"latency_ms": predicted / (1.5 * PREDICTION_SLACK)}
    assert foresight.of(whole).reasons == ()
    assert replace(foresight, limits=of_teacher).of(whole).reasons == ()
    written = replace(foresight, space=replace(foresight.space, limits=of_teacher), limits=of_teacher)
    assert "latency_ms" in written.of(whole).reasons[0]


def test_exact_costs_are_held_to_the_limit_and_predicted_ones_to_a_little_more(foresight: Foresight) -> None:
    whole = {"quantize.bits": 32}
    costs = foresight.of(whole).costs
    limits = {"size_mb": costs["size_mb"] * 0.99, "latency_ms": costs["latency_ms"] * 0.99}
    written = replace(foresight, space=replace(foresight.space, limits=limits), limits=limits)
    (reason,) = written.of(whole).reasons
    assert reason.startswith("size_mb")
    assert written.of({"quantize.bits": 8}).costs["size_mb"] < limits["size_mb"]


def test_what_is_only_beyond_a_limit_is_possible_and_has_costs(foresight: Foresight) -> None:
    whole = {"quantize.bits": 32}
    costs = foresight.of(whole).costs
    small = replace(foresight, limits={"size_mb": costs["size_mb"] / 2})
    known = small.of(whole)
    assert known.reasons and known.is_possible and known.costs == costs
