"""Registries: loud about duplicates and failing imports, helpful about misspelt names."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import ValidationError

from trainers.registry import Registry, suggestion
from trainers.stage import STAGES


@dataclass(frozen=True, kw_only=True)
class Blur:
    """Blurs."""

    radius: float = 1.0
    passes: tuple[int, ...] = (1, 2)


def registry() -> Registry[Blur]:
    found: Registry[Blur] = Registry("filter", folders=())
    found.register("blur")(Blur)
    return found


@pytest.mark.parametrize("written", ["blur", {"blur": None}, {"blur": {"radius": 1.0}}, {"name": "blur", "radius": 1}])
def test_three_ways_of_writing_mean_the_same(written: object) -> None:
    assert registry().parse(written) == Blur()


def test_defaults_are_left_out_when_written() -> None:
    filters = registry()
    assert filters.written(Blur()) == "blur"
    assert filters.written(Blur(passes=(3,))) == {"blur": {"passes": [3]}}
    assert filters.parse(filters.written(Blur(radius=2.5))) == Blur(radius=2.5)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("blurr", "unknown filter 'blurr'. Did you mean 'blur'?"),
        (3, "must be the name of a filter"),
        ({"blur": {"radios": 2}}, "radios"),
        ({"blur": {"radius": "wide"}}, "radius"),
    ],
)
def test_mistakes_say_what_is_allowed(written: object, message: str) -> None:
    with pytest.raises(ValidationError, match=r".*") as caught:
        registry().parse(written)
    assert message in str(caught.value)


def test_a_name_can_be_taken_once() -> None:
    @dataclass
    class Other:
        pass

    with pytest.raises(RuntimeError, match="two filter pieces are called 'blur'"):
        registry().register("blur")(Other)


def test_a_piece_must_be_a_dataclass() -> None:
    with pytest.raises(RuntimeError, match="must be a dataclass"):
        Registry("filter", folders=()).register("plain")(int)


def test_a_failing_import_stops_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "broken_pieces"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "bad.py").write_text("import nothing_of_this_name")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="nothing_of_this_name"):
        Registry("filter", folders=("broken_pieces",)).names()
    sys.modules.pop("broken_pieces", None)


def test_every_piece_says_what_it_is() -> None:
    for name, piece in STAGES:
        assert piece.__doc__ and len(piece.__doc__.splitlines()[0]) > 20, name


def test_far_names_list_everything() -> None:
    assert suggestion("zzz", ["taylor", "random"]) == "Allowed: random, taylor."
