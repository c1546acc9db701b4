"""Detection of keyturn's own code, independent of the name of the folder that it is in."""

from __future__ import annotations

import os
from importlib.util import find_spec


def _folder(package: str) -> str:
    """Return the folder of a package without importing it."""
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    return f"{spec.submodule_search_locations[0]}{os.sep}"


_FOLDERS = (_folder("keyturn"), _folder("keyturn_tui"))


def is_ours(filename: str) -> bool:
    """Return True if a file name, as a code object has it, belongs to the core or to the app."""
    return filename.startswith(_FOLDERS)
