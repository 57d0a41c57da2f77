"""On what kind of file system a folder lies: SQLite loses data where locks are not kept between machines."""

from __future__ import annotations

import re
from pathlib import Path

from trainers.errors import UserError

_MOUNTS = Path("/proc/self/mounts")
_NETWORK = {
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "glusterfs",
    "gpfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "panfs",
    "pvfs2",
    "smb2",
    "smb3",
    "smbfs",
    "wekafs",
}
_NETWORK_FUSE = {
    "afs",
    "beegfs",
    "blobfuse",
    "blobfuse2",
    "ceph",
    "cephfs",
    "curlftpfs",
    "davfs",
    "gcsfuse",
    "glusterfs",
    "goofys",
    "juicefs",
    "mfs",
    "mount-s3",
    "moosefs",
    "rclone",
    "s3fs",
    "smbnetfs",
    "sshfs",
}
_ESCAPED = re.compile(r"\\([0-7]{3})")


def check_local(folder: Path, *, mounts: str | None = None) -> None:
    """A database file may be put into ``folder``.

    Args:
        mounts: As in /proc/mounts; read from there when left out. Systems that have none are not judged.

    Raises:
        UserError: when it lies on a network file system.
    """
    if mounts is None:
        mounts = _MOUNTS.read_text(errors="replace") if _MOUNTS.is_file() else ""
    place, kind = mounted(folder, mounts)
    if is_network(place, kind):
        raise UserError(
            f"{folder} lies on a network file system ({kind}, mounted on {place}), where SQLite's locks are not safe: "
            "a study could be damaged without notice. Keep the study in a PostgreSQL database, with "
            "--set storage=postgresql://user@host/database, or run this from a folder on a local disk."
        )


def mounted(folder: Path, mounts: str) -> tuple[str, str]:
    """Mount point and kind of the file system that ``folder`` lies on, or would; empty where nothing is known."""
    resolved = folder.resolve()
    found = ("", "")
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        place = _ESCAPED.sub(lambda code: chr(int(code[1], 8)), fields[1])
        # A later mount on the same place hides the earlier one.
        if resolved.is_relative_to(place) and len(place) >= len(found[0]):
            found = (place, fields[2])
    return found


def is_network(place: str, kind: str) -> bool:
    """Whether other machines may have it mounted too."""
    if kind == "9p" and place == "/":
        # Sandboxes (gVisor) show their own, private root so.
        return False
    return kind.lower() in _NETWORK or kind.lower().removeprefix("fuse.") in _NETWORK_FUSE
