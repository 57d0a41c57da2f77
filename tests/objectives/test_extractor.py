"""The feature extractor that is trained on the labels of the data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trainers.cache import Cache
from trainers.data._images import content_hash, fitted
from trainers.data.dataset import Images
from trainers.data.pixels import from_uint8
from trainers.errors import UserError
from trainers.models import extractor
from trainers.models.extractor import label_extractor


def test_knows_digits_it_has_not_seen(digits: Images, cache: Cache) -> None:
    assert label_extractor(digits, cache).test_accuracy > 0.98


def test_features_of_training_images_have_a_fixed_scale(digits: Images, cache: Cache) -> None:
    feature_NF = label_extractor(digits, cache).net.features(from_uint8(digits.train_NCHW))
    assert feature_NF.shape == (len(digits.train_NCHW), extractor.FEATURES)
    torch.testing.assert_close(feature_NF.var(dim=0), torch.full((64,), extractor.VARIANCE), rtol=1e-3, atol=0)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hardly any training, where the result does not matter."""
    monkeypatch.setattr(extractor, "_IMAGES_SEEN", 1_280)
    monkeypatch.setattr(extractor, "_PASSES", 0)


def test_same_data_give_the_same_weights_whatever_the_random_state(digits: Images, tmp_path: Path, short: None) -> None:
    names = []
    for index in range(2):
        torch.rand(index + 1)
        names.append(label_extractor(digits, Cache(tmp_path / str(index))).name)
    assert names[0] == names[1] and names[0].startswith("digits-cnn-64d-")


def test_other_data_give_another_name(digits: Images, tmp_path: Path, short: None) -> None:
    train_NCHW = digits.train_NCHW.clone()
    train_NCHW[5] = 255 - train_NCHW[5]
    changed = replace(digits, train_NCHW=train_NCHW, hash=content_hash(train_NCHW))
    assert label_extractor(changed, Cache(tmp_path)).name != label_extractor(digits, Cache(tmp_path)).name


@pytest.mark.parametrize(("image_size", "channels"), [(8, 1), (28, 1), (32, 3), (64, 3)])
def test_image_sizes_from_8_to_64(digits: Images, tmp_path: Path, short: None, image_size: int, channels: int) -> None:
    few = replace(digits, train_NCHW=digits.train_NCHW[:256], train_label_N=digits.train_label_N[:256])
    images = fitted(few, image_size=image_size, channels=channels)
    found = label_extractor(images, Cache(tmp_path))
    assert found.net.features(from_uint8(images.test_NCHW[:7])).shape == (7, 64)
    assert "/" not in found.name and " " not in found.name


def test_data_of_one_class_are_refused(digits: Images, cache: Cache) -> None:
    unlabelled = replace(digits, train_label_N=torch.zeros_like(digits.train_label_N), hash="unlabelled")
    with pytest.raises(UserError, match="no labels"):
        label_extractor(unlabelled, cache)
