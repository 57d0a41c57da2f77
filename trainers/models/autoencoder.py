"""Autoencoders of latent diffusion (Rombach et al. 2022): diffusers' AutoencoderKL and VQModel.

Legend: N images, C channels, H, W.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import TypedDict

from trainers.atomic import write_atomically
from trainers.data.latent import DECODER
from trainers.data.pixels import from_uint8
from trainers.errors import UserError
from trainers.foreign import LONGEST_REASON, file_inside, place_of
from trainers.models._pretrained import (
    WEIGHT_FILES,
    check_weights,
    first_file,
    local_folder,
    options_in,
    pretrained,
)
from trainers.models._strict import check_types
from trainers.models.network import MOST_BLOCKS, MOST_LEVELS, Layers
from trainers.tensor_file import read_tensors

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, VQModel

FILE = "autoencoder.safetensors"
_FORMAT = "slimfront-autoencoder-1"
_KINDS = ("AutoencoderKL", "VQModel")
_CONFIGS = ("vqvae/config.json", "vae/config.json", "config.json")
#: A forward pass holds some hundred values per pixel.
_PIXELS_AT_ONCE = 2**20

# Far beyond any autoencoder for images: diffusers would build whatever is asked for, for hours or until memory is full.
_Width = Annotated[int, Field(ge=1, le=2**14)]
_Rows = Annotated[int, Field(ge=1, le=2**20)]
_Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]
_Positive = Annotated[float, Field(ge=1e-6, le=1e6)]
_Levels = Field(min_length=1, max_length=MOST_LEVELS)


class _Options(TypedDict, total=False):
    """Of AutoencoderKL and VQModel; where one is left out, diffusers' default holds."""

    in_channels: _Width
    out_channels: _Width
    down_block_types: Annotated[tuple[str, ...], _Levels]
    up_block_types: Annotated[tuple[str, ...], _Levels]
    block_out_channels: Annotated[tuple[_Width, ...], _Levels]
    layers_per_block: Layers
    act_fn: str
    latent_channels: _Width
    norm_num_groups: _Width
    sample_size: _Rows | tuple[_Rows, _Rows]
    num_vq_embeddings: _Rows
    vq_embed_dim: _Width | None
    norm_type: str
    scaling_factor: _Positive
    shift_factor: _Number | None
    latents_mean: tuple[_Number, ...] | None
    latents_std: tuple[_Positive, ...] | None


@dataclass(frozen=True)
class Autoencoder:
    """Images to latents of about unit variance, and back.

    Args:
        net: In evaluation mode, not trainable. Its configuration says how latents are scaled.
    """

    net: AutoencoderKL | VQModel

    @property
    def image_channels(self) -> int:
        """Of the images."""
        return int(self.net.config["in_channels"])

    @property
    def channels(self) -> int:
        """Of the latents."""
        return int(self.net.config.get("vq_embed_dim") or self.net.config["latent_channels"])

    @property
    def factor(self) -> int:
        """How many times smaller than an image its latent is, in height and width."""
        return 2 ** (len(self.net.config["block_out_channels"]) - 1)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that change with any weight and any option."""
        digest = hashlib.sha256(self._config().encode())
        for name, tensor in sorted(self.net.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    @torch.no_grad()
    def encode(self, image_NCHW: Tensor) -> Tensor:
        """Latents of images in [-1, 1], on the images' device, as the published diffusion models of this net see them.

        Of AutoencoderKL's distribution it is the mean, so that an image always has the same latent.
        """
        net = self.net.to(image_NCHW.device)
        parts = image_NCHW.split(_batch(image_NCHW.shape[-1]))
        latent_NCHW = torch.cat([_latent(net, part) for part in parts])
        shift_C, scale_C = self._scaling(image_NCHW.device)
        return (latent_NCHW - shift_C) * scale_C

    @torch.no_grad()
    def decode(self, latent_NCHW: Tensor) -> Tensor:
        """Images in about [-1, 1], on the latents' device."""
        net = self.net.to(latent_NCHW.device)
        shift_C, scale_C = self._scaling(latent_NCHW.device)
        parts = (latent_NCHW / scale_C + shift_C).split(_batch(latent_NCHW.shape[-1] * self.factor))
        return torch.cat([net.decode(part).sample for part in parts])

    def save(self, path: Path) -> None:
        """Write it to ``path`` (a file, or a folder that gets ``autoencoder.safetensors``), whole or not at all."""
        from safetensors.torch import save as to_bytes

        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.net.state_dict().items()}
        metadata = {"format": _FORMAT, "kind": type(self.net).__name__, "config": self._config()}
        write_atomically(_file(path), to_bytes(state, metadata=metadata))

    def save_for_diffusers(self, folder: Path) -> str:
        """Write it into a folder of diffusers, and say how it is opened there."""
        kind = type(self.net).__name__
        part = "vae" if kind == "AutoencoderKL" else "vqvae"
        self.net.save_pretrained(folder / part)
        return f'{kind}.from_pretrained(folder, subfolder="{part}")'

    @staticmethod
    def load(path: Path | str) -> Autoencoder:
        """The autoencoder that ``save`` wrote, on the CPU.

        Raises:
            UserError: when there is none, or it is damaged or not one of ours.
        """
        from safetensors import SafetensorError

        from trainers.models.files import UNFIT

        path = place_of(path)
        file = path if path.suffix == ".safetensors" else file_inside(path, FILE) or path / FILE
        if not file.is_file():
            raise UserError(f"{file} does not exist. Give a folder that `trainers.full` or `search.export` wrote.")
        try:
            state, metadata = read_tensors(file)
            if metadata.get("format") != _FORMAT:
                raise ValueError(f"its format is {metadata.get('format')!r}, expected {_FORMAT!r}")
            return assembled(metadata["kind"], json.loads(metadata["config"]), state)
        except (SafetensorError, *UNFIT) as error:
            reason = str(error).partition("\n")[0].rstrip(".")
            raise UserError(f"{file} is not a Slimfront autoencoder: {reason}. Export it again.") from None

    def _config(self) -> str:
        return json.dumps(_named_options(self.net.config), sort_keys=True)

    def _scaling(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """What is subtracted from a latent, and what it is then multiplied by, each (1, C, 1, 1) or (1, 1, 1, 1)."""
        config = self.net.config
        mean, std = config.get("latents_mean"), config.get("latents_std")
        shift = mean if mean is not None else [config.get("shift_factor") or 0.0]
        scale = [config["scaling_factor"] / value for value in (std if std is not None else [1.0])]
        shift_C, scale_C = (torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (shift, scale))
        return shift_C, scale_C


def latents_of(image_NCHW: Tensor, autoencoder: Autoencoder, *, device: torch.device) -> Tensor:
    """Latents of uint8 images, computed on ``device``; both are on the CPU, as is the autoencoder afterwards."""
    batches = image_NCHW.split(_batch(image_NCHW.shape[-1]))
    latent_NCHW = torch.cat([autoencoder.encode(from_uint8(batch).to(device)).cpu() for batch in batches])
    autoencoder.net.to("cpu")
    return latent_NCHW


def untrained(kind: str, options: Mapping[str, Any]) -> AutoencoderKL | VQModel:
    """A new net, on torch's current default device (``meta`` costs nothing).

    Raises:
        ValueError: when there is no such net.
    """
    from trainers.models.files import UNFIT

    if kind not in _KINDS:
        raise ValueError(f"it is a {kind:.100}, but only {' and '.join(_KINDS)} are known")
    check_types(_Options, options)
    if len(options.get("block_out_channels", ())) * options.get("layers_per_block", 1) > MOST_BLOCKS:
        raise ValueError(f"it has more than {MOST_BLOCKS} blocks, which no autoencoder for images has")
    try:
        net: AutoencoderKL | VQModel = _class(kind)(**options)
    except UNFIT as error:
        # diffusers' loaders would ignore an option of a newer version, and give other latents without a word.
        raise ValueError(f"the installed diffusers cannot build this {kind} ({error})"[:LONGEST_REASON]) from None
    return net


def _check_shapes(autoencoder: Autoencoder) -> None:
    """Images become latents of the size and channels that the options promise, and images again.

    Args:
        autoencoder: On the meta device.

    Raises:
        ValueError: when they do not.
    """
    from trainers.models.files import UNFIT

    side = 4  # of a latent
    image_NCHW = torch.zeros(1, autoencoder.image_channels, *[side * autoencoder.factor] * 2, device="meta")
    try:
        shift_C, scale_C = autoencoder._scaling(image_NCHW.device)
        with torch.no_grad():
            latent_NCHW = (_latent(autoencoder.net, image_NCHW) - shift_C) * scale_C
            shapes = latent_NCHW.shape, autoencoder.net.decode(latent_NCHW).sample.shape
    except UNFIT as error:
        raise ValueError(f"it cannot be applied to images ({error})"[:LONGEST_REASON]) from None
    if shapes != ((1, autoencoder.channels, side, side), image_NCHW.shape):
        raise ValueError(f"it makes latents {tuple(shapes[0])} of images {tuple(image_NCHW.shape)}, not as it says")


def assembled(kind: str, options: Mapping[str, Any], state: Mapping[str, Tensor]) -> Autoencoder:
    """The autoencoder with these options and weights.

    Raises:
        ValueError, RuntimeError: when there is none.
    """
    # Fresh weights would take from the global random stream.
    with torch.device("meta"):
        net = untrained(kind, options)
        _check_shapes(Autoencoder(net))
    net.load_state_dict(state, assign=True)
    for name, tensor in net.state_dict().items():
        if tensor.dtype != torch.float32:
            raise ValueError(f"its {name} is {tensor.dtype}, expected float32")
    return Autoencoder(net.eval().requires_grad_(False))


def published(source: str) -> Autoencoder:
    """The autoencoder that somebody published, on the CPU.

    Args:
        source: A folder or file that ``Autoencoder.save`` wrote, or a model's folder in which it lies; a folder of
            diffusers with an AutoencoderKL or VQModel, or with a pipeline of which it is a part (``vqvae`` or
            ``vae``); or a hub id.

    Raises:
        UserError: when it cannot be had, or is of another kind.
    """
    ours = _slimfront_file(source)
    if ours is not None:
        return Autoencoder.load(ours)
    config = _config_file(source, with_weights=True)
    check_weights(config.parent)
    plan = _planned(config)
    parameters = sum(parameter.numel() for parameter in plan.parameters())
    net = pretrained(type(plan), config.parent, parameters=parameters)
    return Autoencoder(net.eval().requires_grad_(False))


def published_plan(source: str) -> Autoencoder:
    """The same without its weights, to ask for its shape; only the configuration is fetched.

    Raises:
        UserError: as ``published`` does.
    """
    ours = _slimfront_file(source)
    return Autoencoder.load(ours) if ours is not None else Autoencoder(_planned(_config_file(source)))


def _latent(net: AutoencoderKL | VQModel, image_NCHW: Tensor) -> Tensor:
    from diffusers import VQModel

    if isinstance(net, VQModel):
        # ``decode`` looks up the codes; diffusion works on what was there before.
        return cast(Tensor, net.encode(image_NCHW).latents)
    return cast(Tensor, net.encode(image_NCHW).latent_dist.mode())


def _batch(image_size: int) -> int:
    return max(1, _PIXELS_AT_ONCE // image_size**2)


def _class(kind: str) -> Any:
    import diffusers

    return getattr(diffusers, kind)


def _slimfront_file(source: str) -> Path | None:
    path = place_of(source)
    if path.is_dir():
        return next((folder for folder in (path, path / DECODER) if (folder / FILE).is_file()), None)
    return path if path.suffix == ".safetensors" else None


def _config_file(source: str, *, with_weights: bool = False) -> Path:
    folder = local_folder(source, option="data.latent.autoencoder")
    if folder is None:
        folder = _fetched(source, with_weights=with_weights)
    file = first_file(folder, _CONFIGS)
    if file is None:
        raise UserError(
            f"data.latent.autoencoder: {source} has none of {', '.join(_CONFIGS)}. "
            f"Give a folder of diffusers with an {' or '.join(_KINDS)}."
        )
    return file


def _fetched(source: str, *, with_weights: bool) -> Path:
    from trainers.download import downloaded

    wanted = list(_CONFIGS)
    if with_weights:
        wanted += [f"{folder}{name}" for folder in ("", "vqvae/", "vae/") for name in WEIGHT_FILES]
    advice = (
        f"On a machine with network run `hf download {source} --local-dir FOLDER`, bring the folder here and write "
        "`autoencoder: FOLDER`; or leave it out and train a small one."
    )
    return downloaded(source, kind="model", patterns=wanted, advice=advice)


def _planned(config: Path) -> AutoencoderKL | VQModel:
    options = options_in(config)
    try:
        with torch.device("meta"):
            net = untrained(str(options.get("_class_name")), _named_options(options)).eval()
            _check_shapes(Autoencoder(net))
    except ValueError as error:
        raise UserError(f"{config}: {error}. Choose another autoencoder.") from None
    return net


def _named_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Without what diffusers notes beside the options, such as its version."""
    return {name: value for name, value in config.items() if not name.startswith("_")}


def _file(path: Path) -> Path:
    return path if path.suffix == ".safetensors" else path / FILE
