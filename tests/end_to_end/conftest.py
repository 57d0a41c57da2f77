"""A finished study of a tiny space on real digits, weak trials stopped early, shared by the end-to-end tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from search.run import main
from trainers.cache import Cache

SPACE = """\
# Which blocks of a tiny digits DDPM can lose channels?
name: tiny
data: {name: digits}
teacher:
  network: {unet: {channels: [8, 16], norm_groups: 4}}
  images: 20_000
  learning_rate: 0.003
  sampling_steps: 10
recipe:
  - prune:
      rule: {choice: [paper, flexible]}
      criterion: {choice: [{diff_pruning: {threshold: {float: [0.0, 0.1]}}}, magnitude]}
      ratio: {mid: {float: [0.2, 0.8]}, up_0: {float: [0.2, 0.6]}}
  - distil: {sampling_steps: {choice: [5, 10]}, learning_rate: 0.003, weights: {noise: 1.0, output: 1.0}}
  - quantize: {bits: {choice: [32, 8]}}
objectives: [{fid: {extractor: labels, samples: 200}}, size_mb, macs_g, latency_ms]
limits: {fid: 100_000, latency_ms: 10_000, macs_g: 1}
constraints: ["prune.ratio.mid >= prune.ratio.up_0"]
budget: {trials: 5, images: {min: 1_000, max: 3_000}}
confirm: 2
sampler: {budget_ei: {seed: 5, startup_trials: 4}}
"""


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory, cache: Cache) -> Path:
    """A folder with the space and its study of five full trainings' worth, run in this process."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "tiny.yaml").write_text(SPACE)
    before = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLIMFRONT_CACHE", str(cache.folder))
        os.chdir(folder)
        try:
            assert main(Path("tiny.yaml"), workers=0) == 0
        finally:
            os.chdir(before)
    return folder


@pytest.fixture
def study(home: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The study's folder, with ``home`` as the working directory."""
    monkeypatch.chdir(home)
    monkeypatch.setenv("SLIMFRONT_CACHE", str(cache.folder))
    return Path("studies/runs/tiny")
