"""A clock that the tests move."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from objectives import _timing
from trainers.models.diffusion_model import DiffusionModel


@dataclass
class Clock:
    """Seconds that pass only where a network is called, so that a busy machine changes nothing."""

    now: float = 0.0

    def charged(self, model: DiffusionModel, *, seconds: float = 0.0, seconds_per_image: float = 0.0) -> DiffusionModel:
        """The model, with a time for each call of its network."""

        def advance(net: object, inputs: tuple[object, ...]) -> None:
            self.now += seconds + seconds_per_image * len(inputs[0])  # type: ignore[arg-type]

        model.net.register_forward_pre_hook(advance)
        return model


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Measurements read it."""
    return in_place_of_time(monkeypatch)


def in_place_of_time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that measurements read."""
    found = Clock()
    names = ("perf_counter", "thread_time", "monotonic")
    monkeypatch.setattr(_timing, "time", SimpleNamespace(**{name: lambda: found.now for name in names}))
    return found
