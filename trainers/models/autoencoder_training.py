"""A small autoencoder for latent diffusion, trained on a data set where nobody published one.

Legend: N images, B batch, C channels, H, W.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from trainers.cache import Cache
from trainers.data.dataset import Images
from trainers.data.pixels import from_uint8
from trainers.models.autoencoder import Autoencoder, assembled, latents_of, untrained

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

_log = logging.getLogger(__name__)
_BATCH = 128
_LEARNING_RATE = 5e-3
#: As in Rombach et al. (2022): just enough that neighbouring latents decode to similar images.
_KL_WEIGHT = 1e-6
_SEED = 0
#: Part of the cache's key: raise it when the net or its training changes.
_VERSION = 1


def trained_autoencoder(
    images: Images, cache: Cache, *, channels: int, factor: int, width: int, images_seen: int
) -> Autoencoder:
    """The autoencoder of this data set, trained at the first call and then read from the cache.

    Args:
        channels: Of the latents.
        factor: How many times smaller than an image its latent is; a power of 2.
        width: Channels of the first level; each further one has twice as many.
        images_seen: Images of its training.
    """
    key = {"data": images.hash, "channels": channels, "factor": factor, "width": width, "images": images_seen}
    options = _options(images, channels=channels, factor=factor, width=width)

    def make() -> dict[str, Tensor]:
        _log.info("autoencoder of %s: training on %d images", images.name, images_seen)
        return _trained(images, options, steps=math.ceil(images_seen / _BATCH)).state_dict()

    state = cache.tensors("autoencoder", {**key, "version": _VERSION}, make)
    return assembled("AutoencoderKL", options, state)


def _options(images: Images, *, channels: int, factor: int, width: int) -> dict[str, Any]:
    levels = factor.bit_length()
    return {
        "in_channels": images.channels,
        "out_channels": images.channels,
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "block_out_channels": tuple(width * 2**level for level in range(levels)),
        "layers_per_block": 1,
        "latent_channels": channels,
        "norm_num_groups": math.gcd(width, 8),
        "sample_size": images.image_size,
        "scaling_factor": 1.0,
        "mid_block_add_attention": False,
    }


def _trained(images: Images, options: Mapping[str, Any], *, steps: int) -> AutoencoderKL:
    """Squared error and KL divergence with Adam under a one-cycle learning rate; the same weights for the same data."""
    generator = torch.Generator().manual_seed(_SEED)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(_SEED)
        net = cast("AutoencoderKL", untrained("AutoencoderKL", options))
        optimizer = torch.optim.Adam(net.parameters(), lr=_LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps)
        for _ in range(steps):
            index_B = torch.randint(len(images.train_NCHW), (_BATCH,), generator=generator)
            image_BCHW = from_uint8(images.train_NCHW[index_B])
            latent = net.encode(image_BCHW).latent_dist
            error = (net.decode(latent.sample()).sample - image_BCHW).square().mean()
            optimizer.zero_grad()
            (error + _KL_WEIGHT * latent.kl().mean()).backward()
            optimizer.step()
            schedule.step()
    _standardise(net.eval(), images)
    return net


@torch.no_grad()
def _standardise(net: AutoencoderKL, images: Images) -> None:
    """Give each channel of the training latents mean 0 and variance 1, as noise has; decoded images stay the same."""
    latent_NCHW = latents_of(images.train_NCHW, Autoencoder(net), device=torch.device("cpu"))
    mean_C, std_C = latent_NCHW.mean(dim=(0, 2, 3)), latent_NCHW.std(dim=(0, 2, 3))
    last, first = net.quant_conv, net.post_quant_conv
    assert last is not None and first is not None
    # ``last`` gives means and log variances, ``first`` takes a latent; both are 1x1.
    channels = len(mean_C)
    first.bias += first.weight[:, :, 0, 0] @ mean_C
    first.weight *= std_C[None, :, None, None]
    last.bias[:channels] = (last.bias[:channels] - mean_C) / std_C
    last.weight[:channels] /= std_C[:, None, None, None]
    last.bias[channels:] -= 2 * std_C.log()
