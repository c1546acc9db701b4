"""Path of the `keyturn` executable of the running installation."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from keyturn.model.errors import KeyturnError


def keyturn_program(environ: Mapping[str, str]) -> str:
    """Return the path of the running installation's `keyturn`, for credential_process lines.

    :raises KeyturnError: if it was not found, or if it is in a temporary folder, where it may soon be
        deleted. A sandbox may use a temporary folder.
    """
    sibling = Path(sys.executable).parent / "keyturn"
    program = str(sibling) if sibling.exists() else shutil.which("keyturn")
    if program is None:
        raise KeyturnError(
            "Could not adopt", "the keyturn executable was not found", "Install keyturn, then try again"
        )
    path = Path(os.path.abspath(program))  # noqa: PTH100  # keep the symlink for upgrades
    if not environ.get("KEYTURN_SANDBOX") and path.is_relative_to(tempfile.gettempdir()):
        raise KeyturnError(
            "Could not adopt", f"{path} is in a temporary folder", "Install keyturn in a permanent location"
        )
    return str(path)
