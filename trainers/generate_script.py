"""``generate.py`` of a model folder: a program that draws from the model beside it, with the package alone."""

from __future__ import annotations

_SCRIPT = '''\
"""Draws images from the model beside this file, with the package slimfront: python generate.py [COUNT] [SEED]{label}"""

from pathlib import Path

from trainers.command import command
{imports}from trainers.models import files
{more_imports}from trainers.models.pictures import strip
from trainers.models.sampling import draw_uint8

def main(count: int = 8, seed: int = 0{option}) -> None:
    here = Path(__file__).resolve().parent
    model = files.load(here)
{decoder}    uint8_NCHW = draw_uint8(model, count=count, seed=seed{asked}{decode})
    Path("generated.webp").write_bytes(strip(uint8_NCHW))
    print(f"{{len(uint8_NCHW)}} images are in generated.webp")

command(main, name="python generate.py")
'''
_OF_LABELS = {"label": " [LABEL]", "option": ", label: int | None = None", "asked": ", label=label"}
_OF_LATENTS = {
    "imports": "from trainers.data.pixels import to_uint8\n",
    "more_imports": "from trainers.models.autoencoder import Autoencoder\n",
    "decoder": '    decoder = Autoencoder.load(here / "decoder")\n',
    "decode": ", decode=lambda latent: to_uint8(decoder.decode(latent))",
}


def generate_script(*, has_labels: bool, has_latents: bool) -> str:
    """The program, in the words that such a model needs."""
    words = dict.fromkeys((*_OF_LABELS, *_OF_LATENTS), "")
    return _SCRIPT.format(**words | (_OF_LABELS if has_labels else {}) | (_OF_LATENTS if has_latents else {}))
