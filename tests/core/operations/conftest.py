"""A service with its own sandbox, in this process. Its vault costs no scrypt, its writer no waits."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from keyturn.awsconfig import writer
from keyturn.model.secret import Secret
from keyturn.service import CredentialService
from keyturn.system.shared_file import Timing
from keyturn.vault import passphrase
from keyturn_sandbox import Sandbox
from tests.core.vault import weak_age
from tests.support.instant_timing import instant_timing

PASSPHRASE = Secret("three small words")
#: A native profile of the credentials file, by name and number.
PLAINTEXT = (
    "[{0}]\naws_access_key_id = AKIA{1:016d}\n"
    "aws_secret_access_key = {1:08d}wJalrXUtnFEMIK7MDENGbPxRfiCYEXAM\n"
)


@dataclass
class Bench:
    """A sandbox, the service in this process, and its vault's secret."""

    sandbox: Sandbox
    service: CredentialService
    recovery_key: Secret

    @property
    def config(self) -> Path:
        return self.sandbox.home / ".aws" / "config"

    @property
    def credentials(self) -> Path:
        return self.sandbox.home / ".aws" / "credentials"

    def files(self) -> tuple[bytes, bytes]:
        return self.config.read_bytes(), self.credentials.read_bytes()

    def add_plaintext_keys(self, count: int) -> list[str]:
        """Add native profiles with access keys to the credentials file, and return their names."""
        names = [f"plain-{number}" for number in range(count)]
        added = "\n".join(PLAINTEXT.format(name, number) for number, name in enumerate(names))
        self.credentials.write_text(f"{self.credentials.read_text()}\n{added}")
        return names

    def adopt(self, *names: str) -> None:
        self.service.adopt(self.service.plan_adopt(names))

    def release(self, *names: str) -> None:
        self.service.release(self.service.plan_release(names), PASSPHRASE)

    def another(self) -> CredentialService:
        """Return a second process of the same user, as far as files and locks can show."""
        service = CredentialService.from_environ(self.sandbox.environ, use_agent=False)
        service.unlock_here(recovery_key=self.recovery_key)
        return service

    def section(self, name: str) -> str:
        """Return a section of the credentials file, empty if it does not exist."""
        _, found, rest = self.credentials.read_text().partition(f"[{name}]\n")
        return rest.split("\n[")[0] if found else ""

    def calls(self, action: str) -> int:
        return sum(call.action == action for call in self.sandbox.calls)


@pytest.fixture
def writer_timing() -> Callable[[], Timing]:
    """Timing of the shared files' writer. Tests in which others write replace it by the real one."""
    return instant_timing


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer_timing: Callable[[], Timing]
) -> Iterator[Bench]:
    monkeypatch.setattr(passphrase, "seal", weak_age.seal)
    monkeypatch.setattr(writer, "Timing", writer_timing)
    with Sandbox(tmp_path / "sandbox") as sandbox:
        for name in set(os.environ) - set(sandbox.environ):
            monkeypatch.delenv(name)
        for name, value in sandbox.environ.items():
            monkeypatch.setenv(name, value)
        service = CredentialService.from_environ(sandbox.environ, use_agent=False)
        yield Bench(sandbox, service, service.create_vault("passphrase", PASSPHRASE))
