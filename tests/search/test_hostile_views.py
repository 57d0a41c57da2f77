"""View files of a study that are far too large, or hold numbers that nothing can be computed with: one message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from search.views import StudyViews
from tests.fuzz.mutations import replaced
from tests.fuzz.watch import at_most
from tests.search.study_folder import study_folder
from trainers.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return study_folder(tmp_path / "study", trials=16)


def refusal(folder: Path) -> str:
    with at_most(10), pytest.raises(UserError) as error:
        StudyViews.open(folder)
    assert len(str(error.value)) < 1_500
    return str(error.value)


@pytest.mark.parametrize("number", ["1" + "0" * 400, "-1" + "0" * 400, "1e999", "-1e999"])
@pytest.mark.parametrize(
    ("file", "path"),
    [
        ("trials.jsonl", ("candidate", "prune.ratio")),
        ("trials.jsonl", ("candidate", "deep", 0, "in")),
        ("trials.jsonl", ("achieved", 0, "asked")),
        ("trials.jsonl", ("images",)),
        ("trials.jsonl", ("number",)),
        ("trials.jsonl", ("samples", "fid")),
        ("front.json", ("points", 0, "candidate", "prune.ratio")),
        ("front.json", ("points", 0, "trial")),
        ("front.json", ("knee",)),
        ("front.json", ("budget_trials",)),
        ("front.json", ("budget_images",)),
    ],
)
def test_numbers_beyond_all_others_are_damage(folder: Path, file: str, path: tuple[Any, ...], number: str) -> None:
    first, *others = (folder / file).read_text().splitlines()
    found = json.loads(first)
    (found if file == "trials.jsonl" else found["points"][0])["candidate"]["deep"] = [{"in": 1}]
    if file == "trials.jsonl":
        found["achieved"] = [{"what": "prune", "asked": 0.5, "achieved": 0.5}]
    text = json.dumps(replaced(found, path, "HERE")).replace('"HERE"', number)
    (folder / file).write_text("\n".join([text, *others]))
    assert file in refusal(folder)


@pytest.mark.parametrize("number", [1e308, -1e308, 5e-324])
@pytest.mark.parametrize(
    ("file", "path"),
    [
        ("trials.jsonl", ("values", "fid")),
        ("trials.jsonl", ("stderr", "fid")),
        ("trials.jsonl", ("confirmed", "fid", "value")),
        ("trials.jsonl", ("rungs", 0, "values", "fid")),
        ("front.json", ("points", 0, "values", "size_mb")),
        ("front.json", ("limits", "fid")),
        ("front.json", ("teacher", "values", "fid")),
        ("front.json", ("winners_curse",)),
    ],
)
def test_figures_that_no_model_has_are_damage(tmp_path: Path, file: str, path: tuple[Any, ...], number: float) -> None:
    """Their squares and ratios are no numbers, and a page cannot be drawn of them."""
    folder = study_folder(tmp_path / "study", trials=16, confirmed=True)
    lines = (folder / file).read_text().splitlines()
    at = next((place for place, line in enumerate(lines) if json.loads(line).get("confirmed")), 0)
    found = json.loads(lines[at])
    found.setdefault("rungs", [{"images": 9, "values": {}}])
    if path[0] in ("stderr", "limits"):
        number = abs(number)
    lines[at] = json.dumps(replaced(found, path, number))
    (folder / file).write_text("\n".join(lines))
    said = refusal(folder)
    assert file in said and f"the figure {number!r}, and no model has such a one" in said


def test_a_number_that_is_only_large_is_none(folder: Path) -> None:
    first, *others = (folder / "trials.jsonl").read_text().splitlines()
    found = json.loads(first)
    found["candidate"] |= {"a": 10**18, "b": 1e300, "c": True, "d": "1e999", "e": [1, {"f": None}]}
    (folder / "trials.jsonl").write_text("\n".join([json.dumps(found), *others]))
    read = StudyViews.open(folder).trials[0].candidate
    assert read == found["candidate"] and type(read["c"]) is bool and type(read["a"]) is int


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("".join(f'{{"number":{number},"state":"failed"}}\n' for number in range(210_000)), "more than 200,000 lines"),
        ('{"number":0}\r' * 210_000, "more than 200,000 lines"),
        ('{"number":0,"candidate":{"a":[' + "1," * 2**20 + "1]}}", "one of its lines has 2,097,18"),
        (('{"number":0,"candidate":{"a":[' + "[]," * 100_000 + "1]}}\n") * 60, "far more in it than the trials"),
        (('{"number":0,"candidate":{"a":[' + "1," * 500_000 + "1]}}\n") * 34, "far more in it than the trials"),
        (('{"number":0,"reason":"' + "\\u001b" * 150_000 + '"}\n') * 40, "40 of its trials have hidden characters"),
    ],
)
def test_more_than_any_study_has_is_refused_before_it_is_read(folder: Path, content: str, expected: str) -> None:
    (folder / "trials.jsonl").write_text(content, newline="")
    assert expected in refusal(folder)


def test_many_trials_are_read(folder: Path) -> None:
    first = json.loads((folder / "trials.jsonl").read_text().splitlines()[0])
    with (folder / "trials.jsonl").open("a") as file:
        file.writelines(json.dumps(first | {"number": number}) + "\n" for number in range(16, 50_000))
    with at_most(30):
        assert len(StudyViews.open(folder).trials) == 50_000
