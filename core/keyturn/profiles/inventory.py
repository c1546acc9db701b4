"""Everything that keyturn knows without unlocking anything, read at one moment."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from keyturn.awsconfig.document import Document, FileKind
from keyturn.awsconfig.native_profiles import SharedConfig, native_profiles, read_files
from keyturn.model.errors import KeyturnError, NotFound, UnparsableFile
from keyturn.model.profile import FileProblem, Profile
from keyturn.profiles import status
from keyturn.storage import config, managed_profiles
from keyturn.storage.config import Config
from keyturn.storage.index import Index, IndexFile
from keyturn.storage.managed_profiles import ManagedProfile
from keyturn.storage.paths import Paths


@dataclass(frozen=True, slots=True)
class Inventory:
    """The shared files, the definitions and the index, and the rows they make."""

    shared: SharedConfig
    natives: Mapping[str, Profile]
    definitions: Mapping[str, ManagedProfile]
    index: Index
    problems: tuple[FileProblem, ...]
    now: datetime
    config: Config = field(default_factory=Config)
    """The defaults where `config.toml` cannot be read, which is then a problem."""
    config_error: str | None = None
    """Why `config.toml` cannot be read."""
    managed_profiles_error: KeyturnError | None = None
    """Why `profiles.toml` cannot be read; the definitions are then unknown, not none."""

    @property
    def files_readable(self) -> bool:
        return not self.shared.problems

    def require_definitions(self) -> None:
        """Stops an act that rests on what is managed while that cannot be read.

        :raises Protected: with the file, the line and the reason.
        """
        if self.managed_profiles_error is not None:
            raise self.managed_profiles_error

    def rows(self) -> tuple[Profile, ...]:
        """All profiles, managed and native."""
        settings = self.shared.full_config.get("profiles", {})
        view = status.View(
            self.natives,
            self.definitions,
            self.index,
            settings,
            self.now,
            self.files_readable,
            self.config.code_command,
        )
        return status.rows(view)

    def row(self, name: str) -> Profile:
        """One profile.

        :raises NotFound: there is none by that name.
        """
        for row in self.rows():
            if row.name == name:
                return row
        raise NotFound(f"profile {name}", "there is none by that name", "Run: keyturn list")

    def settings(self, name: str) -> Mapping[str, object]:
        """What both shared files say of a profile, as botocore merges them."""
        values: Mapping[str, object] = self.shared.full_config.get("profiles", {}).get(name, {})
        return values

    def document(self, kind: FileKind) -> Document | None:
        """A shared file as it was read; None if it is absent or refused by AWS tools."""
        return self.shared.config if kind is FileKind.CONFIG else self.shared.credentials

    def digest(self) -> str:
        """Of all that a plan is made on: both shared files and the definitions."""
        sha = hashlib.sha256()
        for document in (self.shared.config, self.shared.credentials):
            data = document.data if document is not None else b"\0"
            sha.update(len(data).to_bytes(8, "big") + data)
        sha.update(managed_profiles.encode(self.definitions))
        return sha.hexdigest()


def read(paths: Paths, environ: Mapping[str, str], now: datetime) -> Inventory:
    """Reads the two shared files, `profiles.toml` and the index; what cannot be read becomes a problem."""
    shared = read_files(paths.aws_config, paths.aws_credentials)
    natives = {row.name: row for row in native_profiles(shared, environ, now)}
    problems = list(shared.problems)
    profiles_error = None
    try:
        definitions: Mapping[str, ManagedProfile] = managed_profiles.load(paths.profiles_file)
    except (KeyturnError, OSError) as caught:
        error = caught if isinstance(caught, KeyturnError) else KeyturnError("profiles.toml", str(caught))
        line = error.lineno if isinstance(error, UnparsableFile) else 0
        problems.append(FileProblem(str(paths.profiles_file), line, error.why))
        definitions, profiles_error = {}, error
    preferences, config_error = Config(), None
    try:
        preferences = config.load(paths.config_file)
    except (KeyturnError, OSError) as caught:
        config_error = caught.why if isinstance(caught, KeyturnError) else str(caught)
        problems.append(FileProblem(str(paths.config_file), 0, config_error))
    index = IndexFile(paths.index_file).load()
    return Inventory(
        shared, natives, definitions, index, tuple(problems), now, preferences, config_error, profiles_error
    )


def stamp(paths: Paths) -> tuple[object, ...]:
    """What changes when one of the files read here changes, or an agent comes or goes: inode, size and time of each."""
    parts: list[object] = []
    for path in (
        paths.aws_config,
        paths.aws_credentials,
        paths.profiles_file,
        paths.index_file,
        paths.config_file,
        paths.socket,
    ):
        try:
            stat = path.stat()
            parts.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
        except OSError:
            parts.append(None)
    return tuple(parts)
