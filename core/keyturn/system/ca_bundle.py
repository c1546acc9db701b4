"""CA bundle of one request: read once, from a regular file, and lent to the TLS library as a path."""

from __future__ import annotations

import errno
import os
import weakref
from pathlib import Path

from keyturn.model.errors import KeyturnError
from keyturn.system import files

#: The bundle of certifi has 0.3 MB.
MAX_BYTES = 1 << 20
#: Characters of the path in an error line.
_MAX_SHOWN = 200


class CaBundle:
    """Content of a CA bundle, which does not change even if the file does. It is released with the object.

    :param path: may come from another process's environment.
    :raises KeyturnError: if it is not a regular file of at most 1 MiB that can be read.
    """

    def __init__(self, path: str) -> None:
        content = _read(path)
        self.path = path
        """Path of the content, for the TLS library."""
        if not hasattr(os, "memfd_create"):
            return
        handle = os.memfd_create("ca-bundle", os.MFD_CLOEXEC)
        weakref.finalize(self, os.close, handle)
        with os.fdopen(handle, "wb", closefd=False) as file:
            file.write(content)
        copy = f"/proc/self/fd/{handle}"
        if os.access(copy, os.R_OK):  # there may be no /proc
            self.path = copy


def _read(path: str) -> bytes:
    try:
        content = files.read_regular(Path(path).expanduser(), limit=MAX_BYTES + 1)
    except (OSError, ValueError, RuntimeError) as error:
        raise _unusable(path, _reason(error)) from None
    if len(content) > MAX_BYTES:
        raise _unusable(path, f"it is larger than {MAX_BYTES >> 20} MiB")
    return content


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENXIO:
        return "it is not a regular file"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "it is no valid path"


def _unusable(path: str, why: str) -> KeyturnError:
    shown = path if len(path) <= _MAX_SHOWN else path[:_MAX_SHOWN] + "…"
    hint = "Correct AWS_CA_BUNDLE, REQUESTS_CA_BUNDLE or ca_bundle of the profile"
    return KeyturnError(f"Could not use CA bundle {shown}", why, hint)
