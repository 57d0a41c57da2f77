"""Everything below a folder, of which there may be far too much: `/` is a folder, too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from trainers.errors import UserError

_MOST_ENTRIES = 2_000_000


def walked(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Files and folders below ``folder`` in any order; links are not followed, and hidden ones are left out.

    Raises:
        UserError: when there are more than any data set has, or a folder cannot be listed.
    """
    waiting, count = [str(folder)], 0
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir(place) as found:
                for entry in found:
                    count += 1
                    if count > _MOST_ENTRIES:
                        raise UserError(
                            f"{folder} holds more than {_MOST_ENTRIES:,} files and folders. Give the folder of one "
                            "data set, or put its images into Parquet files."
                        )
                    # Folders such as .git or .cache, and macOS's copies of file attributes, which are named like files.
                    if entry.name.startswith((".", "__MACOSX")):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    yield entry
        except PermissionError:  # such as lost+found, which every disk has
            continue
        except OSError as error:
            raise UserError(f"{place} cannot be listed ({error.strerror}). Give another folder, or mend it.") from None
