"""Sections and files of a profile."""

from __future__ import annotations

from pathlib import Path

from keyturn.awsconfig.document import Document, FileKind, profile_of
from keyturn.model.errors import UnsafeFile
from keyturn.profiles.inventory import Inventory
from keyturn.storage.paths import Paths


def own_section(document: Document | None, kind: FileKind, profile: str) -> str | None:
    """Return the name of a profile's section in a file, as its header spells it."""
    for section in document.sections if document else ():
        if profile_of(kind, section.name) == profile:
            return section.name
    return None


def process_line_file(inventory: Inventory) -> FileKind:
    """Return the file for `credential_process` lines: the config file, or the credentials file if AWS tools
    reject the config file.

    :raises UnsafeFile: if the config file is unreadable, so that it is unknown if it contains the line.
    """
    path = inventory.shared.config_path
    problem = next((problem for problem in inventory.shared.problems if problem.path == path), None)
    if problem is not None and problem.unreadable:
        raise UnsafeFile(f"Could not read {path}", problem.reason, "Correct its permissions, then try again")
    return FileKind.CONFIG if problem is None else FileKind.CREDENTIALS


def path_of(paths: Paths, kind: FileKind) -> Path:
    """Return the path of a shared file."""
    return paths.aws_config if kind is FileKind.CONFIG else paths.aws_credentials
