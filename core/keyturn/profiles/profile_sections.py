"""Which sections and which files belong to a profile."""

from __future__ import annotations

from pathlib import Path

from keyturn.awsconfig.document import Document, FileKind, profile_of
from keyturn.model.errors import UnsafeFile
from keyturn.profiles.inventory import Inventory
from keyturn.storage.paths import Paths


def own_section(document: Document | None, kind: FileKind, profile: str) -> str | None:
    """The section of a file that belongs to a profile, as its header spells it."""
    for section in document.sections if document else ():
        if profile_of(kind, section.name) == profile:
            return section.name
    return None


def process_line_file(inventory: Inventory) -> FileKind:
    """The file that takes `credential_process` lines: the config file, unless AWS tools refuse it as it stands.

    :raises UnsafeFile: it cannot be read, so that nobody knows whether the line is there already.
    """
    path = inventory.shared.config_path
    problem = next((problem for problem in inventory.shared.problems if problem.path == path), None)
    if problem is not None and problem.unreadable:
        raise UnsafeFile(f"reading {path}", problem.reason, "Make it readable to you, then try again")
    return FileKind.CONFIG if problem is None else FileKind.CREDENTIALS


def path_of(paths: Paths, kind: FileKind) -> Path:
    """Where a kind of shared file lives."""
    return paths.aws_config if kind is FileKind.CONFIG else paths.aws_credentials
