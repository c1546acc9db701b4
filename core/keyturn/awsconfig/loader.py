"""Both shared files combined, equal to botocore's `Session.full_config`, with the origin of every value."""

from __future__ import annotations

import errno
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keyturn.awsconfig.parser import DEFAULT, Document, FileKind, Item, Section, Settings, parse, settings_of
from keyturn.awsconfig.section_names import entry_of
from keyturn.model.errors import UnparsableFile
from keyturn.model.file_limits import MAX_SHARED_BYTES, shared_file_excess
from keyturn.model.profile import FileProblem, Origin
from keyturn.system import files

#: Missing, a dangling or looping link, or not a regular file.
_NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)


@dataclass(frozen=True, slots=True)
class ProfileSections:
    """The section of a profile in each file; None if that file has none."""

    config: Section | None
    credentials: Section | None


@dataclass(frozen=True, slots=True)
class SharedConfig:
    """The contents of both files. Holds secrets; its `repr` does not show them."""

    config_path: str
    credentials_path: str
    config: Document | None
    """None if the file is missing or rejected."""
    credentials: Document | None
    full_config: dict[str, Any] = field(repr=False)
    """Equal to `botocore.session.Session.full_config`; a rejected file contributes nothing."""
    definitions: Mapping[str, ProfileSections] = field(repr=False)
    """By profile, in botocore's order."""
    problems: tuple[FileProblem, ...] = ()
    """Files that AWS tools reject, or that cannot be read."""

    @property
    def profiles(self) -> dict[str, Settings]:
        """The settings of each profile; the credentials file overrides the config file."""
        profiles: dict[str, Settings] = self.full_config["profiles"]
        return profiles

    @property
    def sso_sessions(self) -> dict[str, Settings]:
        sessions: dict[str, Settings] = self.full_config.get("sso_sessions", {})
        return sessions

    def find_item(self, profile: str, key: str) -> tuple[FileKind, Section, Item] | None:
        """Return the effective setting of a profile as file, section (possibly `[DEFAULT]`) and item."""
        definition = self.definitions.get(profile)
        if definition is None:
            return None
        return _find_item(self.credentials, definition.credentials, FileKind.CREDENTIALS, key) or _find_item(
            self.config, definition.config, FileKind.CONFIG, key
        )

    def origin(self, profile: str, key: str | None = None) -> Origin | None:
        """Return the file and line of a setting; without a key, of the profile's header, config file
        first."""
        if key is not None:
            found = self.find_item(profile, key)
            return None if found is None else Origin(self.path_of(found[0]), found[2].line)
        definition = self.definitions.get(profile)
        if definition is None:
            return None
        if definition.config is not None:
            return Origin(self.config_path, definition.config.line)
        section = definition.credentials
        return None if section is None else Origin(self.credentials_path, section.line)

    def path_of(self, kind: FileKind) -> str:
        return self.config_path if kind is FileKind.CONFIG else self.credentials_path


def read_files(config: Path, credentials: Path, earlier: SharedConfig | None = None) -> SharedConfig:
    """Read both files now.

    File contents never raise: a file that botocore rejects is listed in `problems` with the line and
    contributes nothing, while the other file still counts. As in botocore, anything but a regular file counts
    as absent.

    :param earlier: an earlier reading; a file with the same content is not parsed again.
    """
    problems: list[FileProblem] = []
    before = (None, None) if earlier is None else (earlier.config, earlier.credentials)
    config_document = _read(config, FileKind.CONFIG, problems, before[0])
    beside = b"" if config_document is None else config_document.data
    credentials_document = _read(credentials, FileKind.CREDENTIALS, problems, before[1], beside)
    return combine(config_document, credentials_document, str(config), str(credentials), tuple(problems))


def combine(
    config: Document | None,
    credentials: Document | None,
    config_path: str,
    credentials_path: str,
    problems: tuple[FileProblem, ...] = (),
) -> SharedConfig:
    """Combine two parsed documents into one configuration."""
    full: dict[str, Any] = {"profiles": {}}
    definitions: dict[str, ProfileSections] = {}
    if config is not None:
        full = _build_full_config(config, definitions)
    profiles: dict[str, Settings] = full["profiles"]
    for section in credentials.sections if credentials is not None else ():
        if credentials is None or section.name == DEFAULT:
            continue
        settings = settings_of(credentials, section)
        if section.name in profiles:
            profiles[section.name].update(settings)
            definitions[section.name] = ProfileSections(definitions[section.name].config, section)
        else:
            profiles[section.name] = settings
            definitions[section.name] = ProfileSections(None, section)
    return SharedConfig(config_path, credentials_path, config, credentials, full, definitions, problems)


def _build_full_config(document: Document, definitions: dict[str, ProfileSections]) -> dict[str, Any]:
    """Return the config file as `botocore.configloader.load_config` does; a later section replaces an earlier
    one of the same name."""
    full: dict[str, Any] = {}
    tables: dict[str, dict[str, Settings]] = {"profiles": {}, "sso_sessions": {}, "services": {}}
    for section in document.sections:
        table, name = entry_of(section.name)
        if name is None:
            continue
        settings = settings_of(document, section)
        if not table:
            full[name] = settings
            continue
        tables[table][name] = settings
        if table == "profiles":
            definitions[name] = ProfileSections(section, None)
    full.update(tables)
    return full


def _read(
    path: Path, kind: FileKind, problems: list[FileProblem], earlier: Document | None, beside: bytes = b""
) -> Document | None:
    try:
        data = read_regular(path, MAX_SHARED_BYTES + 1)
    except OSError as error:
        # botocore silently treats a file that it may not open as empty.
        problems.append(FileProblem(str(path), 0, f"cannot be read: {error.strerror}", unreadable=True))
        return None
    if data is None:
        return None
    excess = shared_file_excess(data, beside)
    if excess is not None:
        problems.append(FileProblem(str(path), 0, f"cannot be read: {excess}", unreadable=True))
        return None
    try:
        return earlier.reparse(data) if earlier is not None else parse(data, str(path), kind)
    except UnparsableFile as error:
        problems.append(FileProblem(str(path), error.lineno, error.why))
        return None


def read_regular(path: Path, limit: int = sys.maxsize) -> bytes | None:
    """Return at most `limit` bytes of a regular file; None if it is missing or not a regular file. Never
    blocks on a FIFO.

    :raises OSError: if it exists and cannot be read.
    """
    try:
        return files.read_regular(path, limit=limit)
    except OSError as error:
        if error.errno in _NO_FILE:
            return None
        raise


def _find_item(
    document: Document | None, section: Section | None, kind: FileKind, key: str
) -> tuple[FileKind, Section, Item] | None:
    if document is None or section is None:
        return None
    item = section.item(key)
    if item is not None:
        return kind, section, item
    item = document.defaults.get(key)
    if item is None:
        return None
    default_section = next(
        candidate for candidate in document.sections if candidate.name == DEFAULT and item in candidate.items
    )
    return kind, default_section, item
