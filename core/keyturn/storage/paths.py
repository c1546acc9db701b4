"""Where files live: the folders of keyturn itself, and the two files that all AWS tools share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from keyturn.storage.raw_paths import aws_file, config_folder, data_folder, home
from keyturn.storage.socket_paths import forwarded_path, socket_path, state_folder, working_folder


@dataclass(frozen=True, slots=True)
class Paths:
    """All folders and files of one person, resolved once from the environment."""

    config_dir: Path
    """`config.toml` (the person's) and `profiles.toml` (ours)."""
    data_dir: Path
    """`vault/`."""
    state_dir: Path
    """`index.json`, `activity.jsonl`, `keyturn.log`, `history/`, locks."""
    socket: Path
    """The agent's socket; its folder is private."""
    forwarded: Path
    """The socket that SSH may carry here from another machine."""
    aws_config: Path
    """The shared config file: `AWS_CONFIG_FILE`, else `~/.aws/config`."""
    aws_credentials: Path
    """The shared credentials file: `AWS_SHARED_CREDENTIALS_FILE`, else `~/.aws/credentials`."""
    home: Path
    """The person's home, for showing paths as `~/…`."""

    @property
    def vault_dir(self) -> Path:
        return self.data_dir / "vault"

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
        """What became of the codes of MFA devices; no code is in it."""
        return self.state_dir / "mfa.json"

    @property
    def history_dir(self) -> Path:
        return self.state_dir / "history"

    @property
    def locks_dir(self) -> Path:
        return self.state_dir / "locks"

    def own_folders(self) -> tuple[Path, ...]:
        """Where keyturn's writers put files of its own."""
        return (self.config_dir, self.state_dir, self.history_dir, self.data_dir, self.vault_dir)

    def shared_files(self) -> tuple[Path, Path]:
        """The two files that all AWS tools share."""
        return (self.aws_credentials, self.aws_config)

    def shown(self, path: Path | str) -> str:
        """`path` as a person writes it, with `~` for the home folder."""
        try:
            return str(Path("~") / Path(path).relative_to(self.home))
        except ValueError:
            return str(path)


def paths_for(environ: Mapping[str, str]) -> Paths:
    """The places that `environ` names: `KEYTURN_HOME` puts all of ours under one folder, else the XDG folders (the
    platform's own on macOS); the AWS variables are read as botocore reads them (variables and `~` expanded).

    :raises UsageError: a path is relative to a folder that was removed.
    """
    return Paths(
        config_dir=Path(config_folder(environ)),
        data_dir=Path(data_folder(environ)),
        state_dir=Path(state_folder(environ)),
        socket=Path(socket_path(environ)),
        forwarded=Path(forwarded_path(environ)),
        aws_config=_shared(environ, "AWS_CONFIG_FILE", "config"),
        aws_credentials=_shared(environ, "AWS_SHARED_CREDENTIALS_FILE", "credentials"),
        home=Path(home(environ)),
    )


def _shared(environ: Mapping[str, str], variable: str, name: str) -> Path:
    path = aws_file(environ, variable, name)
    if path.startswith("/"):
        return Path(path)
    return Path(working_folder(variable if environ.get(variable) else "HOME")) / path
