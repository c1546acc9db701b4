"""Which sections and which files belong to a profile."""

from __future__ import annotations

from pathlib import Path

from keyturn.awsfiles.document import Document, FileKind, profile_of
from keyturn.places import Places
from keyturn.reading import Reading


def own_section(document: Document | None, kind: FileKind, profile: str) -> str | None:
    """The section of a file that belongs to a profile, as its header spells it."""
    for section in document.sections if document else ():
        if profile_of(kind, section.name) == profile:
            return section.name
    return None


def line_home(reading: Reading) -> FileKind:
    """The file that takes `credential_process` lines: the config file, unless AWS tools refuse it as it stands."""
    refused = {problem.path for problem in reading.shared.problems}
    is_refused = reading.shared.config is None and reading.shared.config_path in refused
    return FileKind.CREDENTIALS if is_refused else FileKind.CONFIG


def path_of(places: Places, kind: FileKind) -> Path:
    """Where a kind of shared file lives."""
    return places.aws_config if kind is FileKind.CONFIG else places.aws_credentials
