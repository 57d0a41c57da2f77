"""A teacher that somebody published: a Slimfront model, a diffusers folder, or a diffusers model on the hub.

Only safetensors files are read, so nothing is ever unpickled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trainers.errors import UserError
from trainers.foreign import place_of
from trainers.models._pretrained import (
    WEIGHT_FILES,
    WEIGHTS,
    check_weights,
    first_file,
    local_folder,
    options_in,
    pretrained,
)
from trainers.models.diffusion import Diffusion

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.models.network import Network

_CONFIGS = (
    "model_index.json",
    "config.json",
    "unet/config.json",
    "scheduler_config.json",
    "scheduler/scheduler_config.json",
)


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
        return DiffusionModel(net=assembled(spec, _weights(folder, spec)), spec=spec)
    except ValueError as error:
        raise UserError(f"{source}: {error}. Fetch or save the model again.") from None


def published_spec(source: str, *, sampling_steps: int) -> ArchSpec:
    """The architecture that ``load_published`` will give; of a diffusers model, only the configuration is read."""
    from trainers.models import files
    from trainers.models._known_networks import KNOWN
    from trainers.models.tracing import spec_of

    ours = _slimfront_model(source)
    if ours is not None:
        return _sampled(files.load(ours).spec, sampling_steps, source)
    if source in KNOWN and not Path(source).exists():
        return _sampled(spec_of(KNOWN[source], sampling_steps=sampling_steps), sampling_steps, source)
    return _spec(_diffusers_folder(source, with_weights=False), sampling_steps, source)


def published_network(source: str) -> Network:
    """The network's options; of a Slimfront model, those before anything was removed."""
    from trainers.models import files
    from trainers.models._published_config import network_of

    ours = _slimfront_model(source)
    if ours is not None:
        return files.load(ours).spec.network
    folder = _diffusers_folder(source, with_weights=False)
    return network_of(options_in(folder.config), str(folder.config))


@dataclass(frozen=True)
class _DiffusersFolder:
    """Where the parts of a diffusers model are; without ``scheduler`` when only a network was saved."""

    config: Path
    scheduler: Path | None
    index: Path | None


def _slimfront_model(source: str) -> Path | None:
    """The folder or file of a Slimfront model; None when the source is something else."""
    from trainers.models.files import FILE

    path = place_of(source)
    if path.suffix == ".safetensors" and path.name != WEIGHTS:
        return path
    return path if (path / FILE).is_file() else None


def _diffusers_folder(source: str, *, with_weights: bool) -> _DiffusersFolder:
    folder = local_folder(source, option="teacher.from")
    if folder is None:
        folder = _fetched(source, with_weights=with_weights)
    elif folder.name == "unet" and (folder.parent / "model_index.json").is_file():
        # A part of a pipeline; the scheduler beside it says how the network was trained.
        folder = folder.parent
    config = first_file(folder, ("unet/config.json", "config.json"))
    if config is None:
        raise UserError(
            f"{source} is no model: it has neither model.safetensors (Slimfront) nor config.json or unet/config.json "
            "(diffusers). Give the folder that holds one of them."
        )
    if with_weights:
        check_weights(config.parent)
    return _DiffusersFolder(
        config=config,
        scheduler=first_file(folder, ("scheduler/scheduler_config.json", "scheduler_config.json")),
        index=first_file(folder, ("model_index.json",)),
    )


def _fetched(source: str, *, with_weights: bool) -> Path:
    from trainers.download import downloaded

    wanted = list(_CONFIGS)
    if with_weights:
        wanted += [f"{folder}{name}" for folder in ("", "unet/") for name in WEIGHT_FILES]
    advice = (
        f"On a machine with network run `hf download {source} --local-dir FOLDER`, bring the folder here and write "
        "`teacher: {from: FOLDER}`; or leave 'from' out and train a network."
    )
    return downloaded(source, kind="model", patterns=wanted, advice=advice)


def _spec(folder: _DiffusersFolder, sampling_steps: int, source: str) -> ArchSpec:
    from trainers.models._published_config import AUTOENCODERS, check_pipeline, diffusion_of, network_of
    from trainers.models.tracing import spec_of

    if folder.index is not None:
        check_pipeline(options_in(folder.index), str(folder.index))
    network = network_of(options_in(folder.config), str(folder.config))
    if network.image_size is None:
        raise UserError(
            f"{folder.config}: sample_size is None, the size of the images is needed. Write it into a local copy."
        )
    # A network that was saved alone is taken to have the process of Ho et al. (2020), the default everywhere.
    diffusion = Diffusion()
    if folder.scheduler is not None:
        diffusion = diffusion_of(options_in(folder.scheduler), str(folder.scheduler))
    if folder.index is not None and any(name in options_in(folder.index) for name in AUTOENCODERS):
        diffusion = replace(diffusion, is_clipped=False)
    spec = spec_of(network, sampling_steps=sampling_steps, diffusion=diffusion)
    return _sampled(spec, sampling_steps, source)


def _sampled(spec: ArchSpec, sampling_steps: int, source: str) -> ArchSpec:
    if sampling_steps > spec.diffusion.steps:
        raise UserError(
            f"teacher.sampling_steps: {sampling_steps} is more than the {spec.diffusion.steps} timesteps of {source}. "
            f"Give at most {spec.diffusion.steps}."
        )
    return spec.with_sampling_steps(sampling_steps)


def _weights(folder: _DiffusersFolder, spec: ArchSpec) -> dict[str, Tensor]:
    from diffusers.models.unets.unet_2d import UNet2DModel

    parameters = sum(layer.parameters for layer in spec.layers.values())
    weights: dict[str, Tensor] = pretrained(UNet2DModel, folder.config.parent, parameters=parameters).state_dict()
    return weights
