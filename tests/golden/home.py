"""A home in a sandbox that nobody but the recording uses, and the running of programs in it.

Nothing of `keyturn` is imported: its modules may have other names in the checkout that is recorded.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

BIN = Path(sys.executable).parent
KEYTURN = str(BIN / "keyturn")
SECONDS = 90
PASSPHRASES = {
    "passphrase": "correct horse battery staple",
    "wrong": "not this vault's passphrase",
    "new": "another horse, another staple",
    "sealed": "the passphrase of an export",
    "short": "abc",
    "empty": "",
}
"""Secrets that a verb can read from a file descriptor, by the name that a recording shows."""

_EXTRA_CONFIG = """\

# --- what the seed has none of -----------------------------------------------
[profile denied]
role_arn = arn:aws:iam::444455556666:role/Admin
source_profile = ci-deploy

[profile loop-a]
role_arn = arn:aws:iam::444455556666:role/A
source_profile = loop-b

[profile loop-b]
role_arn = arn:aws:iam::444455556666:role/B
source_profile = loop-a

[profile asker]
role_arn = arn:aws:iam::444455556666:role/ReleaseManager
credential_source = Environment

[profile stale]
region = eu-west-1

[profile stale-role]
role_arn = arn:aws:iam::444455556666:role/ReleaseManager
source_profile = stale
"""
_EXTRA_CREDENTIALS = """\

[stale]
aws_access_key_id = AKIAIOSFODNN7EXAMPLE
aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY
"""


@dataclass(frozen=True, slots=True)
class Done:
    """A program that has ended."""

    code: int
    out: str
    err: str

    def table(self) -> Any:
        """Give what it printed as JSON, which the recording goes on by.

        :raises RuntimeError: it printed none.
        """
        try:
            return json.loads(self.out)
        except ValueError:
            raise RuntimeError(f"exit {self.code}: {self.err}") from None


class Home:
    """A running sandbox with its files, its clock and its programs; use it as a context manager."""

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="ktg-")).resolve()
        self.sandbox = self.folder / "s"
        self.said = self.folder / "said"
        self.said.mkdir(mode=0o700)
        for name, text in PASSPHRASES.items():
            self.say(name, text)
        self._agents: list[Mapping[str, str | None]] = [{}]
        self._stand_in = subprocess.Popen(
            [sys.executable, "-m", "keyturn_sandbox", "--home", str(self.sandbox)],
            cwd=self.folder,
            env=_plain_environ(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.environ = {**_plain_environ(), **self._joined()}
        self.environ["HOME"] = str(self.sandbox / "home")
        self.start = datetime.now(UTC).replace(microsecond=0)
        self._add(self.config, _EXTRA_CONFIG)
        self._add(self.credentials, _EXTRA_CREDENTIALS)
        self.minute = 0
        self.at(0)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for extra in self._agents:
                if (Path(extra.get("KEYTURN_HOME") or self.own) / "run" / "agent.sock").exists():
                    self.run("agent", "stop", extra=extra)
        finally:
            self._stand_in.send_signal(signal.SIGTERM)
            self._stand_in.wait(20)
            # An agent that is still about something when it ends may write a last file.
            for _attempt in range(3):
                shutil.rmtree(self.folder, ignore_errors=True)
                time.sleep(0.1)

    def _joined(self) -> dict[str, str]:
        """Read the variables that the stand-in prints once it answers."""
        found: dict[str, str] = {}
        assert self._stand_in.stdout is not None
        for line in self._stand_in.stdout:
            if line.startswith("#"):
                return found
            name, sign, value = line.rstrip("\n").partition("=")
            if not sign:
                break
            found[name] = value
        raise RuntimeError("the sandbox did not start")

    @staticmethod
    def _add(path: Path, text: str) -> None:
        path.write_text(path.read_text("utf-8") + text, "utf-8")

    @property
    def own(self) -> Path:
        """The folder of all files of keyturn's own."""
        return self.sandbox / "keyturn"

    @property
    def config(self) -> Path:
        return self.sandbox / "home" / ".aws" / "config"

    @property
    def credentials(self) -> Path:
        return self.sandbox / "home" / ".aws" / "credentials"

    def say(self, name: str, text: str) -> None:
        """Let programs read `text` from a descriptor, by `name`."""
        path = self.said / name
        path.write_text(f"{text}\n" if text else "", "utf-8")
        path.chmod(0o600)

    # -- the clock

    def at(self, minute: int, second: int = 0) -> None:
        """Set the sandbox's clock to `minute` and `second` after the start, so that what is told of time is
        the same at each run. AWS judges signatures by the real time."""
        self.minute = minute
        moment = self.start + timedelta(minutes=minute, seconds=second)
        offset = (moment - datetime.now(UTC)).total_seconds()
        beside = self.sandbox / f".clock-{threading.get_ident()}"
        beside.write_text(f"{offset!r}\n", "ascii")
        beside.chmod(0o600)
        beside.replace(self.sandbox / "clock-offset")

    def wait_for_next_minute(self) -> None:
        """Go to the beginning of the next minute: every change has one of its own."""
        self.at(self.minute + 1)

    def wait_for_mid_minute(self) -> None:
        """Go to the middle of the same minute, far from where any countdown turns."""
        self.at(self.minute, 30)

    # -- programs

    def run(
        self,
        *words: str,
        fds: Mapping[int, str] | None = None,
        out_fds: Mapping[int, Path] | None = None,
        extra: Mapping[str, str | None] | None = None,
        program: Sequence[str] = (KEYTURN,),
        cwd: Path | None = None,
    ) -> Done:
        """Run `keyturn WORDS`, or another program, without a terminal.

        :param fds: by the number of a descriptor, the name of what is read from it.
        :param out_fds: by the number of a descriptor, the file that it writes.
        :param extra: variables over the sandbox's own; None takes one away.
        """
        environ = dict(self.environ)
        for name, value in (extra or {}).items():
            environ.pop(name, None)
            if value is not None:
                environ[name] = value
        # A shell opens them, so that their numbers are the same each time.
        opened = [(f'{number}<"$0/{name}"') for number, name in sorted((fds or {}).items())]
        opened += [(f'{number}>"{path}"') for number, path in sorted((out_fds or {}).items())]
        command = [*program, *words]
        if opened:
            command = ["/bin/sh", "-c", f'exec "$@" {" ".join(opened)}', str(self.said), *command]
        done = subprocess.run(
            command,
            cwd=cwd or self.folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
        return Done(
            done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        )

    def tool(self, *words: str) -> str:
        """Run `python -m keyturn_sandbox WORDS`, which must succeed; give what it prints."""
        done = self.run(*words, program=(sys.executable, "-m", "keyturn_sandbox"))
        if done.code:
            raise RuntimeError(f"keyturn_sandbox {words}: {done.err}")
        return done.out.strip()

    def fault(self, action: str, kind: str, times: int = 1) -> None:
        """Order a bad day."""
        self.tool("fault", action, kind, "--times", str(times))

    def twin(self, name: str) -> dict[str, str | None]:
        """Copy keyturn's own files and the shared ones; give the variables by which a program works on the
        copy."""
        aws = self.sandbox / f"{name}-aws"
        shutil.copytree(self.own, self.sandbox / name, ignore=shutil.ignore_patterns("*.sock", "agent.lock"))
        aws.mkdir(mode=0o700)
        for path in (self.config, self.credentials):
            shutil.copy2(path, aws / path.name)
        extra: dict[str, str | None] = {
            "KEYTURN_HOME": str(self.sandbox / name),
            "AWS_CONFIG_FILE": str(aws / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(aws / "credentials"),
        }
        self._agents.append(extra)
        return extra

    def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + SECONDS
        while not is_so():
            if time.monotonic() > deadline:
                raise RuntimeError("what was waited for did not come about")
            time.sleep(0.05)

    def literals(self) -> dict[str, str]:
        """Collect the texts of this machine and this run, with the names that stand for them."""
        checkout = self.run(
            "-c",
            "import os, keyturn; print(os.path.dirname(os.path.dirname(os.path.dirname(keyturn.__file__))))",
            program=(sys.executable,),
        ).out.strip()
        return {
            str(self.sandbox): "SANDBOX",
            str(self.folder): "FOLDER",
            str(BIN): "BIN",
            str(BIN.parent): "VENV",
            checkout: "CHECKOUT",
        }


def _plain_environ() -> dict[str, str]:
    """Make an environment that is the same on every machine, but for where the programs lie."""
    return {
        "PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TERM": "dumb",
        "COLUMNS": "100",
        "TZ": "UTC",
        "SHELL": "/bin/sh",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent",
        "KEYTURN_FORWARDED": "/nonexistent/forwarded.sock",
        "TMPDIR": os.environ.get("TMPDIR", "/tmp"),  # noqa: S108  # the standard's own default
    }
