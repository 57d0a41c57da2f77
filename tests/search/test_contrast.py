"""Studies compared: whose front is further, what it dominates, what seeds attain, and where knobs agree."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search import compare
from search.contrast.attainment import surfaces
from search.contrast.contrast import Contrast
from search.contrast.knobs import Numbers, Shares, knob_contrasts
from search.contrast.page import page
from search.views import StudyViews
from tests.search.study_folder import study_folder, trial, write_views
from trainers.command import command
from trainers.errors import UserError


def study(folder: Path, *fids_and_sizes: tuple[float, float], **changes: Any) -> StudyViews:
    records = [trial(number, fid=fid, size_mb=size) for number, (fid, size) in enumerate(fids_and_sizes)]
    return StudyViews.open(write_views(folder, records, **changes))


def test_the_figures_are_those_of_a_known_case(tmp_path: Path) -> None:
    """Of A's three points one is dominated by B, of B's two none; only FID and size differ, below limits 60 and 1.5."""
    a = study(tmp_path / "a", (30.0, 0.6), (24.0, 0.9), (45.0, 0.3))
    b = study(tmp_path / "b", (24.0, 0.6), (36.0, 0.45))
    contrast = Contrast.of([a, b])
    assert contrast.dominated == {("a", "b"): pytest.approx(2 / 3), ("b", "a"): 0.0}
    assert contrast.reference == {"fid": 60.0, "size_mb": 1.5, "macs_g": 0.0316, "latency_ms": 31.0}
    others = (1 - 0.02 / 0.0316) * (1 - 20 / 31)
    areas = {"a": 0.25 * 0.2 + 0.5 * 0.2 + 0.6 * 0.4, "b": 0.4 * 0.1 + 0.6 * 0.6}
    for side in contrast.sides:
        assert side.hypervolume == pytest.approx(areas[side.name] * others)
    assert [side.name for side in contrast.best_first] == ["b", "a"]


def test_an_objective_that_one_lacks_does_not_count(tmp_path: Path) -> None:
    whole = study(tmp_path / "whole", (30.0, 0.6), (24.0, 0.9))
    file = tmp_path / "whole" / "front.json"
    front = json.loads(file.read_text())
    front["objectives"] = [each for each in front["objectives"] if each["name"] != "latency_ms"]
    del front["limits"]["size_mb"]
    less = study(tmp_path / "less", (26.0, 0.5), objectives=front["objectives"], limits=front["limits"])
    contrast = Contrast.of([whole, less])
    assert [each.name for each in contrast.objectives] == ["fid", "size_mb", "macs_g"]
    # Where not all have a limit, the worst point bounds.
    assert contrast.reference["size_mb"] == 0.9 and contrast.reference["fid"] == 60.0


def test_surfaces_are_those_of_the_definition() -> None:
    """Against the definition, over a grid of goals and random fronts."""
    generator = np.random.default_rng(0)
    fronts = [generator.random((6, 2)) for _ in range(5)]
    found = surfaces(fronts)

    def attained(goal: np.ndarray, front: np.ndarray) -> bool:
        return bool((front <= goal).all(axis=1).any())

    for goal in generator.random((400, 2)):
        count = sum(attained(goal, front) for front in fronts)
        assert attained(goal, found["best"]) == (count >= 1)
        assert attained(goal, found["median"]) == (count >= 3)
        assert attained(goal, found["worst"]) == (count == 5)


def test_knobs_agree_as_far_as_their_distributions_do() -> None:
    fronts = {
        "a": [{"ratio": 0.1, "rule": "paper", "same": 4}, {"ratio": 0.2, "rule": "flexible", "same": 4}],
        "b": [{"ratio": 0.2, "rule": "paper", "same": 4}, {"ratio": 0.4, "rule": "paper", "same": 4}, {"ratio": 0.3}],
    }
    found = {knob.path: knob for knob in knob_contrasts({**fronts, "b": [*fronts["b"], {"lone": True}]})}
    assert found["same"].agreement == 1.0 and found["lone"].agreement is None and found["lone"].found["a"] is None
    # Half of a is below all of b; paper is half of a and all of b.
    assert found["ratio"].agreement == pytest.approx(1 - 2 / 3) and found["rule"].agreement == 0.5
    assert found["ratio"].found["b"] == Numbers(median=pytest.approx(0.3), low=0.2, high=0.4)
    assert found["rule"].found["a"] == Shares(parts={"paper": 0.5, "flexible": 0.5})
    assert [knob.path for knob in knob_contrasts(fronts)] == ["ratio", "rule", "same"]


def test_seeds_of_one_space_are_a_group(tmp_path: Path, repository: Path) -> None:
    text = (repository / "studies" / "pruning_ratios" / "space.yaml").read_text()
    views = []
    for name, changed in {
        "a": text,
        "b": text.replace("seed: 0", "seed: 5"),
        "c": text.replace("bits: {choice: [32, 8, 4]}", "bits: {choice: [8, 4]}"),
        "d": None,
    }.items():
        views.append(study(tmp_path / name, (30.0, 0.6), (24.0, 0.9)))
        if changed is not None:
            (tmp_path / name / "space.yaml").write_text(changed)
    contrast = Contrast.of(views)
    assert contrast.groups == (("a", "b"),)
    assert "attained by the best, half and all" in page(contrast)
    assert "attained by" not in page(Contrast.of(views[1:]))


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    here = study(tmp_path / "here", (30.0, 0.6))
    empty = study(tmp_path / "empty", (90.0, 0.6))
    with pytest.raises(UserError, match="empty has no front"):
        Contrast.of([here, empty])
    with pytest.raises(UserError, match="--workers is for a file of recipes"):
        compare.main(here.folder, here.folder, workers=3)
    with pytest.raises(UserError, match="named twice"):
        Contrast.of([here, here])
    foreign = write_views(tmp_path / "foreign", [trial(0, by={"fid": "inception-2048d"})])
    with pytest.raises(UserError, match="inception-2048d"):
        Contrast.of([here, StudyViews.open(foreign)])


def test_the_command_shows_answers_and_writes_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [
        study_folder(tmp_path / name, seed=seed) for seed, name in enumerate(("one", "<script>alert(1)</script>"))
    ]

    def call(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["search.compare", *words])
        with pytest.raises(SystemExit) as left:
            command(compare.main, name="search.compare")
        return int(left.value.code or 0)

    assert call(*map(str, folders), "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    contrast = Contrast.of([StudyViews.open(folder) for folder in folders])
    assert [each["hypervolume"] for each in answer["studies"]] == [side.hypervolume for side in contrast.sides]
    assert {knob["path"] for knob in answer["knobs"]} == {knob.path for knob in contrast.knobs}
    written = Path(answer["page"]).read_text()
    assert "Plotly" in written and "<script>alert" not in written
    assert call(*map(str, folders), "--out", str(tmp_path / "page.html")) == 0
    said = capsys.readouterr().out
    assert "has the larger hypervolume" in said and (tmp_path / "page.html").is_file()
    assert call(str(folders[0])) == 2 and "compare it with which other?" in capsys.readouterr().err
