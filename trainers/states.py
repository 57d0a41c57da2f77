"""A training state on disk: what a trial needs to go on from a rung, in a fresh process."""

from __future__ import annotations

import json
from pathlib import Path

from trainers.atomic import write_atomically
from trainers.errors import UserError
from trainers.models import files
from trainers.run import TrainingState

_TENSORS = "training.safetensors"


def save_state(state: TrainingState, folder: Path) -> None:
    """Write the state into ``folder``; the file with the progress comes last, so a torn state is not found."""
    from safetensors.torch import save

    files.save(state.model, folder)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()}
    metadata = {"progress": json.dumps({"stage": state.stage, "images": state.images})}
    write_atomically(folder / _TENSORS, save(tensors, metadata=metadata))


def load_state(folder: Path, *, device: str = "cpu") -> TrainingState | None:
    """The state in ``folder``, or None when there is none or it is damaged: training then starts again."""
    from safetensors import SafetensorError, safe_open

    path = folder / _TENSORS
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt", device=device) as opened:
            progress = json.loads((opened.metadata() or {})["progress"])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a dict)
        return TrainingState(
            int(progress["stage"]), int(progress["images"]), files.load(folder, device=device), tensors
        )
    except (SafetensorError, UserError, KeyError, TypeError, ValueError):
        return None
