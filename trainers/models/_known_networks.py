"""Networks of models on the hub that spaces name: what they cost can be told without a download."""

from __future__ import annotations

from collections.abc import Mapping

from trainers.models.network import Network
from trainers.models.networks.unet import Unet

#: By hub id; all of them with the process of Ho et al. (2020).
KNOWN: Mapping[str, Network] = {
    "google/ddpm-cifar10-32": Unet(
        image_size=32,
        image_channels=3,
        channels=(128, 256, 256, 256),
        attention=(False, True, False, False),
        layers=2,
        norm_groups=32,
    ),
}
