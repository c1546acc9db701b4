"""One person's files in one folder: made once at each stage of a life, put back before every run, and read by a judge.

A home always lies at the same path, because the vault remembers where it took things from; its stages are copies.
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

#: When everything in these tests happens, so that the same act writes the same bytes each time.
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

#: What differs from run to run in a name or a note: the process, and what it drew.
_NUMBERS = re.compile(r"(?<![0-9A-Za-z])(?:\d{2,}|[0-9a-f]{8}|[0-9a-f]{16})(?![0-9A-Za-z])|\"pid\": \d+.*")

#: In the note of a lock: when somebody else was last seen to have written the file.
_STIRRED = re.compile(rb'"stirred": [0-9.]+')

Views = dict[str, Any]


class Corrupt(AssertionError):
    """A file is neither the old nor the new version, or something was lost."""


@dataclass(frozen=True)
class FixedAws:
    """An AWS that gives each signer the same session at each call, and tells nothing of IAM.

    The faults here are the file system's; what AWS itself may do is the sandbox's part.
    """

    def _issued(self, signer: Credentials, more: str) -> IssuedCredentials:
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
        return self._issued(signer, "TOKEN")

    def assume_role(self, signer: Credentials, request: RoleRequest) -> IssuedCredentials:
        del request
        return self._issued(signer, "ROLE")

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
    """The files of one person under `root`, and the way into their vault."""

    root: Path
    recovery_key: Secret = field(default_factory=lambda: Secret(""))
    torn_log_lines: int = 0
    """How many lines of a log may be torn: one, where the power went, since a log is not fsynced at each line."""

    @property
    def person(self) -> Path:
        """All that a run may touch."""
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

    def begin(self) -> None:
        """Somebody with shared files and no vault."""
        self.aws.mkdir(mode=0o700, parents=True)
        self.person.chmod(0o700)
        for path, content in ((self.config, CONFIG), (self.credentials, CREDENTIALS)):
            path.write_bytes(content)
            path.chmod(0o600)
            # A file that was left alone for long needs no waiting before it is edited.
            os.utime(path, (NOW.timestamp(), NOW.timestamp()))

    def keep_as(self, stage: str) -> None:
        """Keeps the files as a stage, long ago: whoever finds a file just changed looks at it for longer, and a run would
        be another one each time."""
        for path in (self.config, self.credentials):
            if path.exists():
                os.utime(path, (NOW.timestamp(), NOW.timestamp()))
        for note in (self.state / "locks").glob("*.lock"):
            note.write_bytes(_STIRRED.sub(b'"stirred": 0.0', note.read_bytes()))
        shutil.copytree(self.person, self.root / "stages" / stage, symlinks=True)

    def back_to(self, stage: str) -> None:
        shutil.rmtree(self.person, ignore_errors=True)
        shutil.copytree(self.root / "stages" / stage, self.person, symlinks=True)

    def opened(self) -> Vault:
        vault = Vault(self.vault)
        vault.unlock(recovery_key=self.recovery_key)
        return vault

    # -- what a judge sees ----------------------------------------------------------------------------------------

    def views(self) -> Views:
        """Every file as what it says; None for what is not there.

        :raises Corrupt: one of them cannot be read as what it is.
        """
        found: Views = {"config": _bytes(self.config), "credentials": _bytes(self.credentials)}
        found["profiles"] = _bytes(self.own / "config" / "profiles.toml")
        try:
            if not managed_profiles.decode(found["profiles"], "profiles.toml"):
                # A file that defines nothing says what no file says.
                found["profiles"] = None
        except KeyturnError as error:
            raise Corrupt(f"profiles.toml: {error.line()}") from error
        found["index"] = self._index()
        found["keys"], found["sessions"], found["slots"] = self._vault()
        self._logs(found, "activity.jsonl")
        self._logs(found, "keyturn.log")
        found["history"] = self._history(found["slots"] is not None)
        return found

    def _logs(self, found: Views, name: str) -> None:
        """Puts the lines of a log into `found`.

        :raises Corrupt: one is torn, glued to another, or without an end.
        """
        content = _bytes(self.state / name)
        lines = (content or b"").splitlines(keepends=True)
        found[name] = None if content is None else lines
        torn = [line for line in lines if not line.endswith(b"\n") or not _is_line(name, line)]
        if len(torn) > self.torn_log_lines:
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
        for known in table["profiles"].values():
            known.pop("failure", None)
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
            # A vault that was being made when its process was killed has told nobody its key: the passphrase opens it.
            try:
                vault.unlock(recovery_key=self.recovery_key)
            except KeyturnError:
                vault.unlock(passphrase=PASSPHRASE)
            keys = {name: vault.key(name) for name in vault.key_names()}
            sessions = {name: vault.session(name) for name in vault.session_names()}
        except KeyturnError as error:
            raise Corrupt(f"the vault: {error.line()}") from error
        if any(self.vault.glob("*.damaged-*")):
            raise Corrupt("a file of the vault was set aside as damaged")
        return keys, sessions, vault.slots()

    def _history(self, sealed: bool) -> Any:
        folder = self.state / "history"
        if not sealed or not folder.exists():
            return None
        vault = self.opened()
        history = History(folder, vault.seal, lambda: NOW)
        try:
            return [(entry.path, history.read(entry, vault)) for entry in history.list()]
        except KeyturnError as error:
            raise Corrupt(f"history: {error.line()}") from error

    def key_is_safe(self, found: Views) -> bool:
        """Whether the long-term key is in the vault, or in the shared file, or in both."""
        in_file = SECRET.encode() in (found["credentials"] or b"")
        kept = (found["keys"] or {}).get("key/dev") or {}
        return in_file or kept.get("secret") == SECRET

    def fingerprint(self) -> tuple[Any, ...]:
        """All that is on the disk, to the byte, but for what is random in it: equal ones are the same state.

        Names of temporary files lose their numbers, sealed files are opened, and the process in a lock's note is left out.
        """
        try:
            opened = self.opened()
        except KeyturnError:
            opened = None
        found = []
        for path in sorted(self.person.rglob("*")):
            name = _NUMBERS.sub("N", str(path.relative_to(self.person)))
            status = path.lstat()
            content: Any = None
            if stat.S_ISREG(status.st_mode):
                content = path.read_bytes()
                if content.startswith(b"age-encryption.org/"):
                    content = _unsealed(opened, content)
                elif path.name.endswith(".lock"):
                    content = _NUMBERS.sub("N", content.decode("utf-8", "replace"))
            found.append((name, stat.S_IMODE(status.st_mode), content))
        return tuple(sorted(found, key=repr))

    def leftovers(self) -> list[str]:
        """Temporary files and half-made folders."""
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


def _unsealed(vault: Vault | None, content: bytes) -> Any:
    """What is in a sealed file; only its length where it takes another key, or is torn."""
    try:
        return vault.open(content) if vault is not None else len(content)
    except KeyturnError:
        return len(content)


def _is_line(name: str, line: bytes) -> bool:
    """Whether it is one whole line of a log."""
    if not name.endswith(".jsonl"):
        return line[:4].isdigit() and (b"WARNING" in line or b"ERROR" in line)
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
