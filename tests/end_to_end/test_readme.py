"""Every command of the README runs, on a tiny space and with a small budget; every path it names is there."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from importlib import import_module
from pathlib import Path

import pytest

from trainers.command import command

# What makes the README's commands short: the tiny space in place of the shipped one, and budgets to match.
SHORTER = {
    "spaces/pruning_ratios.yaml": "tiny.yaml",
    "studies/compact_cifar10_small/claims.yaml": "claims.yaml --workers 1",
    "--what sensitivity": "--what sensitivity --samples 64",
    "studies/runs/pruning_ratios": "studies/runs/tiny",
    "--trials 48": "--trials 8",
    "--name four_steps": "--name four_steps --trials 1",
    "--max size_mb=0.3": "--max size_mb=1",
    "--max latency_ms=40": "--max latency_ms=10000",
}

CLAIMS = """\
name: tiny
teacher:
  network: {unet: {channels: [8, 16], norm_groups: 4}}
  images: 60_000
  learning_rate: 0.003
  sampling_steps: 10
objectives: [{fid: {extractor: labels, samples: 200}}]
images: 256
seeds: 1
recipes: {whole: [{finetune: {batch: 64}}], pruned: [{prune: {ratio: 0.5}}, {finetune: {batch: 64}}]}
claims: [{claim: pruning costs quality, better: whole, than: pruned}]
"""


def blocks(repository: Path, language: str) -> list[str]:
    text = (repository / "README.md").read_text()
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    return [block for written, block in found if written == language]


def commands(repository: Path) -> list[str]:
    lines = [line.split("#")[0].strip() for block in blocks(repository, "") for line in block.splitlines()]
    return [line for line in lines if line.startswith("python -m ")]


def call(line: str, monkeypatch: pytest.MonkeyPatch) -> int:
    module, *words = shlex.split(line.removeprefix("python -m "))
    monkeypatch.setattr(sys, "argv", [module, *words])
    with pytest.raises(SystemExit) as left:
        command(import_module(module).main, name=module)
    return int(left.value.code or 0)


def test_every_command_runs(repository: Path, study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = commands(repository)
    assert len(found) >= 12
    Path("claims.yaml").write_text(CLAIMS)
    assert {line.split()[2] for line in found} == {
        "search.analyse",
        "search.compare",
        "search.run",
        "search.simulate",
        "search.best",
        "search.export",
        "trainers.full",
    }
    for line in found:
        for long, short in SHORTER.items():
            line = line.replace(long, short)
        if "search.run tiny" in line and "--dry-run" not in line:
            line += " --workers 0"
        if "search.simulate" in line:
            line = line.replace("studies/", f"{repository}/studies/")
            line += " --trials 3 --samplers random --seeds 1 --out simulation.html"
        if "search.export" in line:
            shutil.rmtree("my-student", ignore_errors=True)
            line += " --images 2_000"
        assert call(line, monkeypatch) == 0, line
    assert Path("my-student/model/model.safetensors").is_file()


def test_every_heading_with_a_command_names_a_real_one(repository: Path) -> None:
    named = re.findall(r"^## .*`python -m ([\w.]+)", (repository / "README.md").read_text(), flags=re.MULTILINE)
    assert len(named) == 8
    for module in named:
        assert callable(import_module(module).main)


def test_the_python_example_runs(repository: Path, study: Path) -> None:
    (example,) = blocks(repository, "python")
    trial = next(study.glob("trials/*/model.safetensors")).parent
    scope: dict = {}
    exec(example.replace("my-student/model", str(trial)), scope)  # noqa: S102 (our own README)
    assert scope["images"].shape == (16, 1, 8, 8)


def test_the_space_in_the_readme_is_one(repository: Path, tmp_path: Path) -> None:
    from search.space import Space

    (example,) = blocks(repository, "yaml")
    (tmp_path / "readme.yaml").write_text(example)
    space = Space.read(tmp_path / "readme.yaml")
    assert len(space.knobs) == 5 and space.limits == {"fid": 60.0}


def test_files_and_links_exist(repository: Path) -> None:
    text = (repository / "README.md").read_text()
    for path in re.findall(r"\]\((?!http)([^)]+)\)", text):
        assert (repository / path).is_file(), path
