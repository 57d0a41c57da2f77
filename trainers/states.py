"""A training state on disk: what a trial needs to go on from a rung, in a fresh process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from trainers.atomic import write_atomically
from trainers.errors import UserError
from trainers.foreign import in_one_line
from trainers.models import files
from trainers.run import TrainingState, UnfitStateError
from trainers.tensor_file import read_tensors

if TYPE_CHECKING:
    from torch import Tensor

STATE_FILE = "training.safetensors"
_MODEL, _TRAINING, _BESIDE = "model:", "training:", "beside:"


def save_state(state: TrainingState, folder: Path, *, name: str = STATE_FILE) -> None:
    """Write the state into ``folder`` in place of an older one.

    Weights, optimiser and progress are one file: a state that is cut short leaves the older one whole, and weights of
    one never meet the optimiser of another.
    """
    from safetensors.torch import save

    model, metadata = files.packed(state.model)
    tensors = {f"{_MODEL}{name}": tensor for name, tensor in model.items()}
    tensors |= {f"{_TRAINING}{name}": tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()}
    for role, other in state.beside.items():
        held, written = files.packed(other)
        tensors |= {f"{_BESIDE}{role}:{key}": tensor for key, tensor in held.items()}
        metadata[f"{_BESIDE}{role}"] = json.dumps(written)
    metadata["progress"] = json.dumps({"stage": state.stage, "images": state.images})
    write_atomically(folder / name, save(tensors, metadata=metadata))


def load_state(folder: Path, *, name: str = STATE_FILE, device: str = "cpu") -> TrainingState | None:
    """The state in ``folder``, or None when there is none.

    Raises:
        UnfitStateError: when it is damaged, or none of ours.
    """
    from safetensors import SafetensorError

    path = folder / name
    if not path.is_file():
        return None
    try:
        held, metadata = read_tensors(path, device=device)
        progress = json.loads(metadata["progress"])
        beside = {
            key.removeprefix(_BESIDE): files.unpacked(_under(f"{key}:", held), json.loads(written))
            for key, written in metadata.items()
            if key.startswith(_BESIDE)
        }
        model = files.unpacked(_under(_MODEL, held), metadata)
        stage, images = progress["stage"], progress["images"]
        if type(stage) is not int or type(images) is not int:
            raise TypeError("its stage and images are no numbers")
        return TrainingState(stage, images, model, _under(_TRAINING, held), beside)
    except (SafetensorError, UserError, *files.UNFIT) as error:
        raise UnfitStateError(f"it cannot be read: {in_one_line(error)}") from None


def _under(kind: str, held: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(kind): tensor for name, tensor in held.items() if name.startswith(kind)}


def drop_state(folder: Path, *, name: str = STATE_FILE) -> None:
    """Remove the state in ``folder``, where there is one."""
    (folder / name).unlink(missing_ok=True)
