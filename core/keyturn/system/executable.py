"""Where the running installation's `keyturn` lies, for the lines that call it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from keyturn.model.errors import KeyturnError


def keyturn_program(environ: Mapping[str, str]) -> str:
    """The `keyturn` of the running installation, for credential_process lines.

    :raises KeyturnError: it lies under a temporary folder, where it would be gone tomorrow; allowed in the sandbox.
    """
    sibling = Path(sys.executable).parent / "keyturn"
    program = str(sibling) if sibling.exists() else shutil.which("keyturn")
    if program is None:
        raise KeyturnError(
            "adopt", "the keyturn program was not found beside its Python", "Install keyturn, then try again"
        )
    path = Path(os.path.abspath(program))  # noqa: PTH100  # not resolved: a symlink that upgrades keep is the better path
    if not environ.get("KEYTURN_SANDBOX") and path.is_relative_to(tempfile.gettempdir()):
        raise KeyturnError("adopt", f"{path} lies in a temporary folder", "Install keyturn somewhere lasting")
    return str(path)
