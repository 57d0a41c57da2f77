"""A study's folder seen from outside: whether it is one, and what is said when it or a file in it is not usable."""

from __future__ import annotations

import shlex
from pathlib import Path

FRONT_FILE, TRIALS_FILE = "front.json", "trials.jsonl"
RUNS = Path("studies/runs")
"""Where a search keeps its study, seen from where it is started."""


def is_study(folder: Path) -> bool:
    """Whether both view files are there."""
    return (folder / FRONT_FILE).is_file() and (folder / TRIALS_FILE).is_file()


def damaged(folder: Path, where: str, fault: str) -> str:
    """What is said of a view file that cannot be used."""
    return (
        f"{folder / where} cannot be used: {fault}. It must be whole JSON as the study wrote it.\n"
        f"It is only a view of study.db: `{command_again(folder)}` writes it again."
    )


def leads_out(folder: Path, path: str) -> str:
    """What is said of a trial whose files would lie outside the study."""
    return (
        f"{folder}: the path {path!r} of a trial leads out of the study folder; only paths inside it are followed.\n"
        f"`{command_again(folder)}` writes the view files again."
    )


def no_study(folder: Path) -> str:
    """What is said of a folder that is no study, with the studies near it."""
    if not folder.is_dir():
        what = "is a file, not a folder." if folder.exists() else "does not exist."
    else:
        what = f"has no {' and no '.join(name for name in (FRONT_FILE, TRIALS_FILE) if not (folder / name).is_file())}."
    inside = _studies_in(folder)
    found = inside or _studies_in(folder.parent)
    if found:
        advice = f"Studies {'in it' if inside else 'beside it'}: {', '.join(str(study) for study in found)}."
    else:
        advice = "No study lies beside it either. Start one with `python -m search.run spaces/pruning_ratios.yaml`."
    return f"{folder} {what} A study is a folder with {FRONT_FILE} and {TRIALS_FILE}. {advice}"


def command_again(folder: Path) -> str:
    """The command that goes on with a study; it may have another name than its space."""
    return shlex.join(["python", "-m", "search.run", str(folder / "space.yaml"), "--name", folder.resolve().name])


def _studies_in(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if is_study(child))[:10] if folder.is_dir() else []
