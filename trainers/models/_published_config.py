"""What the JSON files of a diffusers model say, in our words; anything that we cannot express is refused by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from trainers.errors import UserError
from trainers.models._strict import check_types
from trainers.models.diffusion import Diffusion
from trainers.models.network import MOST_LEVELS, NETWORKS
from trainers.models.networks.unet import Unet

_Levels = Field(min_length=1, max_length=MOST_LEVELS)


class _Unet(TypedDict, total=False):
    """Those options of UNet2DModel that are computed with; where one is left out, diffusers' default holds."""

    sample_size: int | Annotated[tuple[int, ...], Field(min_length=1, max_length=2)] | None
    in_channels: int
    block_out_channels: Annotated[tuple[int, ...], _Levels]
    down_block_types: Annotated[tuple[str, ...], _Levels]
    up_block_types: Annotated[tuple[str, ...], _Levels]
    layers_per_block: int
    norm_num_groups: int | None
    attention_head_dim: int | None
    num_class_embeds: int | None
    downsample_padding: int
    flip_sin_to_cos: bool
    freq_shift: int
    norm_eps: float


class _Schedule(TypedDict, total=False):
    """The same of a scheduler."""

    num_train_timesteps: int
    beta_start: float
    beta_end: float
    beta_schedule: str
    prediction_type: str


#: Options of UNet2DModel that our network has fixed, with the values that mean the same.
_FIXED: Mapping[str, tuple[Any, ...]] = {
    "center_input_sample": (False,),
    "time_embedding_type": ("positional",),
    "mid_block_type": ("UNetMidBlock2D",),
    "mid_block_scale_factor": (1,),
    "downsample_type": ("conv",),
    "upsample_type": ("conv",),
    "act_fn": ("silu", "swish"),
    "resnet_time_scale_shift": ("default",),
    "add_attention": (True,),
    "class_embed_type": (None,),
}
_TAKEN = {
    "in_channels": "image_channels",
    "block_out_channels": "channels",
    "layers_per_block": "layers",
    "norm_num_groups": "norm_groups",
    "attention_head_dim": "head_dim",
    "downsample_padding": "downsample_padding",
    "flip_sin_to_cos": "flip_sin_to_cos",
    "freq_shift": "freq_shift",
    "norm_eps": "norm_eps",
}
_ATTENDS = {"DownBlock2D": False, "AttnDownBlock2D": True, "UpBlock2D": False, "AttnUpBlock2D": True}

#: Schedulers of one family: equal defaults, and noise added in the same way.
_SCHEDULERS = ("DDPMScheduler", "DDIMScheduler", "PNDMScheduler", "DPMSolverMultistepScheduler")
_FIXED_SCHEDULE: Mapping[str, tuple[Any, ...]] = {
    "beta_schedule": ("linear", "scaled_linear"),
    "prediction_type": ("epsilon", "sample", "v_prediction"),
    "predict_epsilon": (True,),
    "trained_betas": (None,),
    "rescale_betas_zero_snr": (False,),
    "use_flow_sigmas": (False,),
}
_PREDICTIONS = {"epsilon": "epsilon", "sample": "x", "v_prediction": "v"}
#: What an autoencoder is called in a pipeline of latent diffusion.
AUTOENCODERS = ("vqvae", "vae")
_ANOTHER = "Choose another model, or leave 'from' out and train a network."


def network_of(config: Mapping[str, Any], place: str) -> Unet:
    """The network that a config.json describes.

    Raises:
        UserError: naming the option that our network does not have, and its value.
    """
    _check(place, "_class_name", config.get("_class_name"), ("UNet2DModel",))
    _check_types(_Unet, config, place)
    written = _with_defaults(config, place)
    for option, allowed in _FIXED.items():
        _check(place, option, written[option], allowed)
    channels = written["block_out_channels"]
    _check(place, "time_embedding_dim", written["time_embedding_dim"], (None, 4 * channels[0]))
    _check(place, "attn_norm_num_groups", written["attn_norm_num_groups"], (None, written["norm_num_groups"]))
    _check(place, "out_channels", written["out_channels"], (written["in_channels"],))
    if written["norm_num_groups"] is None:
        raise UserError(f"{place}: norm_num_groups is None; a number is needed. {_ANOTHER}")
    # Dropout has no weights and does nothing outside training; it is not among our options.
    options = {ours: written[theirs] for theirs, ours in _TAKEN.items()}
    options |= {
        "image_size": _image_size(written["sample_size"], place),
        "classes": written["num_class_embeds"] or 0,
        "attention": _attention(written, place),
    }
    try:
        network = NETWORKS.parse({"unet": options})
    except ValidationError as error:
        raise _refused(error, place) from None
    assert isinstance(network, Unet)
    mistakes = network.mistakes()
    if mistakes:
        raise UserError("\n".join(f"{place}: {mistake}" for mistake in mistakes))
    return network


def diffusion_of(config: Mapping[str, Any], place: str) -> Diffusion:
    """The noise process that a scheduler_config.json describes.

    Raises:
        UserError: naming the option that is not among ours, such as a schedule that is not linear, and its value.
    """
    _check(place, "_class_name", config.get("_class_name"), _SCHEDULERS)
    _check_types(_Schedule, config, place)
    for option, allowed in _FIXED_SCHEDULE.items():
        _check(place, option, config.get(option, allowed[0]), allowed)
    standard = Diffusion()
    try:
        return TypeAdapter(Diffusion).validate_python(
            {
                "steps": config.get("num_train_timesteps", standard.steps),
                "beta_start": config.get("beta_start", standard.beta_start),
                "beta_end": config.get("beta_end", standard.beta_end),
                "schedule": config.get("beta_schedule", standard.schedule),
                "prediction": _PREDICTIONS[config.get("prediction_type", "epsilon")],
            }
        )
    except ValidationError as error:
        raise _refused(error, place) from None


def check_pipeline(index: Mapping[str, Any], place: str) -> None:
    """Refuse pipelines that have more than a network, a scheduler and an autoencoder, as by model_index.json."""
    known = ("unet", "scheduler", *AUTOENCODERS)
    others = [name for name in index if not name.startswith("_") and name not in known]
    if others:
        raise UserError(
            f"{place}: a {index.get('_class_name')!s:.100} also has {', '.join(others)[:500]}; only a unet and a "
            f"scheduler are understood. {_ANOTHER}"
        )


def _check_types(kind: Any, config: Mapping[str, Any], place: str) -> None:
    try:
        check_types(kind, config)
    except ValueError as error:
        raise UserError(f"{place}: {error}. {_ANOTHER}") from None


def _refused(error: ValidationError, place: str) -> UserError:
    first = error.errors()[0]
    names = [part for part in first["loc"] if isinstance(part, str)]
    return UserError(f"{place}: {(names or ['it'])[-1]}: {first['msg']}, got {first['input']!r:.100}. {_ANOTHER}")


def _check(place: str, option: str, found: Any, allowed: tuple[Any, ...]) -> None:
    if found not in allowed:
        words = " or ".join(repr(value) for value in dict.fromkeys(allowed))
        raise UserError(f"{place}: {option} is {found!r:.100}, only {words} is supported. {_ANOTHER}")


def _with_defaults(config: Mapping[str, Any], place: str) -> dict[str, Any]:
    """All options of UNet2DModel; those that the file leaves out have diffusers' defaults."""
    from diffusers.models.unets.unet_2d import UNet2DModel

    parameters = inspect.signature(UNet2DModel.__init__).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items() if name != "self"}
    unknown = [name for name in config if not name.startswith("_") and name not in defaults]
    if unknown:
        # diffusers would ignore them, and a model saved by a newer version would silently give other images.
        raise UserError(
            f"{place}: {unknown[0]} (= {config[unknown[0]]!r:.100}) is no option of the installed diffusers' "
            f"UNet2DModel. Install a newer diffusers. {_ANOTHER}"
        )
    return defaults | {name: value for name, value in config.items() if name in defaults}


def _image_size(sample_size: list[int] | int | None, place: str) -> int | None:
    if isinstance(sample_size, list):
        if len(set(sample_size)) != 1:
            raise UserError(f"{place}: sample_size is {list(sample_size)}, only squares are supported. {_ANOTHER}")
        return sample_size[0]
    return sample_size


def _attention(written: Mapping[str, Any], place: str) -> tuple[bool, ...]:
    """For each resolution whether it attends, equally on the way in and on the way out."""
    down, up = written["down_block_types"], written["up_block_types"]
    for option, blocks, kinds in (
        ("down_block_types", down, ("DownBlock2D", "AttnDownBlock2D")),
        ("up_block_types", up, ("UpBlock2D", "AttnUpBlock2D")),
    ):
        for block in blocks:
            _check(place, option, block, kinds)
    attention = tuple(_ATTENDS[block] for block in down)
    if attention != tuple(_ATTENDS[block] for block in reversed(up)):
        raise UserError(
            f"{place}: up_block_types {list(up)} does not mirror down_block_types {list(down)}; attention must be "
            f"at the same resolutions on both ways. {_ANOTHER}"
        )
    return attention
