"""Inventory: both shared files, managed profiles, index and config, read at one moment without unlocking the
vault.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from keyturn.awsconfig import misreadings
from keyturn.awsconfig.document import Document, FileKind, header_for, parse, profile_of
from keyturn.awsconfig.loader import SharedConfig, read_files
from keyturn.awsconfig.native_profiles import NativeProfiles
from keyturn.awsconfig.sdk_caches import SdkCaches
from keyturn.awsconfig.writer import require_file
from keyturn.model.errors import KeyturnError, NotFound, Remedy, UnparsableFile, UnsafeFile
from keyturn.model.profile import Credentials, FileProblem, FileWarning, Kind, Profile
from keyturn.model.secret import Secret
from keyturn.profiles import line_warnings, status
from keyturn.providers.registry import require_known_kinds
from keyturn.storage import config, managed_profiles
from keyturn.storage.config import Config
from keyturn.storage.index import Index, IndexFile
from keyturn.storage.managed_profiles import ManagedProfile
from keyturn.storage.paths import Paths


@dataclass(frozen=True, slots=True)
class Inventory:
    """Contents of all files, and the profiles that result from them."""

    shared: SharedConfig
    natives: Mapping[str, Profile]
    definitions: Mapping[str, ManagedProfile]
    index: Index
    problems: tuple[FileProblem, ...]
    now: datetime
    config: Config = field(default_factory=Config)
    """Defaults if `config.toml` cannot be read, which is also reported as a problem."""
    config_error: str | None = None
    """Error from reading `config.toml`."""
    managed_profiles_error: KeyturnError | None = None
    """Error from reading `profiles.toml`. The definitions are unknown then, and empty here."""

    def require_definitions(self) -> None:
        """Check that `profiles.toml` is readable.

        :raises KeyturnError: with the file, the line and the reason, if it is not.
        """
        if self.managed_profiles_error is not None:
            raise self.managed_profiles_error

    def rows(self) -> tuple[Profile, ...]:
        """Return all profiles, managed and native."""
        return status.rows(self._view())

    def warnings(self) -> tuple[FileWarning, ...]:
        """Return the lines of the shared files that AWS tools misread, then those of keyturn's own lines that
        some SDK cannot use.
        """
        return (*misreadings.find(self.shared), *line_warnings.find(self.shared, self.definitions))

    def row(self, name: str) -> Profile:
        """Return one profile.

        :raises NotFound: if it does not exist.
        :raises KeyturnError: if that is unknown, because a file is unreadable.
        """
        if name not in self.natives and name not in self.definitions:
            self.require_definitions()
            raise self._not_found(name)
        return status.row_of(name, self._view())

    def _view(self) -> status.View:
        return status.View(
            self.natives,
            self.definitions,
            self.index,
            self.shared.full_config.get("profiles", {}),
            self.now,
            files_readable=not self.shared.problems,
            code_command=self.config.code_command,
        )

    def settings(self, name: str) -> Mapping[str, object]:
        """Return the settings of a profile in both shared files, merged as botocore does."""
        values: Mapping[str, object] = self.shared.full_config.get("profiles", {}).get(name, {})
        return values

    def caller_credential_source(self, name: str) -> str | None:
        """See :func:`keyturn.profiles.status.caller_credential_source`."""
        return status.caller_credential_source(name, self.natives, self.definitions)

    def has_own_process(self, name: str) -> bool:
        """Return True for a native profile with a `credential_process` of its own. It belongs to the process
        that asks, with its whole environment.
        """
        native = self.natives.get(name)
        return native is not None and native.kind is Kind.PROCESS and name not in self.definitions

    def _not_found(self, name: str) -> KeyturnError:
        """Return the error for a profile that no readable file has."""
        what = f"Profile not found: {name}"
        if self.shared.problems:
            problem = self.shared.problems[0]
            line = f"line {problem.line}: " if problem.line else ""
            why = f"{problem.path}: {line}{problem.reason}, so its profiles are unknown"
            return UnparsableFile(what, why, "Correct the file first", path=problem.path, lineno=problem.line)
        headers = (name, f"profile {name}")
        config = self.shared.config
        if config is None or not any(section.name in headers for section in config.sections):
            return NotFound(what, "", Remedy("list"))
        starts = tuple(f"[{header}] " for header in headers)
        reasons = (
            f"line {warning.line} of {warning.path}: {warning.reason}"
            for warning in misreadings.find(self.shared)
            if warning.profile is None and warning.reason.startswith(starts)
        )
        return NotFound(what, next(reasons, ""), Remedy("list"))

    def path(self, kind: FileKind) -> Path:
        """Return the path of a shared file."""
        return Path(self.shared.path_of(kind))

    def document(self, kind: FileKind) -> Document | None:
        """Return a shared file, or None if it is absent or AWS tools reject it."""
        return self.shared.config if kind is FileKind.CONFIG else self.shared.credentials

    def document_or_empty(self, kind: FileKind) -> Document:
        """Return a shared file, or an empty one if it is absent."""
        return self.document(kind) or parse(b"", self.shared.path_of(kind), kind)

    def header(self, kind: FileKind, name: str) -> str:
        """Return the header of a profile's section in a file, or the header that a new section gets."""
        return self.own_header(kind, name) or header_for(kind, name)

    def own_header(self, kind: FileKind, name: str) -> str | None:
        """Return the header of a profile's section in a file, None if it has none. Of several sections for
        the same profile it is the last one, which botocore reads.
        """
        sections = self.shared.definitions.get(name)
        if sections is None:
            return None
        section = sections.config if kind is FileKind.CONFIG else sections.credentials
        return section.name if section is not None else None

    def require_file(self, kind: FileKind) -> None:
        """See :func:`keyturn.awsconfig.writer.require_file`."""
        require_file(self.path(kind), kind)

    def require_parsable(self, kind: FileKind, paths: Paths) -> None:
        """Check that AWS tools accept a shared file before it is written.

        :raises UsageError: if they use no such file.
        :raises UnparsableFile: if they reject it.
        """
        self.require_file(kind)
        path = self.shared.path_of(kind)
        for problem in self.shared.problems:
            if problem.path == path:
                what, why = f"Could not write {paths.display(path)}", f"line {problem.line}: {problem.reason}"
                raise UnparsableFile(what, why, "Correct the file first", path=path, lineno=problem.line)

    def process_line_file(self) -> FileKind:
        """Return the file for `credential_process` lines: the config file, or the credentials file if AWS
        tools reject the config file.

        :raises UnsafeFile: if the config file is unreadable, so that it is unknown if it contains the line.
        """
        path = self.shared.config_path
        problem = next((problem for problem in self.shared.problems if problem.path == path), None)
        if problem is not None and problem.unreadable:
            raise UnsafeFile(
                f"Could not read {path}", problem.reason, "Correct its permissions, then try again"
            )
        return FileKind.CONFIG if problem is None else FileKind.CREDENTIALS

    def static_credentials(self, name: str) -> Credentials | None:
        """Return the plaintext keys that AWS tools use for a source profile, or None if they use another
        source.

        Key id and secret come from the same file. The credentials file takes precedence over
        `credential_process`, and that over the config file, as in botocore.
        """
        credentials = self._credentials_in(FileKind.CREDENTIALS, name)
        if credentials is not None:
            return credentials
        if any(self.settings(name).get(setting) for setting in ("credential_process", "login_session")):
            return None
        return self._credentials_in(FileKind.CONFIG, name)

    def _credentials_in(self, kind: FileKind, name: str) -> Credentials | None:
        document = self.document(kind)
        header = self.own_header(kind, name)
        if document is None or header is None:
            return None
        defaults = {key: item.value for key, item in document.defaults.items()}
        values = defaults | document.values(header)
        key_id, secret = values.get("aws_access_key_id"), values.get("aws_secret_access_key")
        token = values.get("aws_security_token") or values.get("aws_session_token")
        if not key_id or not secret:
            return None
        return Credentials(key_id, Secret(secret), Secret(token) if token else None)

    def digest(self) -> str:
        """Return a digest of everything that a plan depends on: both shared files and the definitions."""
        sha = hashlib.sha256()
        for document in (self.shared.config, self.shared.credentials):
            data = document.data if document is not None else b"\0"
            sha.update(len(data).to_bytes(8, "big") + data)
        sha.update(managed_profiles.encode(self.definitions))
        return sha.hexdigest()


def read(
    paths: Paths,
    environ: Mapping[str, str],
    now: datetime,
    index_file: IndexFile,
    earlier: Inventory | None = None,
) -> Inventory:
    """Read the shared files, `profiles.toml`, `config.toml` and the index. A file that cannot be read is
    reported as a problem.

    :param earlier: an earlier reading; shared files with the same content are not parsed again.
    """
    shared = read_files(
        paths.aws_config, paths.aws_credentials, earlier.shared if earlier is not None else None
    )
    natives = NativeProfiles(shared, environ)
    problems = list(shared.problems)
    profiles_error = None
    try:
        definitions: Mapping[str, ManagedProfile] = require_known_kinds(
            managed_profiles.load(paths.profiles_file), str(paths.profiles_file)
        )
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
    return Inventory(
        shared,
        natives,
        definitions,
        index_file.load(),
        tuple(problems),
        now,
        preferences,
        config_error,
        profiles_error,
    )


def own_section(document: Document | None, kind: FileKind, profile: str) -> str | None:
    """Return the name of a profile's section in a file, as its header spells it."""
    for section in document.sections if document else ():
        if profile_of(kind, section.name) == profile:
            return section.name
    return None


def stamp(paths: Paths, environ: Mapping[str, str]) -> tuple[object, ...]:
    """Return inode, size and modification time of all files that :func:`read` reads, and of the agent's
    sockets, to detect changes.

    :param environ: names the folders of the SDK caches.
    """
    parts: list[object] = [SdkCaches(environ).stamp()]
    for path in (
        paths.aws_config,
        paths.aws_credentials,
        paths.profiles_file,
        paths.index_file,
        paths.config_file,
        *paths.sockets,
    ):
        try:
            stat = path.stat()
            parts.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
        except OSError:
            parts.append(None)
    return tuple(parts)
