"""For tests: a study folder with made-up but plausible results, in the format that the study code writes."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from search.front_file import front_json
from search.record import Record

OBJECTIVES = [
    {"name": "fid", "goal": "min", "unit": "", "title": "FID (digits-cnn-64d)", "learned": True},
    {"name": "size_mb", "goal": "min", "unit": "MB", "title": "Size", "learned": False},
    {"name": "macs_g", "goal": "min", "unit": "G", "title": "MACs", "learned": False},
    {"name": "latency_ms", "goal": "min", "unit": "ms", "title": "Latency", "learned": False},
]
TEACHER = {"fid": 21.4, "size_mb": 1.46, "macs_g": 0.0316, "latency_ms": 31.0}
LIMITS = {"fid": 60.0, "size_mb": 1.5, "macs_g": 0.0316, "latency_ms": 31.0}
NAMES = [str(objective["name"]) for objective in OBJECTIVES]
EXTRACTOR = "digits-cnn-64d-3f9a1c"


RUNGS = (2_667, 8_000, 24_000)


def study_folder(folder: Path, *, trials: int = 24, seed: int = 0, confirmed: bool = False) -> Path:
    """A finished study with every kind of trial in it, teacher's pictures included."""
    generator = np.random.default_rng(seed)
    records = [_trial(number, generator) for number in range(trials)]
    if confirmed:
        _confirm(records, generator)
    for record in records:
        if record["state"] in ("complete", "stopped"):
            write_strip(folder / record["path"] / "samples.webp", noise=record["values"]["fid"] / 250, seed=seed)
    write_strip(folder / "teacher" / "samples.webp", noise=0.04, seed=seed)
    return write_views(folder, records, rungs=RUNGS)


def write_views(
    folder: Path, records: list[dict[str, Any]], *, rungs: tuple[int, ...] = (8_000, 24_000), **changes: Any
) -> Path:
    """Both view files for ``records``; ``changes`` replace keys of front.json."""
    folder.mkdir(parents=True, exist_ok=True)
    front = {**front_of(folder.name, records, rungs=rungs), **changes}
    (folder / "front.json").write_text(json.dumps(front))
    (folder / "trials.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def front_of(name: str, records: list[dict[str, Any]], *, rungs: tuple[int, ...] = (8_000, 24_000)) -> dict[str, Any]:
    """What the program writes to front.json for ``records``."""
    objectives = [
        SimpleNamespace(goal=given["goal"], unit=given["unit"], title=given["title"], is_learned=given["learned"])
        for given in OBJECTIVES
    ]
    space = SimpleNamespace(
        objectives=objectives,
        references=(),
        question="Which blocks of a digits DDPM can lose channels, and in how few bits can the rest be stored?",
        budget=SimpleNamespace(trials=len(records), images=rungs[-1], rungs=rungs),
    )
    study: Any = SimpleNamespace(
        folder=Path(name),
        space=space,
        names=NAMES,
        limits=LIMITS,
        times={},
        teacher={"values": TEACHER, "stderr": {"fid": 0.3}},
        is_finished=lambda: True,
    )
    return front_json(study, [Record(**record) for record in records], seconds=321.0)


def trial(number: int, fid: float = 30.0, size_mb: float = 0.5, **changes: Any) -> dict[str, Any]:
    """One complete trial with the given figures; ``changes`` replace keys of its record."""
    return {
        "number": number,
        "state": "complete",
        "reason": None,
        "candidate": {"quantize.bits": 8, "prune.ratio.mid": 0.25},
        "values": {"fid": fid, "size_mb": size_mb, "macs_g": 0.02, "latency_ms": 20.0},
        "stderr": {"fid": 0.5, "latency_ms": 0.1},
        "samples": {"fid": 2000},
        "by": {"fid": EXTRACTOR},
        "achieved": [],
        "seconds": 10.0,
        "stages": {"prune": 0.1, "distil": 9.0},
        "images": 24000,
        "rungs": [{"images": 8000, "values": {"fid": fid * 1.5}}],
        "versions": {"torch": "2.14.1"},
        "path": f"trials/{number:04d}",
        **changes,
    }


def write_strip(path: Path, *, noise: float, seed: int = 0, images: int = 8) -> None:
    """A strip of digits, the noisier the worse the model."""
    generator = np.random.default_rng(seed)
    strip = Image.new("L", (16 * images, 16), 0)
    for index, digit in enumerate(generator.integers(0, 10, images)):
        ImageDraw.Draw(strip).text((16 * index + 5, 2), str(digit), fill=235)
    pixels = np.asarray(strip, float) + generator.normal(0, 255 * noise, (16, 16 * images))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert("RGB").save(path, "WEBP", lossless=True)


def _trial(number: int, generator: np.random.Generator) -> dict[str, Any]:
    down, mid, up = generator.uniform(0, [0.6, 0.8, 0.6])
    bits, groups, steps = (int(generator.choice(options)) for options in ([32, 8, 4], [1, 2], [8, 16]))
    criterion = str(generator.choice(["diff_pruning", "magnitude"]))
    candidate: dict[str, Any] = {
        "prune.rule": str(generator.choice(["paper", "flexible"])),
        "prune.criterion": criterion,
    }
    if criterion == "diff_pruning":
        candidate["prune.criterion.diff_pruning.threshold"] = float(generator.uniform(0, 0.1))
    candidate |= {"prune.ratio.down_0": down, "prune.ratio.mid": mid, "prune.ratio.up_0": up, "group.groups": groups}
    candidate |= {"distil.sampling_steps": steps, "quantize.bits": bits}
    kept = 1 - (0.25 * down + 0.5 * mid + 0.25 * up)
    fid = 22 * math.exp(1.5 * (1 - kept) ** 1.4 + 0.25 * (groups - 1) + {32: 0, 8: 0.01, 4: 0.12}[bits])
    fid *= {8: 1.12, 16: 1.0}[steps] * math.exp(generator.normal(0, 0.08))
    values = {
        "fid": fid,
        "size_mb": TEACHER["size_mb"] * kept**2 * (0.3 + 0.7 / groups) * {32: 1, 8: 0.27, 4: 0.16}[bits],
        "macs_g": TEACHER["macs_g"] * kept**1.7 * (0.3 + 0.7 / groups),
        "latency_ms": TEACHER["latency_ms"] * steps / 16 * (0.25 + 0.75 * kept) * (1.12 if bits < 32 else 1),
    }
    achieved = [{"what": "prune down_0", "asked": 0.31, "achieved": 0.25, "note": "norm groups of 8 channels"}]
    low, middle = (fid * factor * math.exp(generator.normal(0, noise)) for factor, noise in ((1.9, 0.2), (1.3, 0.08)))
    rungs = [{"images": images, "values": {"fid": at}} for images, at in zip(RUNGS[:-1], (low, middle), strict=True)]
    stderr = {"fid": 0.02 * fid, "latency_ms": 0.2}
    record = trial(number, candidate=candidate, values=values, stderr=stderr, rungs=rungs)
    record["achieved"] = achieved if number % 4 == 0 else []
    if number % 8 == 3:
        reason = "stopped at 2,667 of 24,000 images: others promised more"
        record |= {"state": "stopped", "reason": reason, "images": RUNGS[0], "rungs": rungs[:1]}
        record["values"] = {**values, "fid": low}
    if number % 12 == 5:
        foretold = {name: value for name, value in record["values"].items() if name != "fid"}
        reason = "loss is nan after 9,216 images (distil)"
        record |= {"state": "failed", "reason": reason, "values": foretold, "stderr": {}}
    if number % 12 == 10:
        record |= {"state": "rejected", "reason": "prune.ratio.mid 0.12 < prune.ratio.down_0 0.44", "values": {}}
    return record


def _confirm(records: list[dict[str, Any]], generator: np.random.Generator) -> None:
    """Measures the front and who is tied with it again: a little worse, as lucky first values become."""
    points = front_of("first", records)["points"]
    numbers = {number for point in points for number in (point["trial"], *point["tied"])}
    for number in numbers:
        first = records[number]["values"]["fid"]
        again = {"value": first * math.exp(generator.normal(0.03, 0.03)), "stderr": 0.008 * first, "draws": 4}
        records[number]["confirmed"] = {"fid": again}
