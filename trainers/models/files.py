"""Models on disk: one safetensors file whose metadata holds the ArchSpec. Nothing is ever unpickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainers.atomic import write_atomically
from trainers.errors import UserError
from trainers.foreign import file_inside, in_one_line, is_number, place_of
from trainers.models import float16, linear4bit
from trainers.models.arch_spec import ArchSpec
from trainers.models.building import assembled
from trainers.models.diffusion_model import DiffusionModel
from trainers.tensor_file import read_tensors
from trainers.visible import all_visible

FILE = "model.safetensors"
_FORMAT = "slimfront-1"
#: What the builders of networks raise for descriptions that only a damaged file, or a stranger's, holds.
UNFIT = (
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError),
    *(RuntimeError, OSError, MemoryError),
)


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
    from safetensors import SafetensorError

    path = place_of(path)
    # A file that is named itself may be a link; one inside a folder may not lead out of it.
    file = path if path.suffix == ".safetensors" else file_inside(path, FILE) or path / FILE
    if not file.is_file():
        raise UserError(f"{file} does not exist. Give a folder that `trainers.full` or `search.export` wrote.")
    try:
        return unpacked(*read_tensors(file, device=str(device)))
    except (SafetensorError, UserError, *UNFIT) as error:
        raise UserError(f"{file} is not a Slimfront model: {in_one_line(error)}. Export or train it again.") from None


def packed(model: DiffusionModel) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The model as tensors on the CPU and metadata, as safetensors holds them.

    What the spec stores in 16 bits is cast to float16; it was rounded when the model was made, so nothing is lost.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.net.state_dict().items()}
    for name in float16.names_in_float16(model.spec):
        half = state[name].half()
        assert torch.equal(half.to(state[name].dtype), state[name]), f"{name} has values that float16 cannot hold"
        state[name] = half
    state = linear4bit.written(model.spec, state)
    metadata = {
        "format": _FORMAT,
        "spec": model.spec.to_json(),
        "log": json.dumps(model.log),
        "notes": json.dumps(model.notes),
    }
    if model.survivors:
        metadata["survivors"] = json.dumps(dict(model.survivors))
    return state, metadata


def unpacked(state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> DiffusionModel:
    """The model that ``packed`` took apart.

    Raises:
        UserError, or one of ``UNFIT``: when these do not make a model.
    """
    if metadata.get("format") != _FORMAT:
        raise ValueError(f"its format is {metadata.get('format')!r}, expected {_FORMAT!r}")
    spec = ArchSpec.from_json(metadata["spec"])
    log, notes = (_json_list(metadata, key) for key in ("log", "notes"))
    if not all(_is_note(note) for note in notes):
        raise ValueError("its notes do not say what was asked and what was achieved")
    _check_layers(spec, state)
    net = assembled(spec, _in_float32(spec, linear4bit.read(spec, state)))
    _check_types(net)
    return DiffusionModel(
        net=net,
        spec=spec,
        log=tuple(log),
        notes=tuple(notes),
        survivors=_survivors(metadata),
    )


def _in_float32(spec: ArchSpec, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    restored = dict(state)
    for name in float16.names_in_float16(spec):
        if state[name].dtype != torch.float16:
            raise ValueError(f"{name} is {state[name].dtype}, expected float16")
        restored[name] = state[name].float()
    return restored


def _check_layers(spec: ArchSpec, state: Mapping[str, Tensor]) -> None:
    """Every tensor is of a layer; and a layer has a number for each output, so that no wider one is built in vain."""
    for name in state:
        if spec.layers.keys().isdisjoint(accumulate(name.split("."), "{}.{}".format)):
            raise ValueError(f"its architecture has no layer for {name}")
    held = 2 * sum(tensor.numel() for tensor in state.values())  # two weights of 4 bits are one number
    for name, layer in spec.layers.items():
        if layer.outputs > held:
            raise ValueError(f"its {name} has {layer.outputs} outputs, and the file holds {held} weights at most")


def _check_types(net: nn.Module) -> None:
    """Weights of another type would be taken as they are, and fail where they first meet an image."""
    for name, tensor in net.state_dict().items():
        if tensor.dtype not in (torch.float32, torch.int8, torch.uint8):
            raise ValueError(f"its {name} is {tensor.dtype}, expected float32")


def _is_note(found: object) -> bool:
    """Whether it says in words of what it is, and in words or numbers what was asked and what was achieved."""
    if not isinstance(found, dict) or not isinstance(found.get("what"), str):
        return False
    return all(isinstance(found.get(key), str) or is_number(found.get(key)) for key in ("asked", "achieved"))


def _survivors(metadata: Mapping[str, str]) -> dict[str, tuple[int, ...]]:
    """Which channels each coupled group kept; empty when no group lost any."""
    written = json.loads(metadata.get("survivors", "{}"))
    if not isinstance(written, dict):
        raise ValueError("its survivors are not an object")
    survivors = {}
    for group, channels in written.items():
        is_list = isinstance(channels, list) and all(type(channel) is int for channel in channels)
        if not is_list or channels != sorted(set(channels)) or any(channel < 0 for channel in channels):
            raise ValueError(f"its survivors of {group!r} are not channel numbers in rising order")
        survivors[group] = tuple(channels)
    return survivors


def _json_list(metadata: Mapping[str, str], key: str) -> list[Any]:
    value = all_visible(json.loads(metadata[key]))
    if not isinstance(value, list):
        raise ValueError(f"its {key} is not a list")
    return value


def _file(path: Path) -> Path:
    return path if path.suffix == ".safetensors" else path / FILE
