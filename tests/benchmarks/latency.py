"""How far the device model is from measured latency: the median relative error over random compressed candidates.

Run ``python tests/benchmarks/latency.py``; at most 15 % is asked for. Beside busy neighbours the measured values
themselves drift by more than that, so it also prints which share of a core this process got: below 95 % repeat it.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from objectives.device_model import calibrated
from objectives.generation import GenerationMs
from trainers.cache import Cache
from trainers.data.digits import Digits
from trainers.models.arch_spec import ArchSpec, Layer
from trainers.models.building import empty
from trainers.models.diffusion_model import DiffusionModel
from trainers.models.networks.unet import Unet
from trainers.models.tracing import spec_of
from trainers.quiet import silence_libraries
from trainers.run import Run

ASKED = 0.15


def main() -> None:
    """Print one line per candidate and the median error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1, help="images at a time")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    silence_libraries()
    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(Path(folder))
        begun = time.perf_counter()
        model = calibrated(device, cache)
        print(f"{model.name}, calibrated in {time.perf_counter() - begun:.1f} s")
        errors = []
        begun, begun_on_core = time.perf_counter(), time.process_time()
        for _ in range(options.candidates):
            spec = random_spec(draw)
            objective = GenerationMs(batch=options.batch)
            measured = objective.measure(random_weights(spec, device), run_on(device, cache))
            predicted = objective.predict(spec, model)
            errors.append(abs(predicted - measured.value) / measured.value)
            print(
                f"{described(spec):62} measured {measured.value:6.1f} +- {measured.stderr:4.1f} ms, "
                f"predicted {predicted:6.1f} ms, error {errors[-1]:4.0%}"
            )
        share = (time.process_time() - begun_on_core) / (time.perf_counter() - begun)
    print(f"this process had {share:.0%} of a core")
    print(f"median error {statistics.median(errors):.1%} of {len(errors)} candidates, worst {max(errors):.0%}")
    if statistics.median(errors) > ASKED:
        raise SystemExit(f"more than the {ASKED:.0%} that are asked for")


def random_spec(draw: random.Random) -> ArchSpec:
    """A digits U-Net of random widths, depth and attention, compressed at random."""
    network = Unet(
        image_size=8,
        image_channels=1,
        channels=tuple(sorted(draw.choice((8, 12, 16, 20, 24, 28, 32)) for _ in range(draw.choice((2, 2, 3))))),
        attention=draw.choice((None, None, (False, True), (True, False))),
        layers=draw.choice((1, 1, 2)),
        norm_groups=4,
    )
    if network.attention is not None:
        network = replace(network, attention=(*network.attention, False)[: len(network.channels)])
    spec = spec_of(network, sampling_steps=draw.randint(4, 16))
    groups, bits, is_flexible = draw.choice((1, 1, 2, 4)), draw.choice((32, 32, 8, 4)), draw.random() < 0.4
    return spec.map_layers(lambda name, layer: compressed(layer, groups=groups, bits=bits, is_flexible=is_flexible))


def compressed(layer: Layer, *, groups: int, bits: int, is_flexible: bool) -> Layer:
    """The layer grouped, quantised, or with unequal norm groups, where its kind and its widths allow it."""
    if layer.kind == "norm" and is_flexible:
        size = layer.outputs // 4
        return replace(layer, norm_groups=(size + 1, size - 1, size, size) if size > 1 else layer.norm_groups)
    if layer.kind == "conv" and layer.inputs % groups == 0 and layer.outputs % groups == 0:
        layer = replace(layer, groups=groups)
    if layer.kind in ("conv", "linear"):
        layer = replace(layer, bits=bits, format={32: "", 8: "int8", 4: "nf4"}[bits])
    return layer


def random_weights(spec: ArchSpec, device: torch.device) -> DiffusionModel:
    """A model of the architecture that was never trained."""
    net = empty(spec).to_empty(device=device)
    generator = torch.Generator(device).manual_seed(0)
    for tensor in (*net.parameters(), *net.buffers()):
        if tensor.dtype == torch.uint8:
            tensor.random_(0, 256, generator=generator)
        else:
            nn.init.normal_(tensor, std=0.05, generator=generator)
    return DiffusionModel(net=net.eval(), spec=spec)


def run_on(device: torch.device, cache: Cache) -> Run:
    """A run for measuring only."""
    model = random_weights(spec_of(Unet(image_size=8, image_channels=1, channels=(8,)), sampling_steps=1), device)
    return Run(
        seed=0, device=device, images=Digits().load(), teacher=model, cache=cache, budget_images=0, until_images=0
    )


def described(spec: ArchSpec) -> str:
    """A candidate in a line."""
    network = spec.network
    assert isinstance(network, Unet)
    middle = spec.layers["mid_block.resnets.0.conv1"]
    norm = "flexible" if isinstance(spec.layers["mid_block.resnets.0.norm1"].norm_groups, tuple) else "equal"
    attention = "".join("FT"[attends] for attends in network.attention or ()) or "-"
    return (
        f"{network.channels} x{network.layers} attention {attention} groups {middle.groups} {norm} "
        f"{middle.bits} bit {spec.sampling_steps} steps"
    )


if __name__ == "__main__":
    main()
