"""The files of one user in one folder: made once at each stage, restored before every run, and read for
judgement.

A home always lies at the same path, because the vault remembers the paths that its contents came from; its
stages are copies.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from keyturn.aws.api import Identity, IssuedCredentials, LastUse, ListedKey, RoleRequest
from keyturn.model.errors import KeyturnError
from keyturn.model.profile import Credentials, VaultState
from keyturn.model.secret import Secret
from keyturn.storage import index, managed_profiles
from keyturn.storage.history import History
from keyturn.vault.vault import Vault
from tests.core.vault.vault_user import session_names

#: The time of everything in these tests, so that the same operation writes the same bytes each time.
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
KEY_ID = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
PASSPHRASE = Secret("three small words")

CONFIG = b"""# mine
[default]
region = eu-west-1

[profile dev]
region = eu-central-1
mfa_unrelated = kept

[profile ops]
role_arn = arn:aws:iam::123456789012:role/ops
source_profile = dev
# the end, without one"""
CREDENTIALS = f"""# and these
[other]
aws_access_key_id = AKIAOTHEROTHEROTHER0
aws_secret_access_key = another/secret/that/nobody/touches/0000

[dev]
aws_access_key_id = {KEY_ID}
aws_secret_access_key = {SECRET}
""".encode()

#: Parts of a name or note that differ between runs: the process id and random numbers.
_NUMBERS = re.compile(r"(?<![0-9A-Za-z])(?:\d{2,}|[0-9a-f]{8}|[0-9a-f]{16})(?![0-9A-Za-z])|\"pid\": \d+.*")

#: Key in the note of a lock: the time of the last foreign write to the file.
_CONTENDED = re.compile(rb'"stirred": [0-9.]+')

Views = dict[str, Any]


class Corrupt(AssertionError):
    """A file is neither the old nor the new version, or something was lost."""


@dataclass(frozen=True)
class FixedAws:
    """An AWS that gives each signer the same session at each call, and no answers of IAM.

    The faults here are those of the file system; faults of AWS are tested with the sandbox.
    """

    def _session(self, signer: Credentials, more: str) -> IssuedCredentials:
        tail = f"{signer.access_key_id[4:12]}{more}"
        session = Credentials(
            f"ASIA{tail:X<16}",
            Secret(f"secret-of-{tail:x<30}"),
            Secret("token" * 60),
            NOW + timedelta(hours=1),
        )
        return IssuedCredentials(session, f"arn:aws:sts::123456789012:assumed-role/{more}/keyturn")

    def get_session_token(
        self, signer: Credentials, *, duration_seconds: int, mfa_serial: str | None, mfa_code: str | None
    ) -> IssuedCredentials:
        del duration_seconds, mfa_serial, mfa_code
        return self._session(signer, "TOKEN")

    def assume_role(self, signer: Credentials, request: RoleRequest) -> IssuedCredentials:
        del request
        return self._session(signer, "ROLE")

    def get_caller_identity(self, signer: Credentials) -> Identity:
        del signer
        return Identity("arn:aws:iam::123456789012:user/dev", "123456789012", "AIDAEXAMPLE")

    def list_access_keys(self, signer: Credentials, user_name: str | None) -> tuple[ListedKey, ...]:
        del signer, user_name
        return (ListedKey(KEY_ID, "Active", NOW - timedelta(days=100)),)

    def access_key_last_used(self, signer: Credentials, key_id: str) -> LastUse:
        del signer, key_id
        return LastUse(NOW - timedelta(days=2), "sts", "us-east-1")

    def native_credentials(self, profile: str) -> Credentials:
        raise KeyturnError(f"profile {profile}", "there is nothing native here")


@dataclass
class Home:
    """The files of one user under `root`, and the recovery key of the vault."""

    root: Path
    recovery_key: Secret = field(default_factory=lambda: Secret(""))
    max_torn_lines: int = 0
    """Number of lines of a log that may be torn: 1 after a power loss, because a log is not fsynced at each
    line."""

    @property
    def person(self) -> Path:
        """Return every folder and file that a run may touch."""
        return self.root / "person"

    @property
    def aws(self) -> Path:
        return self.person / ".aws"

    @property
    def config(self) -> Path:
        return self.aws / "config"

    @property
    def credentials(self) -> Path:
        return self.aws / "credentials"

    @property
    def own(self) -> Path:
        return self.person / "keyturn"

    @property
    def state(self) -> Path:
        return self.own / "state"

    @property
    def vault(self) -> Path:
        return self.own / "data" / "vault"

    @property
    def environ(self) -> Mapping[str, str]:
        return {
            "HOME": str(self.person),
            "KEYTURN_HOME": str(self.own),
            "AWS_CONFIG_FILE": str(self.config),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.credentials),
            "AWS_EC2_METADATA_DISABLED": "true",
            "PATH": os.environ.get("PATH", ""),
            "LANG": "C.UTF-8",
        }

    def create_files(self) -> None:
        """Create the shared files without a vault."""
        self.aws.mkdir(mode=0o700, parents=True)
        self.person.chmod(0o700)
        for path, content in ((self.config, CONFIG), (self.credentials, CREDENTIALS)):
            path.write_bytes(content)
            path.chmod(0o600)
            # A file with an old time of change is edited without waiting.
            os.utime(path, (NOW.timestamp(), NOW.timestamp()))

    def save_stage(self, stage: str) -> None:
        """Save the files as a stage with old times of change, because keyturn reads recently changed files
        more often and runs would differ."""
        for path in (self.config, self.credentials):
            if path.exists():
                os.utime(path, (NOW.timestamp(), NOW.timestamp()))
        for note in (self.state / "locks").glob("*.lock"):
            note.write_bytes(_CONTENDED.sub(b'"stirred": 0.0', note.read_bytes()))
        shutil.copytree(self.person, self.root / "stages" / stage, symlinks=True)

    def restore_stage(self, stage: str) -> None:
        shutil.rmtree(self.person, ignore_errors=True)
        shutil.copytree(self.root / "stages" / stage, self.person, symlinks=True)

    def open_vault(self) -> Vault:
        vault = Vault(self.vault)
        vault.unlock(recovery_key=self.recovery_key)
        return vault

    # -- views of the files
    # -----------------------------------------------------------------------------------------

    def views(self) -> Views:
        """Return every file in parsed form; None for absent files.

        :raises Corrupt: if one of them cannot be parsed.
        """
        views: Views = {"config": _bytes(self.config), "credentials": _bytes(self.credentials)}
        views["profiles"] = _bytes(self.own / "config" / "profiles.toml")
        try:
            if not managed_profiles.decode(views["profiles"], "profiles.toml"):
                # A file that defines nothing is equivalent to an absent one.
                views["profiles"] = None
        except KeyturnError as error:
            raise Corrupt(f"profiles.toml: {error.line()}") from error
        views["index"] = self._index()
        views["keys"], views["sessions"], views["slots"] = self._vault()
        self._logs(views, "activity.jsonl")
        self._logs(views, "keyturn.log")
        views["history"] = self._history(views["slots"] is not None)
        return views

    def _logs(self, views: Views, name: str) -> None:
        """Put the lines of a log into `found`.

        :raises Corrupt: if a line is torn, joined to another, or without an end.
        """
        content = _bytes(self.state / name)
        lines = (content or b"").splitlines(keepends=True)
        views[name] = None if content is None else lines
        torn = [line for line in lines if not line.endswith(b"\n") or not _is_line(name, line)]
        if len(torn) > self.max_torn_lines:
            raise Corrupt(f"{name}: torn lines: {torn!r:.500}")

    def _index(self) -> Any:
        content = _bytes(self.state / "index.json")
        if content is None:
            return None
        if index._decode(content) is None:
            raise Corrupt(f"index.json: {content!r}")
        if (self.state / "index.json.unreadable").exists():
            raise Corrupt("an index was set aside as unreadable")
        table = json.loads(content)
        for state in table["profiles"].values():
            state.pop("failure", None)
        return table

    def _vault(self) -> tuple[Any, Any, Any]:
        if not self.vault.exists():
            return None, None, None
        vault = Vault(self.vault)
        if vault.state() in (VaultState.ABSENT, VaultState.BROKEN):
            raise Corrupt(
                f"the vault is {vault.state()}: {sorted(each.name for each in self.vault.iterdir())}"
            )
        try:
            # The recovery key of a vault whose creation was killed was never printed, so the passphrase opens
            # it.
            try:
                vault.unlock(recovery_key=self.recovery_key)
            except KeyturnError:
                vault.unlock(passphrase=PASSPHRASE)
            keys = {name: vault.key(name) for name in vault.key_names()}
            sessions = {name: vault.session(name) for name in session_names(vault)}
        except KeyturnError as error:
            raise Corrupt(f"the vault: {error.line()}") from error
        if any(self.vault.glob("*.damaged-*")):
            raise Corrupt("a file of the vault was set aside as damaged")
        return keys, sessions, vault.slots()

    def _history(self, sealed: bool) -> Any:
        folder = self.state / "history"
        if not sealed or not folder.exists():
            return None
        vault = self.open_vault()
        history = History(folder, vault.seal, lambda: NOW)
        try:
            return [(entry.path, history.read(entry, vault)) for entry in history.list()]
        except KeyturnError as error:
            raise Corrupt(f"history: {error.line()}") from error

    def key_is_safe(self, views: Views) -> bool:
        """Return True if the long-term key is in the vault, or in the shared file, or in both."""
        in_file = SECRET.encode() in (views["credentials"] or b"")
        keys = (views["keys"] or {}).get("key/dev") or {}
        return in_file or keys.get("secret") == SECRET

    def fingerprint(self) -> tuple[Any, ...]:
        """Return everything on the disk, to the byte, except random parts: equal fingerprints are the same
        state.

        Names of temporary files lose their numbers, sealed files are opened, and the process in a lock's note
        is left out.
        """
        try:
            opened = self.open_vault()
        except KeyturnError:
            opened = None
        parts = []
        for path in sorted(self.person.rglob("*")):
            name = _NUMBERS.sub("N", str(path.relative_to(self.person)))
            status = path.lstat()
            content: Any = None
            if stat.S_ISREG(status.st_mode):
                content = path.read_bytes()
                if content.startswith(b"age-encryption.org/"):
                    content = _open_sealed(opened, content)
                elif path.name.endswith(".lock"):
                    content = _NUMBERS.sub("N", content.decode("utf-8", "replace"))
            parts.append((name, stat.S_IMODE(status.st_mode), content))
        return tuple(sorted(parts, key=repr))

    def leftovers(self) -> list[str]:
        """Return temporary files and half-made folders."""
        return sorted(
            str(path.relative_to(self.person))
            for path in self.person.rglob("*")
            if path.name.endswith((".tmp", ".new"))
        )


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _open_sealed(vault: Vault | None, content: bytes) -> Any:
    """Return the content of a sealed file; only its length if it has another key or is torn."""
    try:
        return vault.open(content) if vault is not None else len(content)
    except KeyturnError:
        return len(content)


def _is_line(name: str, line: bytes) -> bool:
    """Return True if this is one whole line of a log."""
    if not name.endswith(".jsonl"):
        return line[:4].isdigit() and (b"WARNING" in line or b"ERROR" in line)
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
