"""Print the size of the source: statements of core and tui, docstrings left out.

    .venv/bin/python -m tests.benchmarks.count_statements [--against REVISION]

Counts every `ast.stmt` of every Python file under `core` and `tui`, the sandbox included, less the docstrings
of modules, classes and functions. Lines, comments and formatting do not change the figure, so it shows how
much code there is. Files that git does not know are counted too. With `--against`, prints the same figure of
another git revision and the ratio.
"""
# ruff: noqa: T201 - a program that prints its result

from __future__ import annotations

import argparse
import ast
import io
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TREES = ("core", "tui")
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def count(source: str | bytes) -> int:
    """Return the number of statements in the source of one module, docstrings left out."""
    nodes = list(ast.walk(ast.parse(source)))
    statements = sum(isinstance(node, ast.stmt) for node in nodes)
    docstrings = sum(
        isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None for node in nodes
    )
    return statements - docstrings


def count_folder(root: Path = ROOT) -> dict[str, int]:
    """Return the statements of each tree below `root`, as its files are now."""
    return {
        tree: sum(count(file.read_bytes()) for file in sorted((root / tree).rglob("*.py"))) for tree in TREES
    }


def count_revision(revision: str, root: Path = ROOT) -> dict[str, int]:
    """Return the statements of each tree at a git revision.

    :raises LookupError: git does not know the revision, or it has no such tree.
    """
    totals = dict.fromkeys(TREES, 0)
    for path, source in _files_at(revision, root):
        totals[path.split("/")[0]] += count(source)
    return totals


def _files_at(revision: str, root: Path) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of each Python file of the trees at a git revision."""
    found = subprocess.run(
        ["git", "-C", str(root), "archive", "--format=tar", "--end-of-options", revision, *TREES],
        capture_output=True,
        check=False,
    )
    if found.returncode:
        raise LookupError(found.stderr.decode(errors="replace").strip())
    with tarfile.open(fileobj=io.BytesIO(found.stdout)) as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content is not None and member.name.endswith(".py"):
                yield member.name, content.read()


def main(words: list[str] | None = None) -> int:
    """Print the figure, and the ratio to another revision where one is named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", metavar="REVISION", help="a git revision to compare with")
    options = parser.parse_args(words)
    now = count_folder()
    print(_line("statements", now))
    if options.against is None:
        return 0
    try:
        before = count_revision(options.against)
    except LookupError as error:
        print(f"count_statements: {options.against}: {error}", file=sys.stderr)
        return 1
    print(_line(options.against, before))
    print(f"ratio: {sum(now.values()) / sum(before.values()):.3f}")
    return 0


def _line(title: str, totals: dict[str, int]) -> str:
    """Return one line: the sum, and the share of each tree."""
    shares = ", ".join(f"{tree} {number:,}" for tree, number in totals.items())
    return f"{title}: {sum(totals.values()):,} ({shares})"


if __name__ == "__main__":
    sys.exit(main())
