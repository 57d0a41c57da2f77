"""How much there is to read in a folder."""

from pathlib import Path

from trainers.data._walk import walked
from trainers.foreign import place_of


def bytes_in(path: str | None) -> int | None:
    """Of all files below the folder but hidden ones; None where none is given, or it is not there.

    Raises:
        UserError: when it holds more files than any data set has.
    """
    folder = place_of(path) if path is not None else None
    if folder is None or not folder.is_dir():
        return None
    return sum(path.stat().st_size for path in map(Path, walked(folder)) if path.is_file())
