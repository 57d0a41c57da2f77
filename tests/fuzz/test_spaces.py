"""Damaged spaces: each is read and surveyed, or refused with one message; nothing else happens, and not for long.

300 by default, 40 of them by all that a dry run does but its rehearsal, which trains for a minute;
``SLIMFRONT_FUZZ=5000`` tries more, and rehearses, ``SLIMFRONT_FUZZ_SEED=x`` others.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from objectives.device_model import calibrated
from search import preflight, preparation
from search._yaml import block_text, plain, read_yaml
from search.known import Foresight
from search.rehearsal import Rehearsal
from search.session import Session
from search.space import Space
from search.space_error import Mistakes
from tests.fuzz.mutations import damaged, mutated
from tests.fuzz.watch import at_most
from trainers.errors import UserError

SEED = os.environ.get("SLIMFRONT_FUZZ_SEED", "")
CASES = int(os.environ.get("SLIMFRONT_FUZZ", "300"))
WHOLE_CASES = int(os.environ.get("SLIMFRONT_FUZZ", "40"))
CHUNK = 100
SHIPPED = sorted((Path(__file__).parents[2] / "spaces").glob("*.yaml"))
#: Read from disk or trained on for long by others: of those that are embedded, a space is followed to its costs.
SMALL = [path for path in SHIPPED if path.stem.endswith("_small") or path.stem == "pruning_ratios"]


def case(number: int, trees: dict[Path, object]) -> bytes:
    """The text of one damaged space."""
    generator = Random(f"space {number}{SEED}")
    path = generator.choice(SMALL)
    if generator.random() < 0.25:
        return damaged(path.read_bytes(), generator)
    found = mutated(trees[path], generator, donors=list(trees.values()))
    try:
        text = block_text(found) if generator.random() < 0.5 else json.dumps(found)
    except Exception:  # what cannot be written as YAML is no case
        text = json.dumps(found, default=str)
    raw = text.encode("utf-8", "surrogatepass")
    return damaged(raw, generator, times=1) if generator.random() < 0.1 else raw


@pytest.fixture(scope="module")
def trees() -> dict[Path, object]:
    found = {}
    for path in SHIPPED:
        node = read_yaml(path.read_text(), mistakes=Mistakes())
        assert node is not None
        found[path] = plain(node)
    assert len(found) > 10
    return found


@pytest.fixture
def device(monkeypatch, tmp_path, cache):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(preflight, "_RANDOM_CANDIDATES", 5)
    return calibrated(torch.device("cpu"), cache, threads=1)


def look(path: Path, device) -> bool:
    """What a dry run does before it builds and trains; whether the space was taken."""
    space = Space.read(path)
    teacher = preparation.planned_teacher(space)
    preflight.check_recipes(space, teacher, subject=str(path))
    foresight = Foresight(space, teacher, device, space.limits)
    limits = preparation.limits_of(space, foresight.costs(teacher))
    preflight.survey(Foresight(space, teacher, device, limits))
    # A search builds it when the teacher is trained.
    space.sampler.build(seed=space.sampler.seed)
    return True


@pytest.mark.parametrize("chunk", range(-(-CASES // CHUNK)))
def test_damaged_spaces_are_surveyed_or_refused(chunk, trees, device, tmp_path):
    taken = refused = 0
    for number in range(chunk * CHUNK, min(CASES, (chunk + 1) * CHUNK)):
        text = case(number, trees)
        path = tmp_path / "fuzzed.yaml"
        path.write_bytes(text)
        try:
            with at_most(10):
                taken += look(path, device)
        except UserError as error:
            refused += 1
            assert str(error).strip(), number
        except BaseException as error:
            raise AssertionError(f"space {number}: {type(error).__name__}: {error}\n{text[:3000]!r}") from error
        assert list(tmp_path.iterdir()) == [path], "a file was left behind"
    assert taken and refused


@pytest.fixture
def dry_run(monkeypatch, tmp_path, cache) -> Callable[[Path], bool]:
    """All that ``--dry-run`` does, with as many candidates as there; whether it came to its rehearsal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLIMFRONT_CACHE", str(cache.folder))
    rehearsed = Session._rehearsal

    def untimed(session: Session, *arguments: Any) -> Any:
        # What is trained lasts as long as it has to; until then, ten seconds are enough for any space.
        begun.append(True)
        signal.setitimer(signal.ITIMER_REAL, 300)
        return rehearsed(session, *arguments) if "SLIMFRONT_FUZZ" in os.environ else Rehearsal()

    def run(path: Path) -> bool:
        begun.clear()
        with at_most(10):
            assert Session(path, workers=0, name="fuzzed").go(dry_run=True, as_json=True) == 0
        return bool(begun)

    begun: list[bool] = []
    monkeypatch.setattr(Session, "_rehearsal", untimed)
    return run


def test_damaged_spaces_pass_a_whole_dry_run_or_are_refused(trees, dry_run, cache, tmp_path):
    path = tmp_path / "fuzzed.yaml"
    # What a machine does once, at its first run, must not count.
    calibrated(torch.device("cpu"), cache, threads=1)
    taken = 0
    for number in range(WHOLE_CASES):
        path.write_bytes(text := case(number, trees))
        try:
            taken += dry_run(path)
        except UserError as error:
            assert str(error).strip(), number
        except BaseException as error:
            raise AssertionError(f"space {number}: {type(error).__name__}: {error}\n{text[:3000]!r}") from error
        assert list(tmp_path.iterdir()) == [path], "a file was left behind"
    assert taken
