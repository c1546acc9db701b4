"""The real service and its double in the same situations, for the contract that both keep.

`RealWorld` is `CredentialService` over a sandbox in this process; `MemoryWorld` is `MemoryService` with the
rows that the real one shows in the same situation. A test changes the world around the service by the methods
of `World` only, so that its body runs over both.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import pytest

from keyturn.awsconfig import writer
from keyturn.model.errors import AwsRefused, NoResponse
from keyturn.model.profile import Delivery, Key, Profile, Snapshot, VaultState
from keyturn.model.secret import Secret
from keyturn.operations import key_metadata
from keyturn.service import CredentialService
from keyturn.vault import passphrase
from keyturn_sandbox import Sandbox
from keyturn_tui.workers import ServicePort
from tests.core.vault import weak_age
from tests.support.instant_timing import instant_timing
from tests.tui.memory_service import PASSPHRASE, MemoryService

#: Profiles of the sandbox, by what they are. An unlocked or locked vault holds the first four.
KEY, ROLE, MFA_KEY, MFA_ROLE = "ci-deploy", "ci-audit", "acme-alice", "prod-admin"
PLAINTEXT, PLAINTEXT_SOURCE, NATIVE_ROLE = "personal", "acme-build", "acme-hub"
TEMPORARY, PROCESS, BROKEN, UNKNOWN = "contractor", "old-vpn", "old-cluster", "nobody"


class World(Protocol):
    """A service, and what surrounds it."""

    @property
    def service(self) -> ServicePort: ...

    def begin(self, vault: VaultState) -> None:
        """Start over: `ABSENT` with native profiles only; `OPEN` or `LOCKED` with `KEY`, `MFA_KEY` and the
        roles that depend on them adopted."""

    def row(self, name: str) -> Profile:
        """Return a profile of a new snapshot."""

    def unused_code(self) -> str:
        """Return an MFA code that AWS accepts once."""

    def refuse(self, name: str) -> None:
        """Have AWS refuse the next refresh of an access key."""

    def disconnect(self, name: str) -> None:
        """Have the next refresh of an access key get no response."""

    def reconnect(self) -> None:
        """End the effect of :meth:`refuse` and :meth:`disconnect`."""

    def change_files(self) -> None:
        """Change a shared file as another program does, beside the profiles of the tests."""

    def change_plaintext_profile(self) -> None:
        """Change a credential setting of the plaintext profile, as another program does."""

    def deliver_to_file(self, name: str) -> None:
        """Deliver a session to the credentials file."""

    def wait(self, length: timedelta) -> None:
        """Let time pass."""

    def lose_vault(self) -> None:
        """Remove the vault's files."""

    def add_idle_key(self, name: str) -> str:
        """Give the user of an access key a second, idle one, and return its id."""


class RealWorld:
    """The real service in this process.

    :param sandbox: a running one, whose environment is this process's.
    """

    service: CredentialService

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._resets = 0
        self._moved = timedelta()
        self._users = [
            (user, [(key, key.status, key.change) for key in user.keys])
            for user in sandbox.state._users.values()
        ]
        self._save("native")
        self.service = self._new_service()
        self._recovery_key = self.service.create_vault("passphrase", Secret(PASSPHRASE))
        self.service.confirm_recovery_key()
        self.service.adopt(self.service.plan_adopt((KEY, MFA_KEY)))
        self._ask_for_key_age(KEY)
        self._save("managed")
        self._snapshots: dict[VaultState, tuple[Snapshot, datetime]] = {}

    def initial(self, vault: VaultState) -> tuple[Snapshot, datetime]:
        """Return the snapshot right after :meth:`begin`, and its time."""
        if vault not in self._snapshots:
            self.begin(vault)
            self._snapshots[vault] = self.service.snapshot(), self.service.now()
        return self._snapshots[vault]

    def begin(self, vault: VaultState) -> None:
        self.reconnect()
        self._restore("native" if vault is VaultState.ABSENT else "managed")
        for user, keys in self._users:
            user.deleted.clear()
            user.keys[:] = [key for key, _, _ in keys]
            for key, status, change in keys:
                key.status, key.change = status, change
        self._resets += 1  # each code works once
        self.wait(-self._moved + timedelta(seconds=30 * self._resets))
        self.service = self._new_service()
        if vault is VaultState.OPEN:
            self.service.unlock_here(recovery_key=self._recovery_key)

    def row(self, name: str) -> Profile:
        return next(row for row in self.service.snapshot().profiles if row.name == name)

    def unused_code(self) -> str:
        return self._sandbox.totp("alice")

    def refuse(self, name: str) -> None:
        del name
        self._sandbox.faults.refuse("GetSessionToken", "AccessDenied")

    def disconnect(self, name: str) -> None:
        del name
        self._sandbox.faults.order("GetSessionToken", "reset", times=None)

    def reconnect(self) -> None:
        self._sandbox.faults.clear()

    def change_files(self) -> None:
        path = self.service.paths.aws_config
        path.write_text(path.read_text("utf-8") + "\n[profile another]\nregion = eu-west-1\n", "utf-8")

    def change_plaintext_profile(self) -> None:
        path, header = self.service.paths.aws_credentials, f"[{PLAINTEXT}]\n"
        text = path.read_text("utf-8")
        path.write_text(text.replace(header, f"{header}duration_seconds = 3600\n"), "utf-8")

    def deliver_to_file(self, name: str) -> None:
        self.service.deliver(name, Delivery.CREDENTIALS_FILE)

    def wait(self, length: timedelta) -> None:
        self._moved += length
        self._sandbox.move_clock(length.total_seconds())

    def lose_vault(self) -> None:
        shutil.rmtree(self.service.paths.vault_dir)
        self.service = self._new_service()

    def add_idle_key(self, name: str) -> str:
        user = next(user for user, _ in self._users if user.name == name)
        return self._sandbox.state.add_key(user, age=timedelta(days=40)).key_id

    def _ask_for_key_age(self, name: str) -> None:
        """Ask AWS for a key's age until it is known. An adoption asks once, with a short time limit."""
        end = time.monotonic() + 60
        while (key := self.row(name).key) is None or key.created is None:
            assert time.monotonic() < end
            key_metadata.refresh_due_key_metadata(self.service.context, {})

    def _new_service(self) -> CredentialService:
        found = CredentialService.from_environ(self._sandbox.environ, use_agent=False)
        return CredentialService(replace(found.context, sleep=lambda _seconds: None), use_agent=False)

    def _save(self, name: str) -> None:
        for folder in ("home", "keyturn"):
            shutil.copytree(self._sandbox.folder / folder, self._sandbox.folder / name / folder)

    def _restore(self, name: str) -> None:
        for folder in ("home", "keyturn"):
            shutil.rmtree(self._sandbox.folder / folder)
            shutil.copytree(self._sandbox.folder / name / folder, self._sandbox.folder / folder)


class MemoryWorld:
    """The double, with the rows of the real service."""

    service: MemoryService

    def __init__(self, real: RealWorld) -> None:
        self._real = real

    def begin(self, vault: VaultState) -> None:
        snapshot, now = self._real.initial(vault)
        self.service = MemoryService(snapshot.profiles, vault=vault, now=now)

    def row(self, name: str) -> Profile:
        return next(row for row in self.service.snapshot().profiles if row.name == name)

    def unused_code(self) -> str:
        return "111111"

    def refuse(self, name: str) -> None:
        what = f"Could not refresh {name}: sts:GetSessionToken"
        self.service.fail_refresh[name] = AwsRefused(what, "AccessDenied", code="AccessDenied")

    def disconnect(self, name: str) -> None:
        what = f"Could not refresh {name}: sts:GetSessionToken"
        self.service.fail_refresh[name] = NoResponse(what, "the connection was closed", "Try again")

    def reconnect(self) -> None:
        self.service.fail_refresh.clear()

    def change_files(self) -> None:
        self.service.change_files()

    def change_plaintext_profile(self) -> None:
        self.service.edit(PLAINTEXT, region="eu-west-1")

    def deliver_to_file(self, name: str) -> None:
        if self.row(name).session is None:
            self.service.refresh(name)
        self.service.edit(name, delivery=Delivery.CREDENTIALS_FILE)

    def wait(self, length: timedelta) -> None:
        self.service.move_clock(length)

    def lose_vault(self) -> None:
        self.service.vault = VaultState.ABSENT

    def add_idle_key(self, name: str) -> str:
        del name
        created = self.service.now() - timedelta(days=40)
        key = self.service.rotation.other_slot = Key("AKIAEXAMPLE0000IDLE", created=created, status="Active")
        return key.key_id


@contextmanager
def sandboxed(folder: Path) -> Iterator[RealWorld]:
    """Start a sandbox in a folder that does not exist yet, and make its environment this process's."""
    with pytest.MonkeyPatch.context() as patch, Sandbox(folder) as sandbox:
        patch.setattr(passphrase, "seal", weak_age.seal)
        patch.setattr(writer, "Timing", instant_timing)
        for name in set(os.environ) - set(sandbox.environ):
            patch.delenv(name)
        for name, value in sandbox.environ.items():
            patch.setenv(name, value)
        yield RealWorld(sandbox)
