"""On what kind of file system a folder lies: SQLite loses data where locks are not kept between machines."""

from __future__ import annotations

import re
from pathlib import Path

from trainers.errors import UserError

_MOUNTS = Path("/proc/self/mounts")
# With them folders that a virtual machine shares with its host (9p, virtiofs, vboxsf, vmhgfs, prl_fs, and Docker's on a
# laptop): the host, and other machines on it, do not see the locks that are taken inside.
_SHARED = {
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "fakeowner",
    "gfs",
    "gfs2",
    "glusterfs",
    "gpfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "ocfs2",
    "orangefs",
    "panfs",
    "prl_fs",
    "pvfs2",
    "smb2",
    "smb3",
    "smbfs",
    "vboxsf",
    "virtiofs",
    "vmhgfs",
    "wekafs",
}
_SHARED_FUSE = {
    "afs",
    "alluxio-fuse",
    "beegfs",
    "blobfuse",
    "blobfuse2",
    "ceph",
    "ceph-fuse",
    "cephfs",
    "curlftpfs",
    "davfs",
    "fuse_dfs",
    "gcsfuse",
    "geesefs",
    "glusterfs",
    "goofys",
    "grpcfuse",
    "juicefs",
    "lustre",
    "mfs",
    "moosefs",
    "mount-s3",
    "mountpoint-s3",
    "orangefs",
    "osxfs",
    "rclone",
    "s3fs",
    "seaweedfs",
    "smbnetfs",
    "sshfs",
    "vmhgfs-fuse",
}
# Sandboxes and light virtual machines (gVisor, Kata) show their own, private root so.
_PRIVATE_AS_ROOT = {"9p", "virtiofs"}
_ESCAPED = re.compile(r"\\([0-7]{3})")


def check_local(folder: Path, *, mounts: str | None = None) -> None:
    """A database file may be put into ``folder``.

    Args:
        mounts: As in /proc/mounts; read from there when left out. Systems that have none are not judged.

    Raises:
        UserError: when it lies on a file system that other machines may share.
    """
    if mounts is None:
        mounts = _MOUNTS.read_text(errors="replace") if _MOUNTS.is_file() else ""
    place, kind = mounted(folder, mounts)
    if is_shared(place, kind):
        raise UserError(
            f"{folder} lies on a file system that other machines may share ({kind}, mounted on {place}), where locks "
            "of SQLite are not safe: a study could be damaged without notice. Keep the study in a PostgreSQL database, "
            "with --set storage=postgresql://user@host/database, or run this from a folder on a local disk."
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


def is_shared(place: str, kind: str) -> bool:
    """Whether other machines may have it mounted too."""
    if kind in _PRIVATE_AS_ROOT and place == "/":
        return False
    return kind.lower() in _SHARED or kind.lower().removeprefix("fuse.") in _SHARED_FUSE
