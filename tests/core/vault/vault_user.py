"""A user's own folders with a vault in them, and a second home."""

from __future__ import annotations

from pathlib import Path

from keyturn.model.secret import Secret
from keyturn.service import CredentialService
from keyturn.vault import files
from keyturn.vault.vault import Vault
from tests.core.vault.conftest import PASSPHRASE

PROFILES = b"""version = 1

[profiles.ci]
kind = "iam-key"
key = "ci"
delivery = "credential-process"

[profiles.prod]
kind = "role"
role_arn = "arn:aws:iam::123456789012:role/prod"
source_profile = "ci"
delivery = "credential-process"
"""
KEY = {"key_id": "AKIAIOSFODNN7EXAMPLE", "secret": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
JOURNEY = Secret("for the journey")


class Home:
    """A user's own folders, and a service in this process. No agent, and no scrypt work."""

    def __init__(self, folder: Path) -> None:
        self.environ = {"HOME": str(folder), "KEYTURN_HOME": str(folder / "keyturn"), "PATH": ""}
        self.recovery_key = Secret("")

    def new_service(self) -> CredentialService:
        """Return the service as another process would have it."""
        return CredentialService.from_environ(self.environ, use_agent=False)

    def unlocked_service(self) -> CredentialService:
        service = self.new_service()
        service.unlock_here(recovery_key=self.recovery_key)
        return service

    @property
    def vault(self) -> Path:
        return self.new_service().paths.vault_dir

    @property
    def profiles(self) -> Path:
        return self.new_service().paths.profiles_file

    def set_up(self) -> Home:
        """Create the vault with a key, and define two profiles."""
        service = self.new_service()
        self.recovery_key = service.create_vault("passphrase", Secret(PASSPHRASE))
        service.context.vault.change_keys(lambda entries: entries.update({"key/ci": dict(KEY)}))
        self.profiles.parent.mkdir(parents=True)
        self.profiles.write_bytes(PROFILES)
        self.unlocked_service()
        return self


def session_names(vault: Vault) -> tuple[str, ...]:
    """Return the names in the session cache of an unlocked vault, sorted."""
    return tuple(sorted(files.read_sessions(vault.folder, vault._require_identity()).entries))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "lock"}
