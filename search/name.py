"""Names that become files and folders: they lead nowhere else, and mean the same on every system."""

import re

from trainers.errors import UserError

_ALLOWED = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")
# Windows has devices of these names in every folder, whatever follows a dot.
_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")


def check_name(name: str) -> str:
    """``name`` itself when a study can be called so.

    Raises:
        UserError: when it is empty, too long, could leave the folder of runs, or is no folder's name on some system.
    """
    if not is_file_name(name):
        shown = name if len(name) <= 100 else f"{name[:20]}... ({len(name)} characters)"
        raise UserError(
            f"{shown!r} cannot be a study's name. Use 1 to 100 letters, digits, '_', '-' and '.', "
            "not beginning or ending with '.' and without '..', and no device of Windows, such as CON, NUL or COM1."
        )
    return name


def is_file_name(name: str) -> bool:
    """Whether ``name`` can be a file's or a folder's on every system."""
    return bool(_ALLOWED.fullmatch(name)) and ".." not in name and name[-1] != "." and not _DEVICE.fullmatch(name)
