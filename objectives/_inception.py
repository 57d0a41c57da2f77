"""Inception features, when their weights are on this machine; nothing is ever downloaded."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from trainers.errors import UserError

if TYPE_CHECKING:
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase

FILE = "weights-inception-2015-12-05-6726825d.pth"
VARIABLE = "SLIMFRONT_INCEPTION"
_LAYER = "2048"


def weights_file(*, is_required: bool) -> Path | None:
    """The file that SLIMFRONT_INCEPTION names, or torch-fidelity's in torch's cache; None when there is none.

    Raises:
        UserError: when the variable names a file that does not exist, or when one is required.
    """
    named = os.environ.get(VARIABLE)
    usual = _usual_place()
    if named and not Path(named).is_file():
        raise UserError(f"{VARIABLE} names {named!r}, which is not a file. Put {FILE} there, or unset {VARIABLE}.")
    if named:
        return Path(named)
    if usual.is_file():
        return usual
    if is_required:
        raise UserError(
            f"the Inception weights are not here. Fetch {FILE} from torch-fidelity's releases and put it at {usual}, "
            f"or name the file in {VARIABLE}; `fid: {{extractor: labels}}` needs no weights."
        )
    return None


def extractor(weights: Path) -> FeatureExtractorBase:
    """torch-fidelity's Inception v3 with these weights; its name holds a hash of the file.

    Raises:
        UserError: when the file is not such a set of weights.
    """
    return _loaded(weights, weights.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _loaded(weights: Path, modified_ns: int) -> FeatureExtractorBase:
    import pickle

    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    name = f"inception-{_LAYER}d-{_hash(weights)}"
    try:
        with _only_tensors():
            found = FeatureExtractorInceptionV3(name, [_LAYER], feature_extractor_weights_path=str(weights))
    except (RuntimeError, pickle.UnpicklingError, EOFError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{weights} is not torch-fidelity's {FILE}: {reason}. Fetch it again.") from None
    return found


@contextmanager
def _only_tensors() -> Iterator[None]:
    """torch-fidelity would unpickle whatever the file holds; this switch of torch's lets only tensors through."""
    switch = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(switch)
    os.environ[switch] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[switch]
        else:
            os.environ[switch] = before


def _hash(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:8]


def _usual_place() -> Path:
    from torch.hub import get_dir

    return Path(get_dir()) / "checkpoints" / FILE
