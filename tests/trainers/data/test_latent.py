"""Latents as data: what a diffusion model sees is encoded, what is compared and looked at are pixels."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from pydantic import ValidationError

from trainers.data._images import fitted
from trainers.data.dataset import DATA, Images
from trainers.errors import UserError
from trainers.models.autoencoder import published

TINY = {"channels": 3, "downsample": 4, "width": 4, "images": 256}


@pytest.fixture(scope="module")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("latents")


@pytest.fixture(autouse=True)
def own_cache(cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIMFRONT_CACHE", str(cache_folder))


@pytest.fixture
def published_folder(tmp_path: Path) -> Path:
    """A random autoencoder of grey images, four times smaller, five channels."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = AutoencoderKL(
            in_channels=1,
            out_channels=1,
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            block_out_channels=(4, 4, 4),
            norm_num_groups=2,
            latent_channels=5,
        )
    net.save_pretrained(tmp_path / "published")
    return tmp_path / "published"


def test_latents_of_a_published_autoencoder_follow_their_images(published_folder: Path, digits: Images) -> None:
    data = DATA.parse({"latent": {"of": {"name": "digits"}, "autoencoder": str(published_folder)}})
    assert data.shape() == (2, 5)
    images = data.load()
    assert (images.input_size, images.input_channels, images.image_size, images.channels) == (2, 5, 8, 1)
    index_B = torch.tensor([1437, 3, 700])
    autoencoder = published(str(published_folder))
    expected_BCHW = autoencoder.encode(digits.train_NCHW[index_B].float() / 127.5 - 1)
    torch.testing.assert_close(images.inputs(index_B), expected_BCHW)
    expected_BCHW = autoencoder.encode(digits.test_NCHW[5:9].float() / 127.5 - 1)
    torch.testing.assert_close(images.test_inputs(slice(5, 9)), expected_BCHW)


def test_pixels_stay_for_comparison_and_drawn_latents_become_pixels(digits: Images) -> None:
    images = DATA.parse({"latent": {"of": "digits", "autoencoder": TINY}}).load()
    assert torch.equal(images.train_NCHW, digits.train_NCHW)
    assert images.name == digits.name and images.hash != digits.hash
    drawn_BCHW = torch.randn(7, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    pixels_BCHW = images.decoded(drawn_BCHW)
    assert (pixels_BCHW.shape, pixels_BCHW.dtype) == ((7, 1, 8, 8), torch.uint8)
    assert images.latents is not None
    float_BCHW = images.latents.decoder.decode(drawn_BCHW)
    assert (pixels_BCHW / 127.5 - 1 - float_BCHW.clamp(-1, 1)).abs().max() < 0.005


def test_without_latents_the_pixels_themselves_are_seen(digits: Images) -> None:
    value_BCHW = digits.inputs(torch.tensor([4, 2]))
    assert value_BCHW.min() == -1 and value_BCHW.max() == 1
    assert torch.equal(digits.decoded(value_BCHW), digits.train_NCHW[[4, 2]])
    assert torch.equal(digits.decoded(digits.test_inputs(slice(None))), digits.test_NCHW)
    assert (digits.input_size, digits.input_channels) == (8, 1)


def test_nothing_is_computed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    data = DATA.parse({"latent": {"of": "digits", "autoencoder": TINY}})
    first = data.load()
    monkeypatch.setattr("trainers.models.autoencoder.Autoencoder.encode", None)
    monkeypatch.setattr("trainers.models.autoencoder_training._trained", None)
    again = data.load()
    assert again.hash == first.hash
    assert torch.equal(again.inputs(slice(None)), first.inputs(slice(None)))


def test_another_autoencoder_gives_another_hash(published_folder: Path) -> None:
    one, other = (
        DATA.parse({"latent": {"of": "digits", "autoencoder": autoencoder}}).load()
        for autoencoder in (TINY, str(published_folder))
    )
    assert one.hash != other.hash


def test_images_with_latents_reach_other_processes(digits: Images) -> None:
    images = DATA.parse({"latent": {"of": "digits", "autoencoder": TINY}}).load()
    received = pickle.loads(pickle.dumps(images))  # noqa: S301 (our own bytes)
    value_BCHW = images.inputs(slice(0, 4))
    assert torch.equal(received.decoded(value_BCHW), images.decoded(value_BCHW))


def test_options_round_trip() -> None:
    data = DATA.parse({"name": "latent", "of": {"folder": {"path": "x", "channels": 3}}, "autoencoder": {"width": 8}})
    written = DATA.written(data)
    assert written == {
        "latent": {"of": {"folder": {"path": "x", "channels": 3}}, "autoencoder": {"width": 8}},
    }
    assert DATA.parse(written) == data
    assert DATA.parse({"latent": {"of": "digits"}}).shape() == (4, 4)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"of": {"latent": {"of": "digits"}}},
        {"of": "digits", "autoencoder": {"downsample": 3}},
        {"of": "digits", "autoencoder": {"chanels": 3}},
    ],
)
def test_impossible_options_are_refused(options: dict) -> None:
    with pytest.raises(ValidationError):
        DATA.parse({"latent": options})


def test_images_that_do_not_fit_the_autoencoder_are_refused_before_they_are_read(published_folder: Path) -> None:
    with pytest.raises(UserError, match="takes images of 1 channels, but those of cifar10 have 3"):
        DATA.parse({"latent": {"of": "cifar10", "autoencoder": str(published_folder)}}).shape()
    with pytest.raises(UserError, match=r"images of 30x30 cannot be made 4 times smaller\. Write image_size: 28"):
        DATA.parse({"latent": {"of": {"mnist": {"image_size": 30}}, "autoencoder": str(published_folder)}}).shape()


def test_latents_are_not_resized_to_a_teacher_of_another_size() -> None:
    images = DATA.parse({"latent": {"of": "digits", "autoencoder": TINY}}).load()
    assert fitted(images, image_size=2, channels=3) is images
    with pytest.raises(UserError, match="the latents of digits are 2x2x3, but the teacher takes 8x8x1"):
        fitted(images, image_size=8, channels=1)
