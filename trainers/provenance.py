"""What a result depends on besides its recipe: versions, commit, device, threads."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_PACKAGES = ("slimfront", "torch", "diffusers", "torch-pruning", "bitsandbytes", "torch-fidelity", "optuna", "ray")


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Package name -> version, with Python's and, in a checkout, the commit."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    commit = _commit()
    return found | ({"commit": commit} if commit else {})


def device_name(device: torch.device, *, threads: int | None = None) -> str:
    """The device in words: ``cpu: AMD EPYC (1 thread)``; threads, this process's own when left out, count on a CPU."""
    import torch

    if device.type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    threads = threads or torch.get_num_threads()
    return f"{device.type}: {_processor()} ({threads} thread{'' if threads == 1 else 's'})"


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What differs between two machines or days, one line each.

    >>> changes({"torch": "2.13", "ray": "2.60"}, {"torch": "2.14", "ray": "2.60", "optuna": "5.0"})
    ['torch 2.13, now 2.14', 'optuna none, now 5.0']
    """
    names = dict.fromkeys([*before, *now])
    return [
        f"{name} {before.get(name, 'none')}, now {now.get(name, 'none')}"
        for name in names
        if before.get(name) != now.get(name)
    ]


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    here = Path(__file__).parent
    try:
        # Fixed words, and no hook or setting of a repository is obeyed by this one.
        done = subprocess.run(  # noqa: S603
            ["git", "-C", str(here), "rev-parse", "--short=12", "HEAD"],  # noqa: S607 (where it lies is the user's)
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
