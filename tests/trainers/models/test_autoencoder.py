"""Autoencoders: the same latents as diffusers, files without pickle, and a small one that learns the digits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, VQModel
from safetensors.torch import load_file, save_file

from trainers.cache import Cache
from trainers.data.dataset import Images
from trainers.errors import UserError
from trainers.models.autoencoder import FILE, Autoencoder, latents_of, published, published_plan
from trainers.models.autoencoder_training import trained_autoencoder

SMALL = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "block_out_channels": (4, 4, 8),
    "norm_num_groups": 2,
    "sample_size": 16,
}
SCALED = {"scaling_factor": 0.7, "latents_mean": (0.5, -1.0, 2.0, 0.0), "latents_std": (2.0, 0.5, 1.0, 3.0)}


def saved(folder: Path, kind: type = AutoencoderKL, **options: Any) -> AutoencoderKL | VQModel:
    """A small net with no weight at its first value, saved as diffusers does."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = kind(**SMALL | options).eval()
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    net.save_pretrained(folder)
    return net


@pytest.fixture
def image_NCHW() -> torch.Tensor:
    return torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


@torch.no_grad()
def test_kl_latents_and_images_are_those_of_diffusers(tmp_path: Path, image_NCHW: torch.Tensor) -> None:
    net = saved(tmp_path, scaling_factor=0.3, shift_factor=0.25)
    autoencoder = published(str(tmp_path))
    latent_NCHW = (net.encode(image_NCHW).latent_dist.mode() - 0.25) * 0.3
    torch.testing.assert_close(autoencoder.encode(image_NCHW), latent_NCHW)
    torch.testing.assert_close(autoencoder.decode(latent_NCHW), net.decode(latent_NCHW / 0.3 + 0.25).sample)
    assert (autoencoder.image_channels, autoencoder.channels, autoencoder.factor) == (3, 4, 4)
    assert latent_NCHW.std() > 0.01


@torch.no_grad()
@pytest.mark.parametrize("part", ["", "vqvae"])
def test_vq_latents_are_taken_before_quantisation_and_decoded_after_it(
    tmp_path: Path, image_NCHW: torch.Tensor, part: str
) -> None:
    net = saved(tmp_path / part, VQModel, num_vq_embeddings=16, vq_embed_dim=2, scaling_factor=1.5)
    autoencoder = published(str(tmp_path))
    latent_NCHW = net.encode(image_NCHW).latents * 1.5
    torch.testing.assert_close(autoencoder.encode(image_NCHW), latent_NCHW)
    torch.testing.assert_close(autoencoder.decode(latent_NCHW), net.decode(latent_NCHW / 1.5).sample)
    assert (autoencoder.channels, autoencoder.factor) == (2, 4)


@torch.no_grad()
def test_latents_are_standardised_by_channel_where_the_configuration_says_so(
    tmp_path: Path, image_NCHW: torch.Tensor
) -> None:
    net = saved(tmp_path, **SCALED)
    mean_C, std_C = (torch.tensor(SCALED[name]).view(1, 4, 1, 1) for name in ("latents_mean", "latents_std"))
    # As diffusers' pipelines of Stable Diffusion XL do.
    expected_NCHW = (net.encode(image_NCHW).latent_dist.mode() - mean_C) * 0.7 / std_C
    torch.testing.assert_close(published(str(tmp_path)).encode(image_NCHW), expected_NCHW)


def test_decoding_undoes_the_scaling_exactly_once(tmp_path: Path, image_NCHW: torch.Tensor) -> None:
    saved(tmp_path / "plain", scaling_factor=1.0)
    saved(tmp_path / "scaled", **SCALED)
    plain, scaled = (published(str(tmp_path / name)) for name in ("plain", "scaled"))
    torch.testing.assert_close(scaled.decode(scaled.encode(image_NCHW)), plain.decode(plain.encode(image_NCHW)))


def test_parts_of_a_large_batch_give_what_the_whole_gives(
    tmp_path: Path, image_NCHW: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path)
    autoencoder = published(str(tmp_path))
    whole_NCHW = autoencoder.encode(image_NCHW)
    pixels_NCHW = autoencoder.decode(whole_NCHW)
    monkeypatch.setattr("trainers.models.autoencoder._PIXELS_AT_ONCE", 2 * 16 * 16)
    torch.testing.assert_close(autoencoder.encode(image_NCHW), whole_NCHW)
    torch.testing.assert_close(autoencoder.decode(whole_NCHW), pixels_NCHW)


def test_plan_needs_no_weights(tmp_path: Path) -> None:
    saved(tmp_path, latent_channels=6)
    (tmp_path / "diffusion_pytorch_model.safetensors").unlink()
    plan = published_plan(str(tmp_path))
    assert (plan.image_channels, plan.channels, plan.factor) == (3, 6, 4)
    with pytest.raises(UserError, match=r"has no diffusion_pytorch_model\.safetensors; other formats"):
        published(str(tmp_path))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"_class_name": "AutoencoderTiny"}, "it is a AutoencoderTiny, but only AutoencoderKL and VQModel"),
        ({"colour_space": "oklab"}, "cannot build this AutoencoderKL.*colour_space"),
        ({"down_block_types": ["NoSuchBlock"] * 3}, "NoSuchBlock"),
        ({"block_out_channels": []}, "block_out_channels: .* at least 1 item"),
        ({"block_out_channels": [0, 4, 4]}, "block_out_channels: "),
        ({"block_out_channels": None}, "block_out_channels: .*, got None"),
        ({"norm_num_groups": 0}, "norm_num_groups: .*, got 0"),
        ({"latent_channels": -4}, "latent_channels: .*, got -4"),
        ({"layers_per_block": 64}, "more than 64 blocks"),
        ({"act_fn": []}, "act_fn: .* string"),
        ({"scaling_factor": 0}, "scaling_factor: "),
        ({"latents_mean": [0.0, 1.0]}, "cannot be applied to images"),
        ({"out_channels": 1}, r"makes latents \(1, 4, 4, 4\) of images"),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(tmp_path: Path, change: dict, words: str) -> None:
    saved(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    with pytest.raises(UserError, match=words):
        published(str(tmp_path))


def test_missing_weight_is_refused_rather_than_drawn(tmp_path: Path) -> None:
    saved(tmp_path)
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    del state["post_quant_conv.bias"]
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"lack post_quant_conv\.bias"):
        published(str(tmp_path))


def test_missing_folder_and_missing_download_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"data\.latent\.autoencoder: \./nowhere does not exist"):
        published_plan("./nowhere")
    with pytest.raises(UserError, match=r"has none of vqvae/config\.json, vae/config\.json, config\.json"):
        published_plan(str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="hf download some/body --local-dir FOLDER"):
        published("some/body")


@pytest.mark.parametrize("kind", [AutoencoderKL, VQModel])
def test_saved_file_gives_the_same_autoencoder(tmp_path: Path, image_NCHW: torch.Tensor, kind: type) -> None:
    saved(tmp_path / "diffusers", kind, scaling_factor=0.4)
    original = published(str(tmp_path / "diffusers"))
    original.save(tmp_path / "exported")
    state = torch.get_rng_state()
    for again in (Autoencoder.load(tmp_path / "exported"), published(str(tmp_path / "exported"))):
        assert again.fingerprint == original.fingerprint
        assert torch.equal(again.encode(image_NCHW), original.encode(image_NCHW))
        assert torch.equal(again.decode(again.encode(image_NCHW)), original.decode(original.encode(image_NCHW)))
    assert torch.equal(torch.get_rng_state(), state)


def test_fingerprint_changes_with_a_weight_and_with_the_scaling(tmp_path: Path) -> None:
    net = saved(tmp_path / "one")
    saved(tmp_path / "two", scaling_factor=0.2)
    found = {published(str(tmp_path / name)).fingerprint for name in ("one", "two")}
    net.decoder.conv_out.bias.data[0] += 1e-3
    found.add(Autoencoder(net).fingerprint)
    assert len(found) == 3


def test_damaged_and_foreign_files_are_refused(tmp_path: Path, image_NCHW: torch.Tensor) -> None:
    saved(tmp_path)
    autoencoder = published(str(tmp_path))
    autoencoder.save(tmp_path)
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[:-100])
    with pytest.raises(UserError, match="is not a Slimfront autoencoder"):
        Autoencoder.load(tmp_path)
    save_file({"weight": image_NCHW}, tmp_path / FILE)
    with pytest.raises(UserError, match="its format is None, expected 'slimfront-autoencoder-1'"):
        Autoencoder.load(tmp_path)
    Autoencoder(autoencoder.net.half()).save(tmp_path)
    with pytest.raises(UserError, match=r"its encoder\.conv_in\.weight is torch\.float16, expected float32"):
        Autoencoder.load(tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        Autoencoder.load(tmp_path / "nowhere")


@pytest.fixture(scope="module")
def small(digits: Images, cache: Cache) -> Autoencoder:
    return trained_autoencoder(digits, cache, channels=4, factor=2, width=8, images_seen=20_000)


def test_trained_one_reconstructs_unseen_digits(small: Autoencoder, digits: Images) -> None:
    image_NCHW = digits.test_NCHW.float() / 127.5 - 1
    with torch.no_grad():
        error_NCHW = (small.decode(small.encode(image_NCHW)) - image_NCHW).clamp(-2, 2)
    # The default, wider and trained on five times as many images, leaves 0.004; the mean image leaves 0.29.
    assert error_NCHW.square().mean() < 0.08
    assert (small.image_channels, small.channels, small.factor) == (1, 4, 2)


def test_trained_latents_have_mean_0_and_variance_1(small: Autoencoder, digits: Images) -> None:
    latent_NCHW = latents_of(digits.train_NCHW, small, device=torch.device("cpu"))
    assert latent_NCHW.shape == (1438, 4, 4, 4)
    torch.testing.assert_close(latent_NCHW.mean(dim=(0, 2, 3)), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(latent_NCHW.std(dim=(0, 2, 3)), torch.ones(4), atol=1e-4, rtol=0)


def test_training_is_repeatable_and_done_once(digits: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"channels": 2, "factor": 4, "width": 4, "images_seen": 500}
    state = torch.get_rng_state()
    first = trained_autoencoder(digits, Cache(tmp_path / "one"), **options)
    second = trained_autoencoder(digits, Cache(tmp_path / "two"), **options)
    other = trained_autoencoder(digits, Cache(tmp_path / "two"), **options | {"images_seen": 700})
    assert first.fingerprint == second.fingerprint != other.fingerprint
    assert torch.equal(torch.get_rng_state(), state)
    monkeypatch.setattr("trainers.models.autoencoder_training._trained", None)
    assert trained_autoencoder(digits, Cache(tmp_path / "one"), **options).fingerprint == first.fingerprint
