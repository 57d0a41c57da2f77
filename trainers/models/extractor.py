"""A small classifier trained on a data set's own labels; the 64 values before its last layer are its features.

Where Inception says little (8x8 digits) or its weights are not at hand, these features are what FID is measured on and
what a distillation may compare. Legend: N images, C channels, H, W, F features.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainers.cache import Cache
from trainers.data.dataset import Images
from trainers.data.pixels import from_uint8
from trainers.errors import UserError

FEATURES = 64
#: Variance of each feature over the training images. It only sets the scale of FID, which then does not hang on how far
#: the classifier was trained; with 10, pure noise is in the hundreds and a good student in the tens, as with Inception.
VARIANCE = 10.0
_BATCH = 128
#: Training ends after so many images, or after _PASSES over a data set for which these are fewer: 17 passes over the
#: digits (2 s), 3 over the 50,000 images of CIFAR-10 (minutes).
_IMAGES_SEEN = 24_000
_PASSES = 3
_LEARNING_RATE = 5e-3
_SEED = 0
#: Part of the cache's key: raise it when the classifier or its training changes.
_VERSION = 1


@dataclass(frozen=True)
class Extractor:
    """A trained classifier.

    Args:
        net: Its ``features`` are the 64 values; in evaluation mode, on the CPU, not trainable.
        name: Data set, kind, width and 8 hex digits of its weights: figures of different extractors are never mixed.
        test_accuracy: On the test images; NaN when there are none.
    """

    net: Classifier
    name: str
    test_accuracy: float


class Classifier(nn.Module):
    """Three convolutions and two linear layers, for images of 8x8 to 64x64 and beyond.

    Args:
        channels: Of the images.
        image_size: Large images are halved until the second convolution works on at most 16x16 pixels.
        classes: Of the labels.
    """

    def __init__(self, *, channels: int, image_size: int, classes: int) -> None:
        super().__init__()
        stride = max(1, image_size // 16)
        self.body = nn.Sequential(
            nn.Conv2d(channels, 16, 3, stride=stride, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(4 * 64, FEATURES),
            nn.BatchNorm1d(FEATURES, affine=False, eps=1e-8),
        )
        self.head = nn.Linear(FEATURES, classes)

    def features(self, image_NCHW: Tensor) -> Tensor:
        """64 features of each image in [-1, 1]; before the non-linearity, so nearly Gaussian, as FID assumes."""
        standard_NF: Tensor = self.body(image_NCHW)
        return standard_NF * VARIANCE**0.5

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """One logit per class."""
        logit_NC: Tensor = self.head(functional.relu(self.body(image_NCHW)))
        return logit_NC


def label_extractor(images: Images, cache: Cache) -> Extractor:
    """The extractor of this data set, trained at the first call and then read from the cache.

    Raises:
        UserError: when the images have no labels to learn from.
    """
    classes = int(images.train_label_N.max()) + 1 if len(images.train_label_N) else 0
    if classes < 2 or len(images.train_label_N.unique()) < 2:
        raise UserError(
            f"the data set {images.name!r} has no labels to train a feature extractor on (one class only). "
            "Use `fid: {extractor: inception}`, or data with labels."
        )
    key = {"data": images.hash, "version": _VERSION}
    state = cache.tensors("extractor", key, lambda: _trained(images, classes).state_dict())
    net = _untrained(images, classes)
    net.load_state_dict(state)
    net.eval().requires_grad_(False)
    return Extractor(net=net, name=_name(images, state), test_accuracy=_accuracy(net, images))


def _untrained(images: Images, classes: int) -> Classifier:
    return Classifier(channels=images.channels, image_size=images.image_size, classes=classes)


def _trained(images: Images, classes: int) -> Classifier:
    """Cross-entropy with AdamW under a one-cycle learning rate; the same weights for the same data."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(_SEED)
        net = _untrained(images, classes)
        steps = max(_IMAGES_SEEN, _PASSES * len(images.train_NCHW)) // _BATCH
        optimizer = torch.optim.AdamW(net.parameters(), lr=_LEARNING_RATE, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps)
        for index_B in _batches(len(images.train_NCHW), steps):
            logit_BC = net(from_uint8(images.train_NCHW[index_B]))
            loss = functional.cross_entropy(logit_BC, images.train_label_N[index_B])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    _standardise(net, images)
    return net


@torch.no_grad()
def _standardise(net: Classifier, images: Images) -> None:
    """Put the exact mean and variance of all training features in the place of the running averages."""
    *before, norm = net.body
    assert isinstance(norm, nn.BatchNorm1d) and norm.running_mean is not None and norm.running_var is not None
    parts = [nn.Sequential(*before)(from_uint8(image_BCHW)) for image_BCHW in images.train_NCHW.split(500)]
    feature_NF = torch.cat(parts)
    norm.running_mean.copy_(feature_NF.mean(dim=0))
    norm.running_var.copy_(feature_NF.var(dim=0))


def _batches(count: int, steps: int) -> Iterator[Tensor]:
    """Indices of ``steps`` batches: one shuffled pass after the other."""
    generator = torch.Generator().manual_seed(_SEED)
    waiting_N = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        while len(waiting_N) < _BATCH:
            waiting_N = torch.cat((waiting_N, torch.randperm(count, generator=generator)))
        batch_B, waiting_N = waiting_N[:_BATCH], waiting_N[_BATCH:]
        yield batch_B


@torch.no_grad()
def _accuracy(net: Classifier, images: Images) -> float:
    right = [
        net(from_uint8(image_BCHW)).argmax(dim=1) == label_B
        for image_BCHW, label_B in zip(images.test_NCHW.split(500), images.test_label_N.split(500), strict=True)
    ]
    return torch.cat(right).float().mean().item()


def _name(images: Images, state: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for key, tensor in sorted(state.items()):
        digest.update(key.encode())
        digest.update(tensor.numpy().tobytes())
    # torch-fidelity allows no slash in a name, and a hub id has one.
    data = re.sub(r"[^a-z0-9]+", "-", images.name.lower()).strip("-")
    return f"{data}-cnn-{FEATURES}d-{digest.hexdigest()[:8]}"
