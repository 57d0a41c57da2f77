"""How much there is to read in a folder."""

from pathlib import Path


def bytes_in(path: str | None) -> int | None:
    """Of all files below the folder; None where none is given, or it is not there."""
    folder = Path(path).expanduser() if path is not None else None
    if folder is None or not folder.is_dir():
        return None
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
