"""The shipped spaces: each asks its question, reads, shows the published sizes, and its small twin runs to the end."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from objectives import costs
from search._knob_distributions import distribution
from search.preparation import planned_teacher
from search.rehearsal import Rehearsal
from search.run import main
from search.samplers._knob_space import KnobSpace
from search.space import Space
from tests.devices import ONE_CORE

FOLDER = Path(__file__).parents[2] / "spaces"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SMALL = [name for name in NAMES if name.endswith("_small")]
FULL = [name.removesuffix("_small") for name in SMALL]

#: Parameters of the smallest and largest model, and of the teacher between them.
SIZES = {
    "combined": (1_683_523, 35_746_307, 35_746_307),
    "compact_cifar10": (3_992_323, 35_746_307, 15_930_883),
    "diff_pruning_cifar10": (5_129_017, 35_746_307, 35_746_307),
    # 400,920,579 and 512 for each of 1,000 labels.
    "diff_pruning_latent": (94_044_621, 401_432_579, 332_361_345),
    "mnist_guided": (6_801_795, 23_335_299, 23_335_299),
    "mnist_score_network": (258_785, 1_115_297, 1_115_297),
    "progressive": (5_299_987, 61_386_499, 61_386_499),
}
#: What a work reports, with the settings that it chose: space, settings, parameters.
PUBLISHED = [
    ("compact_cifar10", ["student.network.unet.channels=[128, 256]"], 15_930_883),
    ("mnist_score_network", ["group.groups=2"], 682_145),
    ("mnist_guided", ["group.groups=2"], 12_312_963),
    ("diff_pruning_cifar10", ["prune.ratio=0.2"], 27_516_345),
    ("diff_pruning_cifar10", ["prune.ratio=0.3"], 19_868_058),
    ("diff_pruning_latent", ['prune.ratio={"*": 0.3, "*.ff.net.0.proj": 0.3}'], 203_341_341 + 512_000),
    ("diff_pruning_latent", ['prune.ratio={"*": 0.3, "*.ff.net.0.proj": 0.51}'], 189_337_878 + 512_000),
]
#: The least of everything: one trial of two batches.
BRIEF = ["teacher.images=256", "budget.images=256", "budget.trials=1", "confirm=0", "sampler=random"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Any) -> Path:
    """A folder to work in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLIMFRONT_CACHE", str(cache.folder))
    return tmp_path


@pytest.fixture
def dry_run(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[str], Any]:
    """What ``--dry-run --json`` prints of a space."""
    # The extremes are among the corners; random candidates only tell how many are feasible.
    monkeypatch.setattr("search.preflight._RANDOM_CANDIDATES", 30)
    monkeypatch.setattr("objectives.device_model.calibrated", lambda *about, **options: ONE_CORE)
    monkeypatch.setattr("search.rehearsal.rehearse", lambda *args, **options: Rehearsal())

    def dry(name: str) -> Any:
        assert main(FOLDER / f"{name}.yaml", dry_run=True, json=True) == 0
        return json.loads(capsys.readouterr().out)

    return dry


def test_every_full_space_has_a_small_twin() -> None:
    assert sorted(FULL) == sorted(SIZES)
    assert set(FULL) < set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_corners_show_when_each_knob_exists(name: str) -> None:
    """What a sampler is told beforehand is all that any number of candidates would show it."""
    space, generator = Space.read(FOLDER / f"{name}.yaml"), random.Random(0)
    knobs = {knob.path: distribution(knob) for knob in space.knobs}
    shown = KnobSpace.seen(knobs, list(space.corners()))
    assert shown == KnobSpace.seen(knobs, [space.random_candidate(generator) for _ in range(300)])
    assert set(shown.conditions) == {knob.path for knob in space.knobs if knob.condition}


@pytest.mark.parametrize("name", NAMES)
def test_a_space_opens_with_its_question(name: str) -> None:
    space = Space.read(FOLDER / f"{name}.yaml")
    assert space.name == name
    assert space.question.splitlines()[0].endswith("?")
    assert len(space.knobs) >= 5
    assert max(map(len, space.text.splitlines())) <= 140


@pytest.mark.parametrize("name", FULL)
def test_a_small_twin_asks_the_same(name: str) -> None:
    full, small = (Space.read(FOLDER / f"{each}.yaml") for each in (name, f"{name}_small"))
    assert small.objective_names == full.objective_names
    assert (small.halving is None) == (full.halving is None)
    # Fewer levels have fewer blocks, and some settings are for GPUs alone.
    kinds = {knob.path: knob.kind for knob in full.knobs}
    assert all(kinds.get(knob.path) == knob.kind for knob in small.knobs)
    assert small.data != full.data and small.resources.gpu == 0 and full.resources.gpu == 1


@pytest.mark.parametrize("name", FULL)
def test_a_full_space_shows_its_sizes_without_a_download(name: str, dry_run: Callable[[str], Any]) -> None:
    report = dry_run(name)
    assert tuple(report[each]["parameters"] for each in ("smallest", "teacher", "largest")) == SIZES[name]
    assert report["feasible_share"] > 0.5


@pytest.mark.parametrize(("name", "settings", "parameters"), PUBLISHED)
def test_the_settings_of_a_work_give_its_sizes(name: str, settings: list[str], parameters: int) -> None:
    space = Space.read(FOLDER / f"{name}.yaml", settings)
    candidate = space.random_candidate(random.Random(0))
    assert costs.parameters(space.fill(candidate).plan(planned_teacher(space))) == parameters


@pytest.mark.parametrize("name", SMALL)
def test_a_small_twin_is_small(name: str, dry_run: Callable[[str], Any]) -> None:
    report = dry_run(name)
    assert report["teacher"]["parameters"] < 1_000_000 and report["feasible_share"] > 0.5
    assert report["estimate_seconds"] * report["workers"] / 2 < 30 * 60


@pytest.mark.parametrize("name", SMALL)
def test_a_small_twin_runs_to_the_end(name: str, here: Path) -> None:
    brief = [*BRIEF, *(["data.latent.autoencoder.images=256"] if "latent" in name else [])]
    objectives = ["{fid: {extractor: labels, samples: 16}}"]
    objectives += ["{ssim: {samples: 16}}"] if "diff_pruning_cifar10" in name else []
    brief.append(f"objectives=[{', '.join(objectives)}, size_mb]")
    limits = ["limits={fid: 1e9, size_mb: 1e9}"]
    assert main(FOLDER / f"{name}.yaml", set_=[*brief, *limits], workers=0) == 0
    (trial,) = [json.loads(line) for line in (here / "studies/runs" / name / "trials.jsonl").read_text().splitlines()]
    assert trial["state"] == "complete", trial["reason"]
    assert (here / "studies/runs" / name / trial["path"] / "samples.webp").is_file()
