"""The size of the file is that of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from objectives.file import FileMb
from objectives.size import SizeMb
from trainers.models import files
from trainers.models.diffusion_model import DiffusionModel
from trainers.recipe import Recipe
from trainers.run import Run

PIECES = [
    [],
    [{"prune": {"ratio": 0.4, "criterion": "magnitude"}}],
    [{"prune": {"ratio": 0.4, "criterion": "magnitude"}}, {"quantize": {"bits": 4}}],
]


@pytest.mark.parametrize("recipe", PIECES)
def test_is_the_file_to_the_last_byte_and_nearly_predicted(
    recipe: list[object], tiny: DiffusionModel, run: Run, tmp_path: Path
) -> None:
    model = Recipe.parse(recipe).run(run) if recipe else tiny
    files.save(model, tmp_path)
    measured = FileMb().measure(model, run).value
    assert measured == (tmp_path / files.FILE).stat().st_size / 1e6
    predicted = FileMb().predict(model.spec, None)  # type: ignore[arg-type]
    # The log and the surviving channels are what is missing.
    missing = 200 + len(str(model.log)) + len(str(dict(model.survivors))) + len(str(model.notes))
    assert 0 < 1e6 * (measured - predicted) < 1.5 * missing
    assert 0.005 < measured - SizeMb().measure(model, run).value < 0.04
