"""A user at a shell: runs the real `keyturn`, the real AWS CLI and boto3 against a sandbox."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keyturn.model.secret import Secret
from keyturn.storage.raw_paths import socket_path
from keyturn_sandbox import Sandbox
from tests.core.vault import weak_age

BIN = Path(sys.executable).parent
#: The program under test. `KEYTURN=/path/to/keyturn` names another installation, such as an earlier release.
KEYTURN = os.environ.get("KEYTURN") or str(BIN / "keyturn")
#: Command of keyturn with passphrases that cost no work to seal; see that file.
WEAK_KEYTURN = (sys.executable, str(Path(weak_age.__file__).with_name("weak_keyturn.py")))
PASSPHRASE = "correct horse battery staple"
SECONDS = 60


@contextmanager
def readable(texts: Mapping[str, str]) -> Iterator[tuple[list[str], list[int]]]:
    """Yield options with descriptors from which a program can read their texts, and these descriptors.

    :param texts: each text by the option that takes its descriptor.
    """
    options: list[str] = []
    opened: list[int] = []
    try:
        for option, text in texts.items():
            read, write = os.pipe()
            opened.append(read)
            os.write(write, text.encode() + b"\n")
            os.close(write)
            options += [option, str(read)]
        yield options, opened
    finally:
        for descriptor in opened:
            os.close(descriptor)


@dataclass
class Person:
    """The keyturn user in the tests."""

    sandbox: Sandbox
    environ: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.environ = dict(self.sandbox.environ)

    @property
    def config(self) -> Path:
        return self.sandbox.home / ".aws" / "config"

    @property
    def credentials(self) -> Path:
        return self.sandbox.home / ".aws" / "credentials"

    @property
    def socket(self) -> Path:
        """The agent's socket."""
        return Path(socket_path(self.environ))

    def files(self) -> tuple[bytes | None, ...]:
        """Return both shared files."""
        return tuple(path.read_bytes() if path.exists() else None for path in (self.config, self.credentials))

    def run(
        self,
        *words: str,
        fds: Mapping[str, str] | None = None,
        extra: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Run any program, without a terminal.

        :param fds: options that take a file descriptor, with the text to read from it.
        :param extra: variables for this run.
        :param pass_fds: further descriptors that the program gets.
        """
        with readable(fds or {}) as (options, opened):
            return subprocess.run(
                [*words, *options],
                env={**self.environ, **(extra or {})},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                pass_fds=(*opened, *pass_fds),
                check=False,
            )

    def keyturn(
        self, *words: str, fds: Mapping[str, str] | None = None, extra: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `keyturn WORDS`."""
        return self.run(KEYTURN, *words, fds=fds, extra=extra)

    def does(self, *words: str, fds: Mapping[str, str] | None = None) -> str:
        """Run `keyturn WORDS`, which must succeed, and return its stdout."""
        done = self.keyturn(*words, fds=fds)
        assert done.returncode == 0, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def makes_vault(self) -> Secret:
        """Create the vault, leave it open in an agent, and return its recovery key. It is created without
        the work of scrypt, unless `KEYTURN` names another installation, which then creates it itself."""
        if "KEYTURN" in os.environ:
            recovery_key = self.creates_vault()
        else:
            recovery_key = weak_age.create_vault(self.environ, Secret(PASSPHRASE))
        self.does("vault", "unlock", fds={"--passphrase-fd": PASSPHRASE})
        return recovery_key

    def creates_vault(self) -> Secret:
        """Create the vault with the program itself, locked, and return its recovery key."""
        read, write = os.pipe()
        with os.fdopen(read) as shown:
            try:
                words = ("vault", "init", "--slot", "passphrase", "--recovery-out-fd", str(write))
                done = self.run(KEYTURN, *words, fds={"--passphrase-fd": PASSPHRASE}, pass_fds=(write,))
            finally:
                os.close(write)
            assert done.returncode == 0, done.stderr
            return Secret(shown.read().strip())

    def releases(self, *words: str) -> str:
        return self.does("release", *words, "--yes", fds={"--passphrase-fd": PASSPHRASE})

    def row(self, name: str) -> dict[str, Any]:
        """Return one profile of `list --json`."""
        rows = json.loads(self.does("list", "--json"))["profiles"]
        found: dict[str, Any] = next(row for row in rows if row["name"] == name)
        return found

    def aws_identity(self, profile: str) -> str:
        """Return the ARN that the real AWS CLI gets."""
        done = self.run(
            str(BIN / "aws"), "sts", "get-caller-identity", "--profile", profile, "--output", "json"
        )
        assert done.returncode == 0, (profile, done.stdout, done.stderr)
        return str(json.loads(done.stdout)["Arn"])

    def boto_identity(self, profile: str) -> str:
        """Return the ARN that boto3 gets."""
        code = (
            "import boto3, sys; "
            "print(boto3.Session(profile_name=sys.argv[1]).client('sts').get_caller_identity()['Arn'])"
        )
        done = self.run(sys.executable, "-c", code, profile)
        assert done.returncode == 0, (profile, done.stdout, done.stderr)
        return done.stdout.strip()

    def leaves(self) -> None:
        """Stop the agent."""
        self.keyturn("agent", "stop")


@contextmanager
def new_person(folder: Path) -> Iterator[Person]:
    """Yield a user with the seeded files and no vault, in a sandbox of their own. Their agent is stopped at
    the end.
    """
    with Sandbox(folder) as sandbox:
        person = Person(sandbox)
        try:
            yield person
        finally:
            person.leaves()
