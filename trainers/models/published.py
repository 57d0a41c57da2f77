"""A teacher that somebody published: a Slimfront model, a diffusers folder, or a diffusers model on the hub.

Only safetensors files are read, so nothing is ever unpickled.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers.errors import UserError
from trainers.models.diffusion import Diffusion

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.models.network import Network

_WEIGHTS = "diffusion_pytorch_model.safetensors"
_CONFIGS = (
    "model_index.json",
    "config.json",
    "unet/config.json",
    "scheduler_config.json",
    "scheduler/scheduler_config.json",
)
_WEIGHT_FILES = (_WEIGHTS, f"{_WEIGHTS}.index.json", "diffusion_pytorch_model-*-of-*.safetensors")


def load_published(source: str, *, sampling_steps: int) -> DiffusionModel:
    """The model, on the CPU.

    Args:
        source: A Slimfront model folder or file; a folder of diffusers (a UNet2DModel, or a pipeline of one with its
            scheduler); or a hub id such as google/ddpm-cifar10-32.
        sampling_steps: Denoising steps when it draws.

    Raises:
        UserError: when it cannot be had, or is of a kind that Slimfront cannot express.
    """
    from trainers.models import files
    from trainers.models.building import assembled
    from trainers.models.diffusion_model import DiffusionModel

    ours = _slimfront_model(source)
    if ours is not None:
        model = files.load(ours)
        spec = _sampled(model.spec, sampling_steps, source)
        return replace(model, spec=spec)
    folder = _diffusers_folder(source, with_weights=True)
    spec = _spec(folder, sampling_steps, source)
    try:
        return DiffusionModel(net=assembled(spec, _weights(folder)), spec=spec)
    except ValueError as error:
        raise UserError(f"{source}: {error}. Fetch or save the model again.") from None


def published_spec(source: str, *, sampling_steps: int) -> ArchSpec:
    """The architecture that ``load_published`` will give; of a diffusers model, only the configuration is read."""
    from trainers.models import files

    ours = _slimfront_model(source)
    if ours is not None:
        return _sampled(files.load(ours).spec, sampling_steps, source)
    return _spec(_diffusers_folder(source, with_weights=False), sampling_steps, source)


def published_network(source: str) -> Network:
    """The network's options; of a Slimfront model, those before anything was removed."""
    from trainers.models import files
    from trainers.models._published_config import network_of

    ours = _slimfront_model(source)
    if ours is not None:
        return files.load(ours).spec.network
    folder = _diffusers_folder(source, with_weights=False)
    return network_of(_json(folder.config), str(folder.config))


@dataclass(frozen=True)
class _DiffusersFolder:
    """Where the parts of a diffusers model are; without ``scheduler`` when only a network was saved."""

    config: Path
    scheduler: Path | None
    index: Path | None


def _slimfront_model(source: str) -> Path | None:
    """The folder or file of a Slimfront model; None when the source is something else."""
    from trainers.models.files import FILE

    path = Path(source).expanduser()
    if path.suffix == ".safetensors" and path.name != _WEIGHTS:
        return path
    return path if (path / FILE).is_file() else None


def _diffusers_folder(source: str, *, with_weights: bool) -> _DiffusersFolder:
    folder = _local_folder(source)
    if folder is None:
        folder = _fetched(source, with_weights=with_weights)
    elif folder.name == "unet" and (folder.parent / "model_index.json").is_file():
        # A part of a pipeline; the scheduler beside it says how the network was trained.
        folder = folder.parent
    config = _first(folder, ("unet/config.json", "config.json"))
    if config is None:
        raise UserError(
            f"{source} is no model: it has neither model.safetensors (Slimfront) nor config.json or unet/config.json "
            "(diffusers). Give the folder that holds one of them."
        )
    if with_weights and not any((config.parent / name).is_file() for name in _WEIGHT_FILES):
        raise UserError(
            f"{config.parent} has no {_WEIGHTS}; other formats, such as .bin, can run code when they are opened. "
            "Save the model with diffusers' save_pretrained(..., safe_serialization=True), or choose another one."
        )
    return _DiffusersFolder(
        config=config,
        scheduler=_first(folder, ("scheduler/scheduler_config.json", "scheduler_config.json")),
        index=_first(folder, ("model_index.json",)),
    )


def _local_folder(source: str) -> Path | None:
    """The folder, if the source means one; None for a hub id.

    Raises:
        UserError: when it reads like a path but nothing is there.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise UserError(
            f"teacher.from: {source} is a file. Give the folder of the model, or a Slimfront .safetensors file."
        )
    # `owner/name` could be both; where a folder `owner` exists, a misspelt path is the likelier meaning.
    if not re.fullmatch(r"[\w.-]*\w[\w.-]*/[\w.-]+", source) or source.startswith(".") or path.parent.is_dir():
        raise UserError(
            f"teacher.from: {source} does not exist (looked for {path.absolute()}). "
            "Give a model folder that exists, or a hub id of the form owner/name."
        )
    return None


def _fetched(source: str, *, with_weights: bool) -> Path:
    from trainers.download import downloaded

    wanted = list(_CONFIGS)
    if with_weights:
        wanted += [f"{folder}{name}" for folder in ("", "unet/") for name in _WEIGHT_FILES]
    advice = (
        f"On a machine with network run `hf download {source} --local-dir FOLDER`, bring the folder here and write "
        "`teacher: {from: FOLDER}`; or leave 'from' out and train a network."
    )
    return downloaded(source, kind="model", patterns=wanted, advice=advice)


def _spec(folder: _DiffusersFolder, sampling_steps: int, source: str) -> ArchSpec:
    from trainers.models._published_config import check_pipeline, diffusion_of, network_of
    from trainers.models.tracing import spec_of

    if folder.index is not None:
        check_pipeline(_json(folder.index), str(folder.index))
    network = network_of(_json(folder.config), str(folder.config))
    if network.image_size is None:
        raise UserError(
            f"{folder.config}: sample_size is None, the size of the images is needed. Write it into a local copy."
        )
    # A network that was saved alone is taken to have the process of Ho et al. (2020), the default everywhere.
    diffusion = Diffusion()
    if folder.scheduler is not None:
        diffusion = diffusion_of(_json(folder.scheduler), str(folder.scheduler))
    spec = spec_of(network, sampling_steps=sampling_steps, diffusion=diffusion)
    return _sampled(spec, sampling_steps, source)


def _sampled(spec: ArchSpec, sampling_steps: int, source: str) -> ArchSpec:
    if sampling_steps > spec.diffusion.steps:
        raise UserError(
            f"teacher.sampling_steps: {sampling_steps} is more than the {spec.diffusion.steps} timesteps of {source}. "
            f"Give at most {spec.diffusion.steps}."
        )
    return spec.with_sampling_steps(sampling_steps)


def _weights(folder: _DiffusersFolder) -> dict[str, Tensor]:
    """All weights under their present names: diffusers renames those of old files."""
    import torch
    from diffusers.models.unets.unet_2d import UNet2DModel
    from safetensors import SafetensorError

    place = folder.config.parent
    try:
        # The global random stream stays where it is: diffusers draws first weights before it loads the real ones.
        with torch.random.fork_rng(devices=[]), _silent_diffusers():
            net, info = UNet2DModel.from_pretrained(
                str(place),
                use_safetensors=True,
                local_files_only=True,
                torch_dtype=torch.float32,
                output_loading_info=True,
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise UserError(f"the weights in {place} cannot be loaded ({reason}). Fetch or save the model again.") from None
    # diffusers fills gaps with random weights and only warns.
    for kind, words in (("missing_keys", "lack"), ("unexpected_keys", "have, beside what the network needs,")):
        if info[kind]:
            raise UserError(f"the weights in {place} {words} {_some(info[kind])}. Fetch or save the model again.")
    weights: dict[str, Tensor] = net.state_dict()
    return weights


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


def _first(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _json(file: Path) -> dict[str, Any]:
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({error}). Fetch or save the model again.") from None
    if not isinstance(read, dict):
        raise UserError(f"{file} holds a {type(read).__name__}, not options. Fetch or save the model again.")
    return read
