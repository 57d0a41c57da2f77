"""What is computed once: files named by the hash of everything that they depend on, safe between processes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

#: Raised when what is stored changes its meaning; old files are then no longer found.
_VERSION = 1


@dataclass(frozen=True)
class Cache:
    """A folder of safetensors files.

    Args:
        folder: Where; ``Cache.default()`` is SLIMFRONT_CACHE, or ~/.cache/slimfront.
    """

    folder: Path

    @classmethod
    def default(cls) -> Cache:
        """The user's cache."""
        return cls(Path(os.environ.get("SLIMFRONT_CACHE") or Path.home() / ".cache" / "slimfront"))

    def path(self, kind: str, key: Mapping[str, Any]) -> Path:
        """Where the thing of this kind with this key is, or will be."""
        text = json.dumps({"version": _VERSION, **key}, sort_keys=True, default=str)
        return self.folder / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:24]}.safetensors"

    def tensors(self, kind: str, key: Mapping[str, Any], make: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """The stored tensors, made and stored first when they are not there; a damaged file is made again."""
        from safetensors import SafetensorError
        from safetensors.torch import save

        from trainers.atomic import write_atomically
        from trainers.tensor_file import read_tensors

        path = self.path(kind, key)
        if path.is_file():
            try:
                return read_tensors(path)[0]
            except SafetensorError:
                path.unlink(missing_ok=True)
        made = {name: tensor.detach().cpu().contiguous() for name, tensor in make().items()}
        try:
            write_atomically(path, save(made))
        except OSError as error:
            raise self._unwritable(error) from None
        return made

    def check(self) -> None:
        """Find out whether the folder can be written, before anything is computed for it.

        Raises:
            UserError: when it cannot.
        """
        probe = self.folder / f".writable-{os.getpid()}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe.write_text("")
            probe.unlink()
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(
            f"cannot write to the cache {self.folder} ({error.strerror}). "
            "Free some space there, or name another folder in SLIMFRONT_CACHE."
        )
