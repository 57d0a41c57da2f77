"""Reading safetensors files: the one way in, so that what is loaded computes as what was made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def read_tensors(path: Path, *, device: str = "cpu") -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file by name, and its metadata.

    Each is a copy, which lies as aligned as a new tensor: kernels round otherwise where memory is not.

    Raises:
        SafetensorError: when the file is damaged, or none.
    """
    from safetensors import safe_open

    with safe_open(path, framework="pt", device=device) as opened:
        tensors = {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118 (not a dict)
        return tensors, opened.metadata() or {}
