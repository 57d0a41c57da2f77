"""Models on disk: one safetensors file whose metadata holds the ArchSpec. Nothing is ever unpickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainers.atomic import write_atomically
from trainers.errors import UserError
from trainers.models.arch_spec import ArchSpec
from trainers.models.building import assembled
from trainers.models.diffusion_model import DiffusionModel

FILE = "model.safetensors"
_FORMAT = "slimfront-1"


def save(model: DiffusionModel, path: Path) -> None:
    """Write the model to ``path`` (a file, or a folder that gets ``model.safetensors``), whole or not at all."""
    from safetensors.torch import save as to_bytes

    state, metadata = packed(model)
    write_atomically(_file(path), to_bytes(state, metadata=metadata))


def load(path: Path | str, *, device: torch.device | str = "cpu") -> DiffusionModel:
    """The model in ``path``, a file or a folder with ``model.safetensors``.

    Raises:
        UserError: when there is none, or it is damaged or not one of ours.
    """
    from safetensors import SafetensorError, safe_open

    file = _file(Path(path))
    if not file.is_file():
        raise UserError(f"{file} does not exist. Give a folder that `trainers.full` or `search.export` wrote.")
    try:
        with safe_open(file, framework="pt", device=str(device)) as opened:
            metadata: dict[str, str] = opened.metadata() or {}
            state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a dict)
        return unpacked(state, metadata)
    except (SafetensorError, ValueError, KeyError, TypeError, UserError) as error:
        raise UserError(f"{file} is not a Slimfront model: {error}. Export or train it again.") from None


def packed(model: DiffusionModel) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The model as tensors on the CPU and metadata, as safetensors holds them."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.net.state_dict().items()}
    metadata = {
        "format": _FORMAT,
        "spec": model.spec.to_json(),
        "log": json.dumps(model.log),
        "notes": json.dumps(model.notes),
    }
    return state, metadata


def unpacked(state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> DiffusionModel:
    """The model that ``packed`` took apart.

    Raises:
        ValueError, KeyError, TypeError, UserError: when these do not make a model.
    """
    if metadata.get("format") != _FORMAT:
        raise ValueError(f"its format is {metadata.get('format')!r}, expected {_FORMAT!r}")
    spec = ArchSpec.from_json(metadata["spec"])
    log, notes = (_json_list(metadata, key) for key in ("log", "notes"))
    return DiffusionModel(net=assembled(spec, state), spec=spec, log=tuple(log), notes=tuple(notes))


def _json_list(metadata: Mapping[str, str], key: str) -> list[Any]:
    value = json.loads(metadata[key])
    if not isinstance(value, list):
        raise ValueError(f"its {key} is not a list")
    return value


def _file(path: Path) -> Path:
    return path if path.suffix == ".safetensors" else path / FILE
