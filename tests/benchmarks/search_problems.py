"""Problems that search policies are compared on: an assumed compression model, and LCBench learning curves.

**Compression, assumed.** A diffusion U-Net of five blocks loses channels, is split into groups, distilled to fewer
sampling steps and quantised: 16 knobs, three known costs, FID measured. Not fitted to any run; taken from published
findings are only the kinds of effect: damage grows faster than linearly with a block's ratio and differs fivefold
between blocks, neighbouring blocks hurt each other, the criterion scales damage, too few sampling steps and 4 bits
cost FID (4 bits more for a damaged network), the learning rate has a narrow best value that moves with the damage,
some knobs barely matter. Costs are products, so cheap candidates are rarely good. Training follows a power law whose
size depends on what was removed, on the learning rate and on width, so that a ninth of the budget ranks all
candidates well and those within the limits less well (``python tests/benchmarks/search_core.py fidelity`` prints it).
FID has 2.5% noise at the full budget, more below. ``blind`` is the same with cheap shares that say nothing,
``reversed`` with cheap shares that put the candidates in the opposite order.

**LCBench**: real learning curves through a surrogate network, described in the README beside the data.
"""

from __future__ import annotations

import itertools
import json
import math
import operator
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from search.simulate import random_candidates

LCBENCH = Path(os.environ.get("LCBENCH", Path(__file__).parents[3] / "shared" / "data" / "lcbench"))
LCBENCH_ERRORS = {"3945": 10.9, "7593": 43.8, "34539": 16.6}
BLOCKS = ("down_0", "down_1", "mid", "up_1", "up_0")
_PARAMETERS_M = (1.5, 6.0, 9.0, 12.0, 4.0)
_MACS_G = (1.6, 1.2, 0.5, 1.8, 2.4)
_DAMAGE = np.array([1.1, 0.5, 0.25, 0.6, 1.3])
_MIDDLE = 60.0
"""About the FID of most candidates."""
_CRITERIA = {"taylor": 1.0, "diff_pruning": 1.0, "magnitude": 1.2, "random": 1.8}


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What ``simulate`` takes."""

    name: str
    distributions: Mapping[str, BaseDistribution]
    evaluate: Callable[[Mapping[str, Any], float], dict[str, float]]
    costs: Callable[[Mapping[str, Any]], dict[str, float]]
    limits: Mapping[str, float]
    has_shares: bool = True

    def random(self, count: int, *, seed: int) -> list[dict[str, Any]]:
        """Independent candidates."""
        return random_candidates(self.distributions, count, seed=seed)


def compression() -> Problem:
    """The assumed model above."""
    distributions: dict[str, BaseDistribution] = {f"ratio.{block}": FloatDistribution(0.0, 0.8) for block in BLOCKS}
    distributions |= {
        "criterion": CategoricalDistribution(list(_CRITERIA)),
        "threshold": FloatDistribution(0.0, 0.1),
        "rule": CategoricalDistribution(["paper", "flexible"]),
        "groups": CategoricalDistribution([1, 2, 4]),
        "sampling_steps": IntDistribution(4, 100, log=True),
        "bits": CategoricalDistribution([32, 16, 8, 4]),
        "learning_rate": FloatDistribution(1e-5, 3e-3, log=True),
        "weight.output": FloatDistribution(0.01, 10.0, log=True),
        "weight.feature": FloatDistribution(0.0, 2.0),
        "gradual_steps": IntDistribution(1, 8),
        "ema_images": IntDistribution(100, 10_000, log=True),
    }
    teacher = _costs({**{f"ratio.{block}": 0.0 for block in BLOCKS}, "groups": 1, "bits": 32, "sampling_steps": 50})
    return Problem(
        name="compression",
        distributions=distributions,
        evaluate=_trained,
        costs=_costs,
        limits={"fid": 40.0, **teacher},
    )


def blind() -> Problem:
    """``compression`` with noise in the place of cheap shares."""
    return replace(compression(), name="blind", evaluate=_blind)


def reversed_looks() -> Problem:
    """``compression`` with cheap shares at which the best look worst."""
    return replace(compression(), name="reversed", evaluate=_reversed)


def _costs(candidate: Mapping[str, Any]) -> dict[str, float]:
    # Plain numbers: a search asks for hundreds of costs before each training, and small arrays are slow.
    kept = [1.0 - candidate[f"ratio.{block}"] for block in BLOCKS]
    # A layer's weights and work follow the channels on both its sides; the neighbour's count for half.
    sides = [own * (own + before) / 2 for own, before in zip(kept, kept[-1:] + kept[:-1], strict=True)]
    grouped = 0.25 + 0.75 / candidate["groups"]
    steps, bits = candidate["sampling_steps"], candidate["bits"]
    return {
        "size_mb": sum(map(operator.mul, _PARAMETERS_M, sides)) * grouped * bits / 8,
        "macs_g": sum(map(operator.mul, _MACS_G, sides)) * grouped * steps,
        "latency_ms": steps * (0.8 + sum(map(operator.mul, _MACS_G, kept)) * (0.3 if bits >= 16 else 0.2)),
    }


def _trained(candidate: Mapping[str, Any], share: float) -> dict[str, float]:
    ratio = np.array([candidate[f"ratio.{block}"] for block in BLOCKS])
    criterion = _CRITERIA[candidate["criterion"]]
    if candidate["criterion"] == "diff_pruning":
        criterion += 80 * (candidate["threshold"] - 0.03) ** 2 - 0.15
    blocks = float(_DAMAGE @ (ratio**2 / (1 - 0.7 * ratio)))
    damage = criterion * (blocks + 0.8 * float(np.abs(np.diff(ratio)) @ ratio[1:])) / 2
    damage *= {"paper": 1.0, "flexible": 0.93}[candidate["rule"]] * (1 + 0.03 * abs(candidate["gradual_steps"] - 5))
    damage += {1: 0.0, 2: 0.12, 4: 0.35}[candidate["groups"]] * (1 + ratio[2])
    best_rate = -3.6 + 0.4 * min(damage, 2.0)
    rate_error = math.log10(candidate["learning_rate"]) - best_rate
    output = math.log10(candidate["weight.output"])
    log_fid = (
        math.log(10.0)
        + 0.9 * damage
        + 3.2 / candidate["sampling_steps"] ** 0.8
        + {32: 0.0, 16: 0.0, 8: 0.04, 4: 0.3 + 0.3 * damage}[candidate["bits"]]
        + 0.35 * rate_error**2
        + 0.06 * (output + 0.3) ** 2
        + 0.05 * abs(candidate["weight.feature"] - 0.8)
        + 0.01 * math.log10(candidate["ema_images"] / 1000) ** 2
    )
    # Slow are heavy pruning, a low rate, many gradual steps, a long average; a high rate is fast but ends worse.
    slow = 0.12 + 0.1 * damage + 0.25 * max(0.0, -rate_error) - 0.06 * max(0.0, rate_error)
    slow += 0.03 * candidate["gradual_steps"] + 0.12 * max(0.0, math.log10(candidate["ema_images"] / 1000))
    slow += 0.25 * float(1 - ratio[1:4].mean())
    log_fid += slow * (share**-0.5 - 1)
    return {"fid": math.exp(log_fid + 0.025 * share**-0.3 * _noise(candidate, share))}


def _blind(candidate: Mapping[str, Any], share: float) -> dict[str, float]:
    if share >= 1:
        return _trained(candidate, 1.0)
    return {"fid": math.exp(math.log(_MIDDLE) + 0.5 * _noise(candidate, share))}


def _reversed(candidate: Mapping[str, Any], share: float) -> dict[str, float]:
    fid = _trained(candidate, share)["fid"]
    return {"fid": fid if share >= 1 else _MIDDLE * (_MIDDLE / fid) ** 0.7}


def _noise(candidate: Mapping[str, Any], share: float) -> float:
    """A standard normal that depends on nothing else."""
    text = json.dumps([sorted(candidate.items()), round(share, 6)])
    return float(np.random.default_rng(zlib.crc32(text.encode())).standard_normal())


def lcbench(task: str) -> Problem | None:
    """One data set of the learning curves; None when onnxruntime or the data are not there."""
    try:
        import onnxruntime
    except ImportError:
        return None
    if not (LCBENCH / "model.onnx").is_file():
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(LCBENCH / "model.onnx"), options)
    number = json.loads((LCBENCH / "encoding.json").read_text())["OpenML_task_id"][task]

    def evaluate(candidate: Mapping[str, Any], share: float) -> dict[str, float]:
        knobs = ["batch_size", "learning_rate", "momentum", "weight_decay", "num_layers", "max_units", "max_dropout"]
        row = [max(1.0, round(52 * share)), *(float(candidate[knob]) for knob in knobs)]
        inputs = {"x_cat": np.array([[number]], np.int32), "x_cont": np.array([row], np.float32)}
        return {"error": float(100 - session.run(None, inputs)[0][0, 1])}

    distributions: dict[str, BaseDistribution] = {
        "batch_size": IntDistribution(16, 512, log=True),
        "learning_rate": FloatDistribution(1e-4, 0.1, log=True),
        "momentum": FloatDistribution(0.1, 0.99),
        "weight_decay": FloatDistribution(1e-5, 0.1),
        "num_layers": IntDistribution(1, 5),
        "max_units": IntDistribution(64, 1024, log=True),
        "max_dropout": FloatDistribution(0.0, 1.0),
    }
    largest = _perceptron({"num_layers": 4, "max_units": 512, "batch_size": 24})
    return Problem(
        name=f"lcbench {task}",
        distributions=distributions,
        evaluate=evaluate,
        costs=_perceptron,
        limits={"error": LCBENCH_ERRORS[task], **largest},
    )


def _perceptron(candidate: Mapping[str, Any]) -> dict[str, float]:
    layers, units = candidate["num_layers"], candidate["max_units"]
    widths = [54, *(round(units + (7 - units) * index / layers) for index in range(layers)), 7]
    weights = sum(before * after for before, after in itertools.pairwise(widths))
    parameters = weights + sum(widths[1:]) + 2 * sum(widths[1:-1])
    seconds = 20_000 / candidate["batch_size"] * 4e-4 * (layers + 2) + 20_000 * 6 * weights / 2e11
    return {"params_k": parameters / 1000, "epoch_s": seconds}
