"""A sandbox with a vault, put back as it was before each run, and the process that runs things in it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
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

from keyturn.keeper import Keeper
from keyturn.secret import Secret
from keyturn_sandbox import Sandbox
from tests.canaries.minted import minted
from tests.canaries.searching import Hit, Search
from tests.whole.person import Person

FORKSERVER = Path(__file__).with_name("forkserver.py")
PASSPHRASE = "bursting canary 8c51e07d"


@dataclass
class Said:
    """What a run left behind."""

    code: int | str
    stdout: str
    stderr: str
    moments: list[str]


@dataclass
class Bench:
    """One sandbox and its state at the beginning of each run."""

    sandbox: Sandbox
    made: list[Secret]
    recovery_key: str = field(repr=False, default="")
    search: Search = field(default_factory=Search)

    def __post_init__(self) -> None:
        self._out = Path(tempfile.mkdtemp(prefix="kt-"))
        self._kept = self._out / "kept"
        self._server = subprocess.Popen(
            [sys.executable, str(FORKSERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == "ready\n"

    def close(self) -> None:
        """Ends the process, and takes away what it wrote."""
        self._server.communicate()
        shutil.rmtree(self._out)

    @property
    def environ(self) -> dict[str, str]:
        return {**self.sandbox.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", "COLORTERM": "truecolor"}

    @property
    def _folders(self) -> tuple[Path, Path]:
        return self.sandbox.folder / "keyturn", self.sandbox.home / ".aws"

    def keep(self) -> None:
        """What is there now is what each run begins with."""
        shutil.rmtree(self._kept, ignore_errors=True)
        for folder in self._folders:
            shutil.copytree(folder, self._kept / folder.name, symlinks=True, ignore=_sockets)

    def put_back(self) -> None:
        """As it was."""
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(self._kept / folder.name, folder, symlinks=True)
        # A file that was just written is waited for, as another program may still be writing it.
        for path in self._folders[1].iterdir():
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 60))

    def run(
        self,
        act: str,
        words: Sequence[Any],
        *,
        at: int = -1,
        kind: str = "runtime",
        secrets: Sequence[str] = (),
        key: bool = True,
        extra: Mapping[str, str] | None = None,
    ) -> Said:
        """One run in a process of its own."""
        self.begin(act, words, at=at, kind=kind, secrets=secrets, key=key, extra=extra)
        return self.finished()

    def begin(
        self,
        act: str,
        words: Sequence[Any],
        *,
        at: int = -1,
        kind: str = "runtime",
        secrets: Sequence[str] = (),
        key: bool = True,
        terminal: str = "",
        extra: Mapping[str, str] | None = None,
    ) -> None:
        """Starts a run; :meth:`finished` waits for it."""
        for name in ("stdout", "stderr", "moments"):
            (self._out / name).unlink(missing_ok=True)
        task = {
            "act": act, "words": list(words), "environ": {**self.environ, **(extra or {})}, "at": at, "kind": kind,
            "secrets": list(secrets) or self.watched(), "recovery_key": self.recovery_key if key else "",
            "out": str(self._out), "terminal": terminal,
        }  # fmt: skip
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(task) + "\n")
        self._server.stdin.flush()

    def finished(self) -> Said:
        assert self._server.stdout is not None
        code = json.loads(self._server.stdout.readline())["code"]
        said, moments = [], self._out / "moments"
        for name in ("stdout", "stderr"):
            path = self._out / name
            said.append(path.read_text("utf-8", "replace") if path.exists() else "")
        return Said(code, said[0], said[1], json.loads(moments.read_text()) if moments.exists() else [])

    def watched(self) -> list[str]:
        """The long-lived secrets, the recovery key first."""
        user = self.sandbox.state.user("aws", "444455556666", "ci-deploy")
        assert user is not None
        return [self.recovery_key, PASSPHRASE, user.keys[0].secret.reveal()]

    def learn(self) -> None:
        """Takes up the secrets that the stand-in made meanwhile."""
        self.search.add("recovery key", self.recovery_key)
        self.search.add("passphrase", PASSPHRASE)
        for number, secret in enumerate(self.made):
            self.search.add(f"secret {number}", secret.reveal())

    def hits(self, said: Said, *, gives: bool) -> list[Hit]:
        """What is found in all that a run said and left."""
        self.learn()
        found = self.search.look("stderr", said.stderr.encode())
        if not gives:
            found += self.search.look("stdout", said.stdout.encode())
        return found + self.search.look_in_folder(self.sandbox.folder / "keyturn")

    def holds(self, secret: str) -> bool:
        """Whether a secret is in a shared file or in the vault, which must open."""
        files = Person(self.sandbox).files()
        if any(secret.encode() in (data or b"") for data in files):
            return True
        front = Keeper.from_environ(self.environ, use_agent=False)
        front.unlock_here(recovery_key=Secret(self.recovery_key))
        vault = front.desk.vault
        return any(secret in json.dumps(vault.key(name)) for name in vault.key_names())


def _sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if (Path(folder) / name).is_socket()]


@contextmanager
def bench(folder: Path) -> Iterator[Bench]:
    """A seeded sandbox with a vault whose recovery key opens it, nothing adopted yet."""
    with minted() as made, Sandbox(folder / "sandbox") as sandbox:
        one = Bench(sandbox, made)
        try:
            one.recovery_key = _founded(one)
            one.keep()
            yield one
        finally:
            one.close()


def _founded(one: Bench) -> str:
    front = Keeper.from_environ(one.environ, use_agent=False)
    key = front.new_vault("passphrase", Secret(PASSPHRASE))
    front.confirm_recovery_key()
    front.lock()
    return key.reveal()


def on_terminal(width: int = 100, height: int = 30) -> tuple[int, str]:
    """A terminal for the app: our end, and the name of the other."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    name = os.ttyname(theirs)
    os.set_inheritable(theirs, False)
    return ours, name
