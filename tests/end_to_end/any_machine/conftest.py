"""Real accounts of this machine, with homes of their own and a keyturn that everybody may run."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from keyturn_sandbox import Sandbox
from tests.adversarial.process_isolation.ordinary import common_python, install
from tests.end_to_end.person import PASSPHRASE
from tests.support.needs import needs

SECONDS = 60
_VARIABLES = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_IAM", "AWS_EC2_METADATA_DISABLED")


@dataclass
class Account:
    """An account with a home. Programs run as it with nothing but the given environment."""

    name: str
    uid: int
    home: Path
    keyturn_program: str
    sandbox: Sandbox

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a login shell, and the endpoints of the sandbox in place of AWS's."""
        return {
            "HOME": str(self.home), "USER": self.name, "LOGNAME": self.name, "PATH": os.defpath,
            "LANG": "C.UTF-8", **self.endpoints,
        }  # fmt: skip

    @property
    def endpoints(self) -> dict[str, str]:
        return {name: self.sandbox.environ[name] for name in _VARIABLES}

    def run(
        self,
        *words: str,
        environ: Mapping[str, str] | None = None,
        umask: int = 0o022,
        uid: int | None = None,
        fds: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as this account.

        :param environ: its whole environment.
        :param uid: another user, who has this environment.
        :param fds: options that take a file descriptor, with the text to read from it.
        :param prefix: a command that runs the program, as root.
        """
        opened: list[int] = []
        options: list[str] = []
        for option, text in (fds or {}).items():
            read, write = os.pipe()
            os.write(write, text.encode() + b"\n")
            os.close(write)
            opened.append(read)
            options += [option, str(read)]
        uid = self.uid if uid is None else uid
        become = (
            ()
            if uid == 0
            else (needs("setpriv"), f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--inh-caps=-all")
        )
        try:
            return subprocess.run(
                [*prefix, *become, *words, *options],
                env=self.environ if environ is None else dict(environ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                pass_fds=opened,
                check=False,
                cwd="/",
                umask=umask,
            )
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def keyturn(
        self,
        *words: str,
        environ: Mapping[str, str] | None = None,
        umask: int = 0o022,
        uid: int | None = None,
        fds: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Run `keyturn WORDS` as this account; see :meth:`run`."""
        program = self.keyturn_program
        return self.run(program, *words, environ=environ, umask=umask, uid=uid, fds=fds, prefix=prefix)

    def makes_vault(self, **how: object) -> None:
        """Create the vault, open in an agent."""
        words = ("vault", "init", "--slot", "passphrase")
        done = self.keyturn(*words, fds={"--passphrase-fd": PASSPHRASE}, **how)  # type: ignore[arg-type]  # as given
        assert done.returncode == 0, done.stderr

    @property
    def aws_folder(self) -> Path:
        return self.home / ".aws"

    def shared_files(self) -> tuple[bytes, bytes]:
        """Return the contents of both shared files."""
        return tuple((self.aws_folder / name).read_bytes() for name in ("config", "credentials"))  # type: ignore[return-value]  # of two

    def tree(self) -> dict[str, tuple[int, int]]:
        """Return owner and mode of everything in the home."""
        found = {}
        for path in (self.home, *self.home.rglob("*")):
            status = path.lstat()
            found[str(path.relative_to(self.home))] = (status.st_uid, status.st_mode)
        return found


@pytest.fixture(scope="session")
def public_keyturn() -> Iterator[str]:
    """Return a keyturn that everybody may run, in a permanent folder: a copy of this one, or what `KEYTURN`
    names."""
    if "KEYTURN" in os.environ:
        yield os.environ["KEYTURN"]
        return
    if os.geteuid() != 0:
        _skip_or_fail("only root can create accounts")
    python = common_python()
    if python is None:
        _skip_or_fail("no Python of this version that an ordinary user can run")
    folder = Path(tempfile.mkdtemp(prefix="keyturn-test-", dir="/opt"))
    folder.chmod(0o755)
    yield install(folder / "keyturn", python or "").keyturn
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def account(public_keyturn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """Return an account as Debian and Fedora create it, with a private group, and the seeded shared files."""
    with Sandbox(tmp_path_factory.mktemp("aws")) as sandbox, _account(public_keyturn, sandbox) as created:
        yield created


@pytest.fixture
def other_account(public_keyturn: str, account: Account) -> Iterator[Account]:
    """Return a second account."""
    with _account(public_keyturn, account.sandbox) as created:
        yield created


class _account:  # noqa: N801  # a context manager
    """Creates an account, and removes it with its home and processes."""

    def __init__(self, program: str, sandbox: Sandbox) -> None:
        self.program, self.sandbox = program, sandbox

    def __enter__(self) -> Account:
        if os.geteuid() != 0:
            _skip_or_fail("only root can create accounts")
        self.name = f"kt{os.getpid()}-{id(self) % 100_000}"
        home = Path("/home") / self.name
        subprocess.run(
            [needs("useradd"), "--create-home", "--user-group", "--home-dir", home, self.name],
            check=True,
            capture_output=True,
        )
        uid = home.stat().st_uid
        shutil.copytree(self.sandbox.home / ".aws", home / ".aws")
        for path in (home / ".aws", *(home / ".aws").rglob("*")):
            os.chown(path, uid, uid)
        return Account(self.name, uid, home, self.program, self.sandbox)

    def __exit__(self, *_: object) -> None:
        subprocess.run([needs("pkill"), "-KILL", "-u", self.name], check=False, capture_output=True)
        subprocess.run([needs("userdel"), "--remove", self.name], check=False, capture_output=True)


def _skip_or_fail(reason: str) -> None:
    if os.environ.get("KEYTURN_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
