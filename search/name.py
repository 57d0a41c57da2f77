"""Names of studies: they become folder names, so they may not lead anywhere else."""

import re

from trainers.errors import UserError

_ALLOWED = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")


def check_name(name: str) -> str:
    """``name`` itself when a study can be called so.

    Raises:
        UserError: when it is empty, too long, or could leave the folder of runs.
    """
    if not _ALLOWED.fullmatch(name) or ".." in name:
        shown = name if len(name) <= 100 else f"{name[:20]}... ({len(name)} characters)"
        raise UserError(
            f"{shown!r} cannot be a study's name. Use 1 to 100 letters, digits, '_', '-' and '.', "
            "not beginning with '.' and without '..'."
        )
    return name
