"""FID after 25 % of the channels are gone, without tuning: criteria against random, and norm groups kept or shifted.

Run ``python tests/benchmarks/compression_quality.py``: trains one digits teacher per seed (about six minutes each on
one core), then prunes it in several ways. Asked for: Diff-Pruning at least 1.5 x better than random channels, and free
ranking with Flexible Group Normalization at least 1.5 x better than the same ranking with shifted groups: as many as
before, as torch-pruning leaves them, or fewer that are as large as before.

Found: Diff-Pruning is 4.3, 1.9 and 2.0 x better than random (seeds 0 to 2). Kept groups are mostly better than shifted
ones, but not by what was asked, and how much is a matter of the teacher. As many groups: 1.48, 0.81 and 1.93 x, and
with five teachers of (16, 32) channels in 4 norm groups, trained for other runs, 1.30, 0.99, 1.42, 1.81 and 1.15 x;
1.31 in the geometric mean of all eight. Fewer groups: 1.05, 1.23 and 2.71 x, and 1.59, 1.64, 1.40, 1.12 and 2.34 x;
1.55 in the mean. Two teachers of one kind differ by as much, whose FID with kept groups goes from 117 to 353.

A refit of what is left (``reconstruct``) is worth more than any of these: kept groups have FID 34, 35 and 46 after it,
shifted ones 40, 40 and 56.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace
from pathlib import Path

import torch

from objectives.fid import Fid
from trainers.cache import Cache
from trainers.compression._norm_groups import sizes_of
from trainers.data.digits import Digits
from trainers.models.arch_spec import Layer
from trainers.models.building import assembled
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.networks.unet import Unet
from trainers.quiet import silence_libraries
from trainers.recipe import Recipe
from trainers.run import Run
from trainers.teacher import Teacher

ASKED = 1.5
STEPS = 8
SHIFTED = "diff_pruning, shifted groups"


def main() -> None:
    """Print FID for each way of pruning and seed, and the two ratios that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--channels", type=int, nargs="+", default=(32, 64))
    parser.add_argument("--norm-groups", type=int, default=8)
    parser.add_argument("--images", type=int, default=384_000)
    parser.add_argument("--ratio", type=float, default=0.25)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--cache", type=Path, default=None, help="keeps teachers for the next run")
    options = parser.parse_args()
    silence_libraries()
    torch.set_num_threads(1)
    cache = Cache(options.cache) if options.cache else Cache.default()
    found: dict[str, list[float]] = {}
    for seed in range(options.seeds):
        network = Unet(channels=tuple(options.channels), norm_groups=options.norm_groups)
        run = run_with(Teacher(network=network, images=options.images, sampling_steps=STEPS, seed=seed), cache)
        fid = Fid(samples=options.samples, extractor="labels", seed=seed)
        fid.prepare(run.images, cache)
        for name, model in candidates(run, options.ratio).items():
            value = fid.measure(model, run).value
            found.setdefault(name, []).append(value)
            print(f"seed {seed}: {name:44} FID {value:7.1f}", flush=True)
    print(f"\nmedian of {options.seeds} seeds, {options.ratio:.0%} of the channels, {STEPS} steps, no tuning:")
    for name, values in found.items():
        print(f"  {name:44} {statistics.median(values):7.1f}   ({', '.join(f'{value:.1f}' for value in values)})")
    # Ratios within a seed: the teachers differ more than the criteria.
    for worse, better in (
        ("random, paper", "diff_pruning, paper"),
        (SHIFTED, "diff_pruning, flexible (proper)"),
        ("diff_pruning, shifted, fewer groups", "diff_pruning, flexible (proper)"),
    ):
        ratios = [bad / good for bad, good in zip(found[worse], found[better], strict=True)]
        verdict = (
            "met" if min(ratios) >= ASKED else "met in the median" if statistics.median(ratios) >= ASKED else "MISSED"
        )
        print(f"{worse} / {better}: {', '.join(f'{ratio:.2f}' for ratio in ratios)} x (asked {ASKED}: {verdict})")


def run_with(teacher: Teacher, cache: Cache) -> Run:
    """A run on digits that trains nothing, whose teacher is trained, or taken from the cache; of the teacher's seed."""
    images, device = Digits().load(), torch.device("cpu")
    model = teacher.obtain(images, cache=cache, device=device, on_progress=lambda progress: None)
    return Run(
        seed=teacher.seed,
        device=device,
        images=images,
        teacher=model,
        cache=cache,
        budget_images=0,
        until_images=0,
    )


def candidates(run: Run, ratio: float) -> dict[str, DiffusionModel]:
    """The pruned models, by what was done."""
    ways: dict[str, dict[str, object]] = {
        "random, paper": {"criterion": "random"},
        "random, flexible (proper)": {"criterion": "random", "rule": "flexible"},
        "magnitude, paper": {"criterion": "magnitude"},
        "magnitude, flexible (proper)": {"criterion": "magnitude", "rule": "flexible"},
        "taylor, paper": {"criterion": "taylor"},
        "diff_pruning, paper": {"criterion": "diff_pruning"},
        "diff_pruning, flexible (proper)": {"criterion": "diff_pruning", "rule": "flexible"},
        "diff_pruning, flexible (zeroed)": {"criterion": "diff_pruning", "rule": "flexible", "statistics": "zeroed"},
        SHIFTED: {"criterion": "diff_pruning", "rule": "flexible", "statistics": "shifted"},
    }
    models = {"unpruned": run.teacher}
    models |= {name: Recipe.parse([{"prune": {"ratio": ratio, **way}}]).run(run) for name, way in ways.items()}
    for name in ("random, paper", "diff_pruning, paper", "diff_pruning, flexible (proper)", SHIFTED):
        pruning = {"prune": {"ratio": ratio, **ways[name]}}
        models[f"{name}, refitted"] = Recipe.parse([pruning, "reconstruct"]).run(run)
    models["diff_pruning, shifted, fewer groups"] = with_fewer_groups(models[SHIFTED], run.teacher)
    return models


def with_fewer_groups(model: DiffusionModel, teacher: DiffusionModel) -> DiffusionModel:
    """The other way to shift channels: fewer norm groups, each as large as in the teacher where that divides."""

    def regrouped(name: str, layer: Layer) -> Layer:
        size = sizes_of(teacher.spec.layers[name])[0] if layer.kind == "norm" else 0
        return layer.but(norm_groups=layer.outputs // size) if size and layer.outputs % size == 0 else layer

    spec = model.spec.map_layers(regrouped)
    return replace(model, spec=spec, net=assembled(spec, model.net.state_dict()))


if __name__ == "__main__":
    main()
