"""A sandbox with a vault, restored before each run, and the process that executes the runs."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from keyturn.agent import shutdown
from keyturn.model.profile import VaultState
from keyturn.model.secret import Secret
from keyturn.service import CredentialService
from keyturn.storage.raw_paths import socket_path
from keyturn.vault import passphrase
from keyturn_sandbox import Sandbox
from tests.adversarial.secret_leaks.canary_secrets import record_secrets
from tests.adversarial.secret_leaks.exception_bursts import Moment
from tests.adversarial.secret_leaks.secret_search import Hit, Search
from tests.core.vault import weak_age
from tests.end_to_end.person import Person

FORKSERVER = Path(__file__).with_name("forkserver.py")
PASSPHRASE = "bursting canary 8c51e07d"
NEW_PASSPHRASE = "fb0c9a61 canary of the export"
USERS = (("444455556666", "ci-deploy"), ("111122223333", "alice"))


@dataclass(frozen=True)
class Task:
    """The operation of one run."""

    target: str
    """`verb`, `agent` or `app`."""
    words: Sequence[Any]
    reads: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Options that take a descriptor to read from, with the text to read there."""
    writes: Sequence[str] = ()
    """Options that take a descriptor to write to."""
    has_agent: bool = False
    """True if an agent can be started."""


@dataclass
class RunOutput:
    """The output of a run."""

    code: int | str
    stdout: str
    stderr: str
    moments: list[Moment]
    raised: bool
    """True if the moment of the exception was reached."""


@dataclass
class Bench:
    """One sandbox with the states that runs begin with."""

    sandbox: Sandbox
    secrets: list[Secret]
    keys: tuple[str, ...] = field(repr=False, default=())
    """Long-term secrets that must never be lost."""
    recovery_key: str = field(repr=False, default="")
    search: Search = field(default_factory=Search)

    def __post_init__(self) -> None:
        self.out = Path(tempfile.mkdtemp(prefix="kt-"))
        self._server = subprocess.Popen(
            [sys.executable, str(FORKSERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == "ready\n"

    def close(self) -> None:
        """End the process and remove the files that it wrote."""
        self._server.communicate()
        shutil.rmtree(self.out)

    @property
    def environ(self) -> dict[str, str]:
        return {**self.sandbox.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", "COLORTERM": "truecolor"}

    @property
    def _folders(self) -> tuple[Path, Path]:
        return self.sandbox.folder / "keyturn", self.sandbox.home / ".aws"

    def save_beginning(self, beginning: str) -> None:
        """Save the current state as a beginning."""
        for folder in self._folders:
            saved = self.out / beginning / folder.name
            if folder.exists():
                shutil.copytree(folder, saved, symlinks=True, ignore=_sockets)
            else:
                saved.mkdir(parents=True)

    def restore_beginning(self, beginning: str) -> None:
        """Restore a saved beginning."""
        shutdown.lock(Path(socket_path(self.environ)))
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(self.out / beginning / folder.name, folder, symlinks=True)
        # An old time of change, because keyturn waits for a recently changed file: another program may still
        # be writing it.
        for path in self._folders[1].iterdir():
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 60))

    def run(
        self, task: Task, moment: Moment | str = "", kind: str = "runtime", secrets: Sequence[str] = ()
    ) -> RunOutput:
        """Run a task in a process of its own."""
        self.begin(task, moment, kind, secrets)
        return self.finished()

    def begin(
        self,
        task: Task,
        moment: Moment | str = "",
        kind: str = "runtime",
        secrets: Sequence[str] = (),
        terminal: str = "",
    ) -> None:
        """Start a run; :meth:`finished` waits for it.

        :param moment: where to raise; `record` to record all moments.
        """
        for name in ("stdout", "stderr", "moments", "raised", "written", "export.age"):
            (self.out / name).unlink(missing_ok=True)
        task_line = {
            "act": task.target, "words": list(task.words), "environ": self.environ, "moment": moment,
            "kind": kind,
            "secrets": list(secrets) or [self.recovery_key, PASSPHRASE, NEW_PASSPHRASE, *self.keys],
            "reads": dict(task.reads), "writes": dict.fromkeys(task.writes, str(self.out / "written")),
            "has_agent": task.has_agent, "out": str(self.out), "terminal": terminal,
        }  # fmt: skip
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(task_line) + "\n")
        self._server.stdin.flush()

    @property
    def is_raised(self) -> bool:
        """Return True if the exception of this run has been raised."""
        return (self.out / "raised").exists()

    @property
    def is_over(self) -> bool:
        """Return True if :meth:`finished` need not wait."""
        assert self._server.stdout is not None
        return bool(select.select([self._server.stdout], [], [], 0)[0])

    def finished(self) -> RunOutput:
        assert self._server.stdout is not None
        code = json.loads(self._server.stdout.readline())["code"]
        output, moments = [], self.out / "moments"
        for name in ("stdout", "stderr"):
            path = self.out / name
            output.append(path.read_text("utf-8", "replace") if path.exists() else "")
        recorded_moments = (
            [Moment(*one) for one in json.loads(moments.read_text())] if moments.exists() else []
        )
        return RunOutput(code, output[0], output[1], recorded_moments, self.is_raised)

    def add_made_secrets(self) -> None:
        """Add the secrets that the stand-in has made since."""
        self.search.add("recovery key", self.recovery_key)
        self.search.add("passphrase", PASSPHRASE)
        self.search.add("new passphrase", NEW_PASSPHRASE)
        for number, secret in enumerate(self.secrets):
            self.search.add(f"secret {number}", secret.reveal())

    def hits(self, output: RunOutput, *, gives: bool) -> list[Hit]:
        """Return the hits in all output and files of a run.

        :param gives: True if its stdout is meant to hold a secret.
        """
        self.add_made_secrets()
        hits = self.search.search("stderr", output.stderr.encode())
        if not gives:
            hits += self.search.search("stdout", output.stdout.encode())
        return hits + self.leftover_hits()

    def leftover_hits(self) -> list[Hit]:
        """Return the hits in keyturn's own files."""
        return self.search.search_folder(self.sandbox.folder / "keyturn")

    def lost_keys(self) -> list[str]:
        """Return the long-term secrets that are neither in a shared file nor in the vault. The vault, if
        there is one, must open, also by the passphrase."""
        files = Person(self.sandbox).files()
        missing = [key for key in self.keys if not any(key.encode() in (data or b"") for data in files)]
        service = CredentialService.from_environ(self.environ, use_agent=False)
        if service.context.vault.state() is not VaultState.ABSENT:
            service.unlock_here(passphrase=Secret(PASSPHRASE))
            saved = json.dumps(
                [service.context.vault.key(name) for name in service.context.vault.key_names()]
            )
            missing = [key for key in missing if key not in saved]
        return [f"long-term key {self.keys.index(key)} is lost" for key in missing]


def _sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if (Path(folder) / name).is_socket()]


@contextmanager
def bench(folder: Path) -> Iterator[Bench]:
    """Return a seeded sandbox with three beginnings: `bare`, without a vault; `founded`, with a vault and
    nothing adopted; `adopted`, with two keys and their dependents in the vault."""
    with record_secrets() as secrets, Sandbox(folder / "sandbox") as sandbox:
        users = [sandbox.state.user("aws", *new_bench) for new_bench in USERS]
        new_bench = Bench(sandbox, secrets, tuple(user.keys[0].secret.reveal() for user in users if user))
        try:
            new_bench.save_beginning("bare")
            new_bench.recovery_key = _create_vault(new_bench)
            new_bench.save_beginning("founded")
            words = ("adopt", "ci-deploy", "acme-alice", "--yes")
            output = new_bench.run(Task("verb", words, {"--recovery-key-fd": new_bench.recovery_key}))
            assert output.code == 0, output.stderr
            new_bench.save_beginning("adopted")
            yield new_bench
        finally:
            new_bench.close()


def _create_vault(target_bench: Bench) -> str:
    service = CredentialService.from_environ(target_bench.environ, use_agent=False)
    with mock.patch.object(passphrase, "seal", weak_age.seal):
        key = service.create_vault("passphrase", Secret(PASSPHRASE))
    service.confirm_recovery_key()
    service.lock()
    return key.reveal()


def on_terminal(width: int = 100, height: int = 30) -> tuple[int, str]:
    """Open a terminal for the app and return our end and the name of the other."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    name = os.ttyname(theirs)
    os.set_inheritable(theirs, False)
    return ours, name
