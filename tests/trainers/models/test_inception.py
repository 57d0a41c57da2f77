"""Inception's features for distillation, without its weights."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from trainers.models.inception import InceptionFeatures


def test_its_first_layer_sees_the_image_as_the_weights_know_it() -> None:
    """torchvision's own network, given what its own preset makes of an image, sees the same there."""
    from torchvision.models import Inception_V3_Weights, inception_v3

    seen: list[Tensor] = []
    ours = InceptionFeatures().eval()
    theirs = inception_v3(weights=None, transform_input=True, init_weights=False).eval()
    for net in (ours.net, theirs):
        net.Conv2d_1a_3x3.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    preset = Inception_V3_Weights.IMAGENET1K_V1.transforms()
    generator = torch.Generator().manual_seed(0)
    grey, colour = (torch.rand(1, channels, 32, 32, generator=generator) * 2 - 1 for channels in (1, 3))
    with torch.no_grad():
        for image in (grey, colour):
            ours(image)
            large = (interpolate(image, size=(299, 299), mode="bilinear") + 1) / 2
            mean, std = (torch.tensor(values)[:, None, None] for values in (preset.mean, preset.std))
            theirs((large - mean) / std)
    assert len(seen) == 4
    for mine, known in zip(seen[::2], seen[1::2], strict=True):
        torch.testing.assert_close(mine, known, atol=1e-5, rtol=1e-5)
        assert mine.shape == (1, 3, 299, 299)
