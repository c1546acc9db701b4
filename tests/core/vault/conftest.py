"""A keyring in memory, a vault that uses it, and one vault with a passphrase, sealed once per run."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from keyturn.model.errors import VaultError
from keyturn.model.secret import Secret
from keyturn.vault import passphrase
from keyturn.vault.vault import Vault
from tests.core.vault import weak_age

PASSPHRASE = "korrekt pferd ß"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


@dataclass
class MemoryKeyring:
    """A keyring that obeys the contract of `KeyringPort`; `refusal` makes it locked, denied or absent."""

    entries: dict[str, str] = field(default_factory=dict, repr=False)
    refusal: VaultError | None = None

    def backend(self) -> str:
        self._check()
        return "memory"

    def get(self, entry: str) -> Secret | None:
        self._check()
        return Secret(self.entries[entry]) if entry in self.entries else None

    def set(self, entry: str, secret: Secret) -> None:
        self._check()
        self.entries[entry] = secret.reveal()

    def delete(self, entry: str) -> None:
        self._check()
        self.entries.pop(entry, None)

    def _check(self) -> None:
        if self.refusal is not None:
            raise self.refusal


@dataclass
class Sample:
    """A vault in `folder` with one key, `deploy`, and the secret that opens it."""

    folder: Path
    recovery_key: Secret
    keyring: MemoryKeyring | None = None

    def open_vault(self) -> Vault:
        """Return the vault, opened with its recovery key."""
        vault = Vault(self.folder, self.keyring)
        vault.unlock(recovery_key=self.recovery_key)
        return vault

    def copy(self, folder: Path) -> Sample:
        """Copy the vault to another folder."""
        shutil.copytree(self.folder, folder)
        return Sample(folder, self.recovery_key, self.keyring)


def fill(vault: Vault) -> None:
    """Store the sample's contents: two generations of keys and a session."""
    vault.change_keys(lambda entries: entries.update(deploy={"secret": SECRET}))
    vault.change_sessions(lambda entries: entries.update(prod={"token": "session token"}))


@pytest.fixture
def keyring() -> MemoryKeyring:
    return MemoryKeyring()


@pytest.fixture
def sample(tmp_path: Path, keyring: MemoryKeyring) -> Sample:
    """A vault with a keyring slot, without scrypt."""
    vault = Vault(tmp_path / "data" / "vault", keyring)
    recovery_key = vault.create("keyring")
    fill(vault)
    return Sample(vault.folder, recovery_key, keyring)


@pytest.fixture(scope="session")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A vault with a passphrase slot with age's own scrypt, sealed once per run; never changed."""
    vault = Vault(tmp_path_factory.mktemp("sealed") / "vault")
    recovery_key = vault.create("passphrase", Secret(PASSPHRASE))
    fill(vault)
    return Sample(vault.folder, recovery_key)


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sample:
    """A vault with a passphrase slot that opens immediately, like every passphrase set in that test."""
    monkeypatch.setattr(passphrase, "seal", weak_age.seal)
    vault = Vault(tmp_path / "guarded" / "vault")
    recovery_key = vault.create("passphrase", Secret(PASSPHRASE))
    fill(vault)
    return Sample(vault.folder, recovery_key)
