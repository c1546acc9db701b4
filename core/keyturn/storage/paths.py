"""Paths of keyturn's own files and of the two AWS shared files, and the check that keyturn's own are
private."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from keyturn.model.errors import UsageError
from keyturn.storage.raw_paths import (
    aws_file,
    aws_home,
    config_folder,
    data_folder,
    forwarded_path,
    socket_path,
    socket_paths,
    state_folder,
    working_folder,
)
from keyturn.system.ownership import check_creatable, check_own


@dataclass(frozen=True, slots=True)
class Paths:
    """All folders and files of one user, resolved once from the environment."""

    config_dir: Path
    """`config.toml` (written by the user) and `profiles.toml` (written by keyturn)."""
    data_dir: Path
    """`vault/`."""
    state_dir: Path
    """`index.json`, `activity.jsonl`, `keyturn.log`, `history/`, locks."""
    socket: Path
    """The socket at which an agent of this environment would listen, in a private folder."""
    sockets: tuple[Path, ...]
    """All sockets at which an agent of this keyturn home may listen; `socket` is the first."""
    forwarded: Path
    """Socket that SSH forwards from another host."""
    aws_config: Path
    """The shared config file: `AWS_CONFIG_FILE`, else `~/.aws/config`."""
    aws_credentials: Path
    """The shared credentials file: `AWS_SHARED_CREDENTIALS_FILE`, else `~/.aws/credentials`."""
    home: Path
    """Home folder, for display of paths as `~/…`."""

    @property
    def vault_dir(self) -> Path:
        return self.data_dir / "vault"

    @property
    def rotation_dir(self) -> Path:
        """The rotation journal."""
        return self.vault_dir / "rotation"

    @property
    def rotation_fallback_dirs(self) -> tuple[Path, ...]:
        """Folders on another file system for the journal, if the vault's disk refuses to take it. Records are
        written to the first. In another environment of the same user, such as cron's, the first is one of
        the others.
        """
        return tuple(dict.fromkeys(path.parent for path in self.sockets))

    @property
    def profiles_file(self) -> Path:
        return self.config_dir / "profiles.toml"

    @property
    def config_file(self) -> Path:
        return self.config_dir / "config.toml"

    @property
    def index_file(self) -> Path:
        return self.state_dir / "index.json"

    @property
    def mfa_file(self) -> Path:
        """File with the outcome of MFA codes. It holds no code."""
        return self.state_dir / "mfa.json"

    @property
    def history_dir(self) -> Path:
        return self.state_dir / "history"

    @property
    def locks_dir(self) -> Path:
        return self.state_dir / "locks"

    def own_folders(self) -> tuple[Path, ...]:
        """Return the folders in which keyturn writes its own files."""
        return (
            self.config_dir,
            self.state_dir,
            self.history_dir,
            self.data_dir,
            self.vault_dir,
            self.rotation_dir,
            *self.rotation_fallback_dirs,
        )

    def shared_files(self) -> tuple[Path, Path]:
        """Return the credentials file and the config file of AWS tools."""
        return (self.aws_credentials, self.aws_config)

    def check_private(self) -> None:
        """Check the owner and mode of keyturn's own folders and files before they are believed, and that each
        missing folder would be created in a folder of this user.

        The folder of `config.toml` may be readable by others, because the user may have created it.

        :raises UnsafeFile: if one of them belongs to another user or can be used by one. The error names the
            command that corrects it.
        """
        for folder in (self.config_dir, self.state_dir, self.data_dir):
            check_creatable(folder)
        for path in (self.config_dir, self.profiles_file):
            check_own(path, may_be_read=True, missing_ok=True)
        for path in (
            *(self.state_dir, self.history_dir, self.locks_dir, self.data_dir, self.vault_dir),
            *(self.rotation_dir, self.index_file, self.mfa_file, self.history_dir / "index.json"),
            *_age_files(self.vault_dir),
            *_age_files(self.rotation_dir),
            self.vault_dir / "generation.txt",
        ):
            check_own(path, missing_ok=True)

    def display(self, path: Path | str) -> str:
        """Return `path` for display, with `~` for the home folder."""
        try:
            return str(Path("~") / Path(path).relative_to(self.home))
        except ValueError:
            return str(path)


def _age_files(folder: Path) -> list[Path]:
    """Return the encrypted files of a folder, and its `recipient.txt`."""
    try:
        files = list(folder.iterdir())
    except OSError:
        return []  # whatever needs the folder reports the error
    return [
        file
        for file in files
        if file.name == "recipient.txt" or (file.suffix == ".age" and not file.name.startswith("."))
    ]


def paths_for(environ: Mapping[str, str]) -> Paths:
    """Return the paths for an environment. `KEYTURN_HOME` puts all files of keyturn in one folder;
    otherwise the XDG folders apply (on macOS the platform's own). AWS variables are read like botocore
    does (variables and `~` expanded).

    :raises UsageError: if a path is relative to a deleted folder, or to a home that is unknown.
    """
    return Paths(
        config_dir=Path(config_folder(environ)),
        data_dir=Path(data_folder(environ)),
        state_dir=Path(state_folder(environ)),
        socket=Path(socket_path(environ)),
        sockets=tuple(Path(path) for path in socket_paths(environ)),
        forwarded=Path(forwarded_path(environ)),
        aws_config=_shared(environ, "AWS_CONFIG_FILE", "config"),
        aws_credentials=_shared(environ, "AWS_SHARED_CREDENTIALS_FILE", "credentials"),
        home=_home(environ),
    )


def _home(environ: Mapping[str, str]) -> Path:
    """Return the home folder, or one that does not exist if all paths are set without one."""
    try:
        return Path(aws_home(environ))
    except UsageError:
        return Path("/nonexistent")


def _shared(environ: Mapping[str, str], variable: str, name: str) -> Path:
    path = aws_file(environ, variable, name)
    if path.startswith("/"):
        return Path(path)
    return Path(working_folder(variable if environ.get(variable) else "HOME")) / path
