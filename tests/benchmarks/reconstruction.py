"""What a refit by least squares is worth, in images of tuning: FID against seconds, side by side.

Run ``python tests/benchmarks/reconstruction.py``: trains the digits teacher that a space uses (a minute on one core)
unless the cache has it, then takes channels, groups or weights away, refits what is left, and beside it tunes the same
model on more and more images until its FID is as low.

Found (seed 0): tuning to the same FID takes 5 to 10 times as long, 4,000 to 16,000 images. What is tuned for a
short while after a refit ends lower than what is tuned alone (studies/reconstruct_small).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import Any

import torch
from compression_quality import run_with

from objectives.fid import Fid
from trainers.cache import Cache
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.networks.unet import Unet
from trainers.quiet import silence_libraries
from trainers.recipe import Recipe
from trainers.run import Run
from trainers.teacher import Teacher

TAKEN: dict[str, Any] = {
    "prune 25 %": {"prune": {"ratio": 0.25, "rule": "flexible"}},
    "prune 50 %": {"prune": {"ratio": 0.5, "rule": "flexible"}},
    "prune 25 %, random": {"prune": {"ratio": 0.25, "rule": "flexible", "criterion": "random"}},
    "2 groups": {"group": {"groups": 2}},
    "mask 70 %": {"mask": {"ratio": 0.7}},
}
TUNED: dict[str, Any] = {
    "finetune": {"finetune": {"learning_rate": 2e-3}},
    "distil": {"distil": {"weights": {"noise": 1.0, "output": 1.0}, "learning_rate": 2e-3}},
}
IMAGES = (2_000, 4_000, 8_000, 16_000, 32_000)


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    silence_libraries()
    torch.set_num_threads(1)
    print("| taken away | seed | FID at once | refitted | seconds | as low by | images | seconds | times as long |")
    print("| --- | ---: | ---: | ---: | ---: | --- | ---: | ---: | ---: |")
    for seed in range(options.seeds):
        run = run_with(_teacher(seed), Cache.default())
        fid = Fid(samples=1000, extractor="labels", seed=seed)
        fid.prepare(run.images, run.cache)
        for name, stage in TAKEN.items():
            # Once before it is timed: gradients of the teacher come from the cache from then on.
            _timed(run, [stage])
            at_once, seconds_at_once = _timed(run, [stage])
            refitted, seconds = _timed(run, [stage, "reconstruct"])
            found = [fid.measure(model, run).value for model in (at_once, refitted)]
            seconds -= seconds_at_once
            shown = f"| {name} | {seed} | {found[0]:.1f} | {found[1]:.1f} | {seconds:.2f} |"
            for way, training in TUNED.items():
                print(shown, f"{way} | {_until_as_low(run, fid, [stage, training], found[1], seconds)} |", flush=True)


def _until_as_low(run: Run, fid: Fid, stages: list[Any], wanted: float, seconds: float) -> str:
    for images in IMAGES:
        model, taken = _timed(replace(run, budget_images=images, until_images=images), stages)
        if fid.measure(model, run).value <= wanted:
            return f"{images:,} | {taken:.1f} | {taken / seconds:.1f}"
    return f"more than {IMAGES[-1]:,} | more than {taken:.1f} | more than {taken / seconds:.1f}"


def _timed(run: Run, stages: list[Any]) -> tuple[DiffusionModel, float]:
    begun = time.perf_counter()
    model = Recipe.parse(stages).run(run)
    return model, time.perf_counter() - begun


def _teacher(seed: int) -> Teacher:
    network = Unet(channels=(16, 32), norm_groups=4)
    return Teacher(network=network, images=200_000, learning_rate=4e-3, sampling_steps=16, seed=seed)


if __name__ == "__main__":
    main()
