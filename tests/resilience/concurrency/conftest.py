"""A sandbox whose user runs keyturn in processes of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from keyturn.model.secret import Secret
from keyturn.service import CredentialService
from keyturn.vault import passphrase
from keyturn_sandbox import Sandbox
from tests.core.vault import weak_age

#: One process of keyturn without an agent: opens the vault by the recovery key, then runs the operations that
#: it is given.
_PROGRAM = """
import json, os, sys
from keyturn.model.errors import FileBusy, FileChanged
from keyturn.service import CredentialService
from keyturn.model.profile import Delivery
from keyturn.model.secret import Secret

key, operations = json.loads(sys.stdin.readline())
service = CredentialService.from_environ(os.environ, use_agent=False)
service.unlock_here(recovery_key=Secret(key))
print("open", flush=True)
sys.stdin.readline()
for operation, name in operations:
    for attempt in range(20):
        try:
            if operation == "adopt":
                service.adopt(service.plan_adopt([name]))
            elif operation == "deliver":
                service.deliver(name, Delivery.CREDENTIALS_FILE)
            elif operation == "document":
                print(json.loads(service.credential_process(name))["AccessKeyId"], flush=True)
            break
        except FileChanged:
            # Plan again as the error advises, because another process has changed the file since.
            if attempt == 19:
                raise
"""


@dataclass
class Machine:
    """A sandbox and the recovery key of its vault."""

    sandbox: Sandbox
    service: CredentialService
    recovery_key: Secret

    @property
    def aws(self) -> Path:
        return self.sandbox.home / ".aws"

    def add_users(self, size: int) -> list[str]:
        """Add IAM users, each with a plaintext key in the credentials file."""
        names, text = [], ""
        for number in range(size):
            user = self.sandbox.state.add_user("111122223333", f"team-{number}")
            key = self.sandbox.state.add_key(user)
            names.append(f"team-{number}")
            text += (
                f"\n[team-{number}]\naws_access_key_id = {key.key_id}\naws_secret_access_key = "
                f"{key.secret.reveal()}\n"
            )
            text += "region = eu-west-1\n"
        with (self.aws / "credentials").open("a") as file:
            file.write(text)
        return names

    def run_parallel(self, operations: Sequence[Sequence[tuple[str, str]]]) -> list[str]:
        """Run each list of operations in a process of its own, all from the same moment, and return their
        outputs."""
        started = [
            subprocess.Popen(
                [sys.executable, "-c", _PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=self.environ,
            )
            for _ in operations
        ]
        for process, each in zip(started, operations, strict=True):
            assert process.stdin is not None
            process.stdin.write(json.dumps([self.recovery_key.reveal(), list(each)]) + "\n")
            process.stdin.flush()
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n", process.communicate(timeout=60)[1]
        for process in started:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        printed = []
        for process in started:
            out, errors = process.communicate(timeout=200)
            assert process.returncode == 0, errors
            printed.append(out)
        return printed

    @property
    def environ(self) -> Mapping[str, str]:
        return self.sandbox.environ

    def calls(self, action: str) -> int:
        return sum(call.action == action for call in self.sandbox.calls)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.setattr(passphrase, "seal", weak_age.seal)
    folder = Path(tempfile.mkdtemp(prefix="kt-"))
    with Sandbox(folder / "s") as sandbox:
        for name in set(os.environ) - set(sandbox.environ):
            monkeypatch.delenv(name)
        for name, value in sandbox.environ.items():
            monkeypatch.setenv(name, value)
        service = CredentialService.from_environ(sandbox.environ, use_agent=False)
        yield Machine(sandbox, service, service.create_vault("passphrase", Secret("three small words")))
    shutil.rmtree(folder, ignore_errors=True)
