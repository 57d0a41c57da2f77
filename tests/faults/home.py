"""A search that is real and takes seconds: its space, the folder it runs in, and the command that runs it."""

from __future__ import annotations

from pathlib import Path

SPACE = """\
# How many channels can the middle of a very small digits DDPM lose?
name: digits_tiny
data: {name: digits}
teacher:
  network: {unet: {channels: [8, 16], norm_groups: 4}}
  images: 256
  learning_rate: 0.003
  sampling_steps: 4
recipe:
  - prune: {criterion: magnitude, ratio: {mid: {float: [0.2, 0.8]}, up_0: 0.3}}
  - distil: {sampling_steps: 2, learning_rate: 0.003, batch: 64}
objectives: [{fid: {extractor: labels, samples: 16}}, size_mb]
limits: {fid: 1_000_000}
budget: {trials: 2, images: {min: 64, max: 128, factor: 2}}
confirm: 1
sampler: {random: {seed: 5}}
"""
NAME = "fault"
"""Of the study, by ``--name``. Its space has another one, so that each command named in a message must say it."""


def make_home(folder: Path, text: str = SPACE) -> Path:
    """A working directory with the space in it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fault.yaml").write_text(text)
    return folder


def study_of(home: Path) -> Path:
    """The study's folder."""
    return home / "studies/runs" / NAME
