"""Which lines of code are keyturn's own, whatever the folder is called in which it lies."""

from __future__ import annotations

import os
from importlib.util import find_spec


def _folder(package: str) -> str:
    """Where a package lies, found without running it."""
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    return f"{spec.submodule_search_locations[0]}{os.sep}"


_FOLDERS = (_folder("keyturn"), _folder("keyturn_tui"))


def is_ours(filename: str) -> bool:
    """Whether a file of that name, as a code object has it, belongs to the core or to the app."""
    return filename.startswith(_FOLDERS)
