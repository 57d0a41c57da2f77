"""Damaged folders of models, autoencoders and images: each is read, or refused with one message; nothing else happens.

25 of each by default; ``SLIMFRONT_FUZZ=2000`` tries more, ``SLIMFRONT_FUZZ_SEED=x`` others.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDPMPipeline, DDPMScheduler, UNet2DModel, VQModel
from PIL import Image

from tests.fuzz.mutations import damaged, mutated
from tests.fuzz.watch import at_most
from tests.trainers.models.test_autoencoder import SMALL as SMALL_AUTOENCODER
from tests.trainers.models.test_published import SMALL
from trainers.data.folder import Folder
from trainers.errors import UserError
from trainers.models.autoencoder import published, published_plan
from trainers.models.published import load_published, published_spec

SEED = os.environ.get("SLIMFRONT_FUZZ_SEED", "")
CASES = int(os.environ.get("SLIMFRONT_FUZZ", "25"))


def model(folder: Path) -> None:
    """A pipeline of diffusers, its weights in several files."""
    DDPMPipeline(unet=UNet2DModel(**SMALL), scheduler=DDPMScheduler()).save_pretrained(folder)
    UNet2DModel(**SMALL).save_pretrained(folder / "unet", max_shard_size="50KB")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()


def autoencoders(folder: Path) -> None:
    """One of each kind; the second is found where the first is gone."""
    VQModel(**SMALL_AUTOENCODER, num_vq_embeddings=16).save_pretrained(folder / "vqvae")
    AutoencoderKL(**SMALL_AUTOENCODER, latents_mean=[0.0] * 4, latents_std=[1.0] * 4).save_pretrained(folder / "vae")


def images(folder: Path) -> None:
    """Two classes of pictures in several formats."""
    pixels = np.random.default_rng(0).integers(0, 256, size=(8, 6, 6, 3), dtype=np.uint8)
    for place, ending in enumerate(("png", "jpg", "webp", "bmp", "gif", "tiff", "ppm", "png")):
        path = folder / "train" / f"class{place % 2}" / f"{place}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[place]).save(path)


def use_model(folder: Path) -> None:
    """What a search does with a teacher."""
    published_spec(str(folder), sampling_steps=4)
    load_published(str(folder), sampling_steps=4)


def use_autoencoder(folder: Path) -> None:
    """What a search does with an autoencoder."""
    plan = published_plan(str(folder))
    autoencoder = published(str(folder))
    side = 4 * plan.factor
    latent_NCHW = autoencoder.encode(torch.zeros(1, plan.image_channels, side, side))
    assert autoencoder.decode(latent_NCHW).shape == (1, plan.image_channels, side, side)


def use_images(folder: Path) -> None:
    """What a search does with data."""
    data = Folder(path=str(folder))
    data.bytes_here()
    data.shape()
    data.load()


KINDS = {"model": (model, use_model), "autoencoder": (autoencoders, use_autoencoder), "images": (images, use_images)}


def damage(folder: Path, generator: Random) -> None:
    """One to three files of a folder in another state."""
    outside = folder.parent / "outside"
    for _ in range(generator.choice((1, 1, 1, 3))):
        path = generator.choice([path for path in sorted(folder.rglob("*")) if path.is_file() or path.is_symlink()])
        kind = generator.randrange(10)
        if kind <= 5 and path.suffix == ".json" and path.is_file():
            try:
                path.write_text(json.dumps(mutated(json.loads(path.read_bytes()), generator)))
            except ValueError:  # as an earlier step has damaged it
                continue
        elif kind <= 7 and path.is_file():
            path.write_bytes(damaged(path.read_bytes(), generator))
        else:
            path.unlink()
            match generator.randrange(4):
                case 0:
                    path.symlink_to(outside)
                case 1:
                    os.mkfifo(path)
                case 2:
                    path.mkdir()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_folders_are_read_or_refused(kind: str, tmp_path: Path) -> None:
    make, use = KINDS[kind]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        make(tmp_path / "whole")
    use(tmp_path / "whole")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "outside").write_text('{"secret": "of another"}')
    read = sum(is_read(number, kind, use, tmp_path) for number in range(CASES))
    assert 0 < read < CASES


def is_read(number: int, kind: str, use: Callable[[Path], None], place: Path) -> bool:
    """Whether one damaged folder was taken."""
    folder = place / "home" / "folder"
    shutil.copytree(place / "whole", folder)
    damage(folder, Random(f"{kind} {number}{SEED}"))
    try:
        with at_most(10):
            use(folder)
        return True
    except UserError as error:
        assert str(error).strip() and len(str(error)) < 5_000 and "of another" not in str(error)
        return False
    except BaseException as error:
        raise AssertionError(f"{kind} {number}{SEED}: {type(error).__name__}: {error}") from error
    finally:
        assert {path.name for path in (place / "home").iterdir()} == {"folder", "outside"}
        shutil.rmtree(folder)
