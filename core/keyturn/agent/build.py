"""The build of keyturn: a number that differs whenever the installed code does.

It is a digest of the source files, so no release can forget to change it, and an editable installation has
one too. Two installations of the same release have the same build. Reading the files takes some milliseconds,
so only the agent, at its start, and an unlock compute it.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import keyturn

#: JSON readers keep integers exact up to 53 bits.
_BYTES = 6


@functools.cache
def build() -> int:
    """Return the build of the installed code, as this process finds it at the first call. Never 0, which
    stands for the first release."""
    return digest_of(Path(keyturn.__file__).parent)


def digest_of(folder: Path) -> int:
    """Return a positive number for the names and contents of all Python files in `folder`."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        try:
            content = path.read_bytes()
        except OSError:
            continue  # an upgrade is replacing it
        name = str(path.relative_to(folder)).encode(errors="surrogateescape")
        digest.update(b"%d %d " % (len(name), len(content)) + name + content)
    return int.from_bytes(digest.digest()[:_BYTES], "big") + 1
