"""Imports point left only: trainers <- objectives <- search, and each large library has one door."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "trainers": ("objectives", "search"),
    "objectives": ("search",),
    "trainers/models": ("trainers.compression", "trainers.distillation"),
    "trainers/data": ("trainers.compression", "trainers.distillation", "trainers.models"),
    "trainers/compression": ("trainers.distillation",),
    "trainers/distillation": ("trainers.compression",),
}
DOORS = {
    "ray": ("search/",),
    "optuna": ("search/",),
    "plotly": ("search/",),
    "moocore": ("search/",),
    "torch_pruning": ("trainers/compression/",),
    # Codes are made in one place; products of int8 and optimisers with 8-bit states are its own kernels, not to be
    # written again. All other quantised layers run without it.
    "bitsandbytes": (
        "trainers/compression/",
        "trainers/models/int8_linear.py",
        "trainers/distillation/_optimizers.py",
    ),
    "diffusers": ("trainers/models/",),
    "torch_fidelity": ("objectives/",),
}
# A command line, imported by nothing: it measures what it trained. And data that a network makes of other data.
EXCEPTIONS = {("trainers/full.py", "objectives"), ("trainers/data/latent.py", "trainers.models")}


def imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names |= {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    return names


def begins(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def violations() -> list[str]:
    found = []
    files = [path for folder in ("trainers", "objectives", "search") for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 60
    for path in files:
        place = path.relative_to(ROOT).as_posix()
        names = imported(path)
        for folder, packages in FORBIDDEN.items():
            for package in packages:
                allowed = (place, package) in EXCEPTIONS
                if place.startswith(f"{folder}/") and not allowed and any(begins(name, package) for name in names):
                    found.append(f"{place} imports {package}")
        for library, doors in DOORS.items():
            if not place.startswith(doors) and any(begins(name, library) for name in names):
                found.append(f"{place} imports {library}, whose door is {' or '.join(doors)}")
    return found


def test_imports_point_left_and_libraries_have_one_door() -> None:
    assert violations() == []


def test_nothing_imports_a_command_line() -> None:
    commands = ("search.run", "search.explore", "search.export", "trainers.full")
    for path in (ROOT / "search").rglob("*.py"):
        assert not any(begins(name, command) for name in imported(path) for command in commands), path
