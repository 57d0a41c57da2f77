"""Every command and snippet of README and docs runs, on a tiny space with a small budget; every link leads on."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from search import rehearsal
from trainers.command import command

# What makes the README's commands short: the tiny space in place of the shipped one, and budgets to match.
SHORTER = {
    "spaces/pruning_ratios.yaml": "tiny.yaml",
    "studies/compact_cifar10_small/claims.yaml": "claims.yaml --workers 1",
    "--what sensitivity": "--what sensitivity --samples 64",
    "studies/runs/pruning_ratios": "studies/runs/tiny",
    "spaces/combined.yaml --address auto": "tiny.yaml --address auto --dry-run",
    "my-space.yaml": "tiny.yaml",
    "--points 5": "--points 2 --images 1_000",
    "--trials 48": "--trials 6",
    "--name four_steps": "--name four_steps --trials 1",
    "--max size_mb=0.3": "--max size_mb=1",
    "--max latency_ms=40": "--max latency_ms=10000",
    "--max size_mb=0.06": "--max size_mb=1",
    "--max latency_ms=25": "--max latency_ms=10000",
    " --images 60_000": "",
}

CLAIMS = """\
name: tiny
teacher:
  network: {unet: {channels: [8, 16], norm_groups: 4}}
  images: 20_000
  learning_rate: 0.003
  sampling_steps: 10
objectives: [{fid: {extractor: labels, samples: 200}}]
images: 256
seeds: 1
recipes: {whole: [{finetune: {batch: 64}}], pruned: [{prune: {ratio: 0.5}}, {finetune: {batch: 64}}]}
claims: [{claim: pruning costs quality, better: whole, than: pruned}]
"""

CANDIDATE = """\
prune.rule: paper
prune.criterion: magnitude
prune.ratio.mid: 0.5
prune.ratio.up_0: 0.5
distil.sampling_steps: 5
quantize.bits: 8
"""


PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (Path(__file__).parents[2] / "docs").glob("*.md"))]


def blocks(repository: Path, language: str, page: str = "README.md") -> list[str]:
    text = (repository / page).read_text()
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    return [block for written, block in found if written == language]


def commands(repository: Path, page: str) -> list[str]:
    lines = [line.split("#")[0].strip() for block in blocks(repository, "", page) for line in block.splitlines()]
    return [line for line in lines if line.startswith("python -m ")]


def call(line: str, monkeypatch: pytest.MonkeyPatch) -> int:
    module, *words = shlex.split(line.removeprefix("python -m "))
    monkeypatch.setattr(sys, "argv", [module, *words])
    with pytest.raises(SystemExit) as left:
        command(import_module(module).main, name=module)
    return int(left.value.code or 0)


def run(line: str, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for long, short in SHORTER.items():
        line = line.replace(long, short)
    if "search.run tiny" in line and "--dry-run" not in line:
        line += " --workers 0"
    if "search.simulate" in line:
        line = line.replace("studies/", f"{repository}/studies/")
        line += " --trials 3 --samplers random --seeds 1 --out simulation.html"
    if "search.export" in line:
        shutil.rmtree("my-student", ignore_errors=True)
        line += " --images 1_000"
    if "trainers.full" in line:
        # Another test reads what this leaves out.
        line += " --no-exchange"
    assert call(line, monkeypatch) == 0, line


@pytest.mark.parametrize("page", PAGES)
def test_every_command_runs(repository: Path, study: Path, monkeypatch: pytest.MonkeyPatch, page: str) -> None:
    # Whether an estimate is good is another test's question.
    for name, least in (("_SECONDS", 0.1), ("_BATCHES", 2), ("_CANDIDATES", 1), ("_FURTHER", 1)):
        monkeypatch.setattr(rehearsal, name, least)
    Path("claims.yaml").write_text(CLAIMS)
    Path("candidate.yaml").write_text(CANDIDATE)
    # What an earlier page shows has been run with that one.
    before = [line for earlier in PAGES[: PAGES.index(page)] for line in commands(repository, earlier)]
    for line in commands(repository, page):
        if line not in before:
            run(line, repository, monkeypatch)


def test_the_readme_shows_every_command(repository: Path) -> None:
    shown = {line.split()[2] for line in commands(repository, "README.md")}
    searches = {
        f"search.{path.stem}" for path in (repository / "search").glob("*.py") if "command(main" in path.read_text()
    }
    assert shown == {*searches, "trainers.full"}


def test_the_python_example_runs(repository: Path, study: Path) -> None:
    example, _ = blocks(repository, "python")
    trial = next(study.glob("trials/*/model.safetensors")).parent
    scope: dict = {}
    exec(example.replace("my-student/model", str(trial)), scope)  # noqa: S102 (our own README)
    assert scope["images"].shape == (16, 1, 8, 8)


def test_a_study_in_python(repository: Path, study: Path) -> None:
    _, example = blocks(repository, "python")
    scope: dict = {}
    exec(example.replace("studies/runs/pruning_ratios", str(study)), scope)  # noqa: S102 (our own README)
    assert len(scope["study"].table()) >= 5


def test_the_space_in_the_readme_is_one(repository: Path, tmp_path: Path) -> None:
    from search.space import Space

    (example,) = blocks(repository, "yaml")
    (tmp_path / "readme.yaml").write_text(example)
    space = Space.read(tmp_path / "readme.yaml")
    assert len(space.knobs) == 5 and space.limits == {"fid": 60.0}


@pytest.mark.parametrize("page", PAGES[1:])
def test_parts_of_a_space_in_the_docs_are_ones(repository: Path, tmp_path: Path, page: str) -> None:
    from ruamel.yaml import YAML

    from search.space import Space

    for block in blocks(repository, "yaml", page):
        space = {"teacher": {"network": {"unet": {"channels": [8, 16]}}}, "recipe": [], **YAML(typ="safe").load(block)}
        with (tmp_path / "space.yaml").open("w") as file:
            YAML().dump(space, file)
        Space.read(tmp_path / "space.yaml")


def test_the_piece_in_the_docs_is_one(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from trainers.compression.criteria.criterion import CRITERIA

    module = ModuleType("example")
    monkeypatch.setitem(sys.modules, "example", module)
    (example,) = blocks(repository, "python", "docs/adding-a-piece.md")
    CRITERIA.names()
    monkeypatch.setattr(CRITERIA, "_pieces", dict(CRITERIA._pieces))
    monkeypatch.setattr(CRITERIA, "_read", None)
    exec(example, vars(module))  # noqa: S102 (our own page)
    piece = CRITERIA.parse({"largest_weight": {"power": 2.0}})
    weight_CK = torch.tensor([[1.0, -3.0], [2.0, 0.5]])
    assert piece.score(weight_CK, None, torch.Generator()).tolist() == [9.0, 4.0]


@pytest.mark.parametrize("page", PAGES)
def test_files_and_links_exist(repository: Path, page: str) -> None:
    text = (repository / page).read_text()
    for link in re.findall(r"\]\((?!http)([^)]+)\)", text):
        path, _, heading = link.partition("#")
        target = (repository / page).parent / path
        assert target.is_file(), link
        assert not heading or heading in headings(target), link


def headings(page: Path) -> list[str]:
    """As GitHub names them in links."""
    written = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in written]
