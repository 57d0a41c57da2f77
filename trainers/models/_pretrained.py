"""Folders of diffusers: where the parts of a model are, and its weights. Only safetensors files are read."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from trainers.errors import UserError
from trainers.foreign import LONGEST_REASON, bytes_inside, file_inside, place_of
from trainers.visible import all_visible

if TYPE_CHECKING:
    from diffusers import ModelMixin

WEIGHTS = "diffusion_pytorch_model.safetensors"
_INDEX = f"{WEIGHTS}.index.json"
WEIGHT_FILES = (WEIGHTS, _INDEX, "diffusion_pytorch_model-*-of-*.safetensors")
# Those of published models have some thousand bytes; the longest list of weights some hundred thousand.
_MOST_BYTES = 4 * 2**20
_MOST_FILES = 1_000

Model = TypeVar("Model", bound="ModelMixin")


def local_folder(source: str, *, option: str) -> Path | None:
    """The folder, if the source means one; None for a hub id.

    Args:
        option: Where the source was written, for messages.

    Raises:
        UserError: when it reads like a path but nothing is there.
    """
    path = place_of(source)
    if path.is_dir():
        return path
    if path.exists():
        raise UserError(
            f"{option}: {source} is a file. Give the folder of the model, or a Slimfront .safetensors file."
        )
    # `owner/name` could be both; where a folder `owner` exists, a misspelt path is the likelier meaning.
    if not re.fullmatch(r"[\w.-]*\w[\w.-]*/[\w.-]+", source) or source.startswith(".") or path.parent.is_dir():
        raise UserError(
            f"{option}: {source} does not exist (looked for {path.absolute()}). "
            "Give a model folder that exists, or a hub id of the form owner/name."
        )
    return None


def first_file(folder: Path, names: Sequence[str]) -> Path | None:
    """The first of ``names`` that is there.

    Raises:
        UserError: when it leads out of the folder.
    """
    return next((found for name in names if (found := file_inside(folder, name))), None)


def check_weights(folder: Path) -> None:
    """Refuse a folder without safetensors weights, and links of them that lead out of it."""
    _weight_files(folder)


def _weight_files(folder: Path) -> list[Path]:
    """The files of weights, as diffusers will look for them.

    Raises:
        UserError: when there are none, or they cannot be told from the list of them, or lead out of the folder.
    """
    if whole := file_inside(folder, WEIGHTS):
        return [whole]
    if file_inside(folder, _INDEX) is None:
        raise UserError(
            f"{folder} has no {WEIGHTS}; other formats, such as .bin, can run code when they are opened. "
            "Save the model with diffusers' save_pretrained(..., safe_serialization=True), or choose another one."
        )
    written = options_in(folder / _INDEX).get("weight_map")
    # Each is named for every weight in it.
    names = {str(name) for name in written.values()} if isinstance(written, dict) else set()
    found = [file_inside(folder, name) if "/" not in name else None for name in sorted(names)[:_MOST_FILES]]
    files = [file for file in found if file is not None]
    if not files or len(files) < len(names):
        raise UserError(
            f"{folder / _INDEX} does not say in which files of {folder} the weights are. Fetch or save the model again."
        )
    return files


def options_in(file: Path) -> dict[str, Any]:
    """What a JSON file says.

    Raises:
        UserError: when it is damaged, far too large, or leads out of its folder.
    """
    content = bytes_inside(file.parent, file.name, most=_MOST_BYTES)
    try:
        read = all_visible(json.loads(content or b""))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} cannot be read ({error}). Fetch or save the model again.") from None
    if not isinstance(read, dict):
        raise UserError(f"{file} holds a {type(read).__name__}, not options. Fetch or save the model again.")
    return read


def pretrained(kind: type[Model], folder: Path, *, parameters: int) -> Model:
    """The network in float32 on the CPU, all weights under their present names: diffusers renames those of old files.

    Args:
        parameters: That it will have by its configuration.

    Raises:
        UserError: when a weight is missing, left over or unreadable.
    """
    import torch
    from safetensors import SafetensorError

    from trainers.models.files import UNFIT

    held = sum(file.stat().st_size for file in _weight_files(folder))
    # diffusers would take the memory for all of them before it looks for the first.
    if held < parameters:
        raise UserError(
            f"the weights in {folder} cannot be loaded ({held:,} bytes for the {parameters:,} parameters that its "
            "config.json describes). Fetch or save the model again."
        )
    try:
        # The global random stream stays where it is: diffusers draws first weights before it loads the real ones.
        with torch.random.fork_rng(devices=[]), _silent_diffusers():
            net, info = kind.from_pretrained(
                str(folder),
                use_safetensors=True,
                local_files_only=True,
                torch_dtype=torch.float32,
                output_loading_info=True,
            )
    except (SafetensorError, *UNFIT) as error:
        reason = (str(error).strip().partition("\n")[0] or type(error).__name__)[:LONGEST_REASON].rstrip(".")
        raise UserError(
            f"the weights in {folder} cannot be loaded ({reason}). Fetch or save the model again."
        ) from None
    # diffusers fills gaps with random weights and only warns.
    for gap, words in (("missing_keys", "lack"), ("unexpected_keys", "have, beside what the network needs,")):
        if info[gap]:
            raise UserError(f"the weights in {folder} {words} {_some(info[gap])}. Fetch or save the model again.")
    # diffusers gives them as they lie in the file: copied for the same reason as in ``read_tensors``.
    for tensor in (*net.parameters(), *net.buffers()):
        tensor.data = tensor.data.clone()
    return net


@contextmanager
def _silent_diffusers() -> Iterator[None]:
    from diffusers.utils import logging as diffusers_logging

    level = diffusers_logging.get_verbosity()
    diffusers_logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        diffusers_logging.set_verbosity(level)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(sorted(names)[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
