"""Shows where two recordings differ.

python -m tests.golden.compare A B
"""

from __future__ import annotations

import difflib
import sys
from pathlib import Path


def main(words: list[str]) -> int:
    """Print a unified diff of two folders; give 1 if they differ, else 0."""
    if len(words) != 2 or not all(Path(word).is_dir() for word in words):
        sys.stderr.write("usage: python -m tests.golden.compare A B\n")
        return 2
    one, other = (_texts(Path(word)) for word in words)
    differ = False
    for name in sorted(one.keys() | other.keys()):
        before, after = one.get(name), other.get(name)
        if before == after:
            continue
        differ = True
        sys.stdout.writelines(
            difflib.unified_diff(
                (before or "").splitlines(keepends=True),
                (after or "").splitlines(keepends=True),
                f"{words[0]}/{name}" if before is not None else "/dev/null",
                f"{words[1]}/{name}" if after is not None else "/dev/null",
            )
        )
    return int(differ)


def _texts(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text("utf-8")
        for path in folder.rglob("*")
        if path.is_file()
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
