"""Folders for diffusers: opened by diffusers itself with the same answers, or refused with the reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.conftest import build
from trainers.compression._norm_groups import sizes_of
from trainers.errors import UserError
from trainers.models.arch_spec import Layer
from trainers.models.autoencoder import Autoencoder, published, untrained
from trainers.models.diffusers_folder import save_for_diffusers
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.networks.unet import Unet
from trainers.models.published import load_published
from trainers.models.samplers.sampler import SAMPLERS
from trainers.models.sampling import draw_uint8
from trainers.recipe import Recipe
from trainers.run import Run

WIDE = Unet(image_size=8, image_channels=1, channels=(16, 32), norm_groups=4, attention=(False, True), head_dim=8)


def opened(folder: Path):  # type: ignore[no-untyped-def]
    from diffusers import UNet2DModel

    return UNet2DModel.from_pretrained(folder, subfolder="unet").eval()


def answers(model: DiffusionModel, net: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    image_BCHW = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    timestep_B = torch.tensor([3, 700])
    with torch.no_grad():
        return model.predict(image_BCHW, timestep_B), net(image_BCHW, timestep_B).sample


@pytest.mark.parametrize("head_dim", [None, 8])
def test_diffusers_opens_what_was_not_pruned(head_dim: int | None, tmp_path: Path) -> None:
    model = build(replace(WIDE, head_dim=head_dim))
    save_for_diffusers(model, tmp_path / "out")
    ours, theirs = answers(model, opened(tmp_path / "out"))
    assert torch.equal(ours, theirs)
    # And it can be a teacher again.
    again = load_published(str(tmp_path / "out"), sampling_steps=4)
    assert again.spec.layers == model.spec.layers and again.spec.diffusion == model.spec.diffusion
    assert torch.equal(ours, answers(again, again.net)[0])


def drawing(sampler: object, steps: int) -> DiffusionModel:
    model = build(WIDE)
    return replace(model, spec=replace(model.spec, sampler=SAMPLERS.parse(sampler), sampling_steps=steps))


@pytest.mark.parametrize(
    ("sampler", "steps", "opener"),
    [
        ("ddim", 4, "DDIMPipeline.from_pretrained(folder), 4 inference steps"),
        ({"ddim": {"eta": 0.5}}, 4, "DDIMPipeline.from_pretrained(folder), 4 inference steps with eta 0.5"),
        ("ddpm", 4, "DDPMPipeline.from_pretrained(folder), 4 inference steps"),
        ("dpm_solver", 7, "DDPMPipeline.from_pretrained(folder), 7 inference steps"),
    ],
)
def test_the_pipeline_draws_our_images(sampler: object, steps: int, opener: str, tmp_path: Path) -> None:
    import diffusers
    import numpy as np

    model = drawing(sampler, steps)
    assert save_for_diffusers(model, tmp_path / "out") == opener
    pipeline = getattr(diffusers, opener.partition(".")[0]).from_pretrained(tmp_path / "out")
    pipeline.set_progress_bar_config(disable=True)
    options = {"eta": 0.5} if "eta" in opener else {}
    noise = torch.Generator().manual_seed(5)
    drawn = pipeline(batch_size=3, num_inference_steps=steps, generator=noise, output_type="np", **options).images
    ours = draw_uint8(model, count=3, seed=5).permute(0, 2, 3, 1).numpy()
    assert np.abs(255 * drawn - ours).max() <= 0.51
    # And as a teacher it has the same process.
    assert load_published(str(tmp_path / "out"), sampling_steps=4).spec.diffusion == model.spec.diffusion


@pytest.mark.parametrize(("sampler", "steps"), [("ode", 4), ("ddim", 7), ({"ddpm": {"variance": "large"}}, 4)])
def test_that_the_pipeline_draws_otherwise_is_said(sampler: object, steps: int, tmp_path: Path) -> None:
    said = save_for_diffusers(drawing(sampler, steps), tmp_path / "out")
    assert said.startswith(f"DDIMPipeline.from_pretrained(folder), {steps} inference steps, by diffusers' DDIM: not as")


def test_of_labels_there_is_no_pipeline(tmp_path: Path) -> None:
    said = save_for_diffusers(build(replace(WIDE, classes=10)), tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"unet", "scheduler"} and "labels" in said
    assert opened(tmp_path / "out").config.num_class_embeds == 10


@pytest.mark.parametrize(("kind", "part"), [("AutoencoderKL", "vae"), ("VQModel", "vqvae")])
def test_of_latents_the_autoencoder_lies_beside_the_network(kind: str, part: str, tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        net = untrained(kind, {"block_out_channels": (4,), "norm_num_groups": 2, "latent_channels": 1})
    autoencoder = Autoencoder(net.eval())
    said = save_for_diffusers(build(WIDE), tmp_path / "out", decoder=autoencoder)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"unet", "scheduler", part}
    assert f'{kind}.from_pretrained(folder, subfolder="{part}")' in said
    assert published(str(tmp_path / "out")).fingerprint == autoencoder.fingerprint


def test_diffusers_opens_a_pruned_network_whose_widths_agree(run: Run, tmp_path: Path) -> None:
    run.teacher = build(Unet(image_size=8, image_channels=1, channels=(16, 32), norm_groups=4))
    names = [
        "down_blocks.0.downsamplers.0.conv",
        "down_blocks.1.*",
        "mid_block.*",
        "up_blocks.0.*",
    ]
    ratio = dict.fromkeys(names, 0.25) | {"down_blocks.0.downsamplers.0.conv": 0.0}
    model = Recipe.parse([{"prune": {"ratio": ratio, "criterion": "magnitude"}}]).run(run)
    save_for_diffusers(model, tmp_path / "out")
    net = opened(tmp_path / "out")
    assert net.config.block_out_channels == [16, 24]
    ours, theirs = answers(model, net)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_groups_that_are_even_by_chance_are_no_obstacle(tmp_path: Path) -> None:
    def flexible(name: str, layer: Layer) -> Layer:
        return layer.but(norm_groups=sizes_of(layer)) if layer.is_norm else layer

    model = build(WIDE)
    model = replace(model, spec=model.spec.map_layers(flexible))
    save_for_diffusers(model, tmp_path / "out")
    ours, theirs = answers(model, opened(tmp_path / "out"))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("bits", [8, 4])
def test_fewer_bits_are_restored(run: Run, tmp_path: Path, bits: int) -> None:
    model = Recipe.parse([{"quantize": {"bits": bits}}]).run(run)
    save_for_diffusers(model, tmp_path / "out")
    ours, theirs = answers(model, opened(tmp_path / "out"))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        ([{"prune": {"ratio": 0.5, "criterion": "random"}}], "time_embedding.linear_1 has 8 inputs where only 4"),
        ([{"group": {"groups": 2}}], "has 2 groups where only 1"),
        ([{"prune": {"ratio": {"*.conv1": 0.5}, "criterion": "random"}}], r"conv1 has .* outputs where only"),
        ([{"prune": {"ratio": {"mid": 0.2}, "criterion": "random", "rule": "flexible"}}], "mid_block.*has"),
    ],
)
def test_what_diffusers_cannot_express_is_said(run: Run, tmp_path: Path, recipe: list[object], reason: str) -> None:
    model = Recipe.parse(recipe).run(run)
    with pytest.raises(UserError, match=rf"diffusers' UNet2DModel cannot express this network: .*{reason}"):
        save_for_diffusers(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()
