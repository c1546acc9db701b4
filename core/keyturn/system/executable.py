"""Path of the `keyturn` executable of the running installation, for lines that AWS clients execute."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from keyturn.model.errors import ChangeRefused, KeyturnError, UnsafeFile
from keyturn.system.ownership import is_trusted_owner, is_unmapped, others_can_write, user_name

#: Folders that a system empties.
_TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm", "/run/user")  # noqa: S108  # compared with, never written to
#: Names of folders that a cache's owner empties at will: of uv (`uvx`), pipx (`pipx run`) and macOS.
_CACHES = frozenset({".cache", "Caches", "archive-v0", "environments-v2"})


def keyturn_program(environ: Mapping[str, str]) -> str:
    """Return the path of the running installation's `keyturn`, for credential_process lines.

    :raises ChangeRefused: if it is in a temporary or cache folder, where it may soon be deleted. A sandbox
        may use a temporary folder.
    :raises UnsafeFile: if another user could replace it.
    :raises KeyturnError: if it was not found.
    """
    sibling = Path(sys.executable).parent / "keyturn"
    program = str(sibling) if sibling.exists() else shutil.which("keyturn")
    if program is None:
        raise KeyturnError(
            "Could not adopt", "the keyturn executable was not found", "Install keyturn, then try again"
        )
    path = Path(os.path.abspath(program))  # noqa: PTH100  # keep the symlink for upgrades
    if not environ.get("KEYTURN_SANDBOX"):
        code = Path(os.path.realpath(__file__)).parent
        for found in dict.fromkeys((path, path.resolve(), code)):
            check_permanent(found, environ)
            check_not_replaceable(found)
    return str(path)


def check_permanent(path: Path, environ: Mapping[str, str]) -> None:
    """Check that nothing deletes a program regularly.

    :raises ChangeRefused: if it is in a temporary folder or a cache.
    """
    why = ""
    if any(path.is_relative_to(folder) for folder in (*_TEMPORARY, tempfile.gettempdir())):
        why = "a temporary folder"
    caches = [environ.get(name, "") for name in ("XDG_CACHE_HOME", "UV_CACHE_DIR", "PIP_CACHE_DIR")]
    if _CACHES & set(path.parts) or any(
        path.is_relative_to(cache) for cache in caches if cache.startswith("/")
    ):
        why = "a cache, which may be emptied at any time"
    if why:
        raise ChangeRefused(
            "Could not adopt",
            f"{path} is in {why}, and AWS clients would no longer find it",
            "Install keyturn in a permanent location, as with pipx install or uv tool install",
        )


def check_not_replaceable(path: Path) -> None:
    """Check that no other user could put another program in place of one that AWS clients execute.

    :raises UnsafeFile: if the file, or a folder above it, is writable by others or belongs to another user
        than root.
    """
    for place in (path, *path.parents):
        status = place.stat()
        if not is_trusted_owner(status.st_uid) and not is_unmapped(status.st_uid):
            raise UnsafeFile(
                "Could not adopt",
                f"AWS clients would run {path}, but {place} belongs to {user_name(status.st_uid)}",
                "Install keyturn as this user or as root",
            )
        is_sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
        if others_can_write(place, status) and not is_sticky:
            raise UnsafeFile(
                "Could not adopt",
                f"AWS clients would run {path}, but other users may write {place}",
                f"Run: chmod go-w {shlex.quote(str(place))}",
            )
