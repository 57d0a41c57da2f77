"""What every driver of the fault table needs, imported once by the process that they are forked from."""

from __future__ import annotations

import importlib
import os
import pkgutil

os.environ["HF_HUB_OFFLINE"] = "1"

import alembic.command  # noqa: F401
import diffusers.models.unets.unet_2d  # noqa: F401
import optuna.storages  # noqa: F401
import PIL.Image  # noqa: F401
import plotly.graph_objects  # noqa: F401
import rich.console  # noqa: F401
import sklearn.datasets  # noqa: F401
import sqlalchemy.dialects.sqlite  # noqa: F401
import torch
import torch_fidelity  # noqa: F401
import torch_pruning  # noqa: F401

import objectives
import search
import search.preflight
import trainers

_LEFT_OUT = ("search.tune", "search.trackers")
"""Ray cannot be forked, and no space here asks for a tracker."""

torch.set_num_threads(1)
for _package in (trainers, objectives, search):
    for _module in pkgutil.walk_packages(_package.__path__, f"{_package.__name__}."):
        if not _module.name.startswith(_LEFT_OUT):
            importlib.import_module(_module.name)

# The check before a search draws so many candidates; of a space with one knob, a few say the same.
search.preflight._RANDOM_CANDIDATES = 3


def _rehearse() -> None:
    """One search in this process: what is made once per process, and what lies in the cache, is made here."""
    import contextlib
    import gc
    import io
    import tempfile
    from pathlib import Path

    from search.run import main
    from tests.faults.home import make_home

    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        os.chdir(make_home(Path(folder)))
        try:
            main(Path("fault.yaml"), workers=0)
        finally:
            os.chdir(before)
    gc.collect()
    gc.freeze()


_rehearse()
