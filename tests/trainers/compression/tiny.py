"""Tiny networks of every kind, with random weights, and runs that train nothing."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch

from tests.conftest import build
from trainers.cache import Cache
from trainers.data.dataset import Images
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.network import NETWORKS, Network
from trainers.run import Run

#: Two of each kind; every width has several norm groups, so that these can become uneven.
TINY: dict[str, Any] = {
    "unet": {"unet": {"channels": [8, 16], "norm_groups": 4, "attention": [False, True], "head_dim": 8}},
    "unet, labelled": {"unet": {"channels": [8, 8], "norm_groups": 2, "classes": 10, "attention": [True, False]}},
    "ncsn": {"ncsn": {"channels": [8, 16], "embedding": 16}},
    "ncsn, one level": {"ncsn": {"channels": [8], "embedding": 8}},
    "guided_unet": {"guided_unet": {"channels": [8, 16], "bottleneck": 24, "heads": 2, "time_dim": 16, "classes": 10}},
    "guided_unet, deep": {"guided_unet": {"channels": [8, 8, 16], "bottleneck": 16, "heads": 4, "time_dim": 8}},
    "latent_unet": {"latent_unet": {"channels": [8, 16], "norm_groups": 4, "layers": 1, "context": 8, "heads": 2}},
    "latent_unet, labelled": {
        "latent_unet": {"channels": [8], "norm_groups": 4, "layers": 1, "context": 4, "classes": 10}
    },
}


def run_of(kind: str, images: Images, cache: Cache) -> Run:
    device = torch.device("cpu")
    return Run(
        seed=0, device=device, images=images, teacher=teacher_of(kind), cache=cache, budget_images=0, until_images=0
    )


@lru_cache
def teacher_of(kind: str) -> DiffusionModel:
    network: Network = NETWORKS.parse(TINY[kind]).for_data(image_size=8, image_channels=1)
    assert network.mistakes() == []
    return build(network)
