"""Two ordinary users on one machine; the first has a vault, files and an agent."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from keyturn.model.secret import Secret
from tests.adversarial.process_isolation.ordinary import (
    ALICE,
    BOB,
    Installation,
    User,
    common_python,
    install,
)
from tests.core.vault import weak_age
from tests.support.needs import skip_or_fail

PASSPHRASE = "isolated canary 5fe81b0c"
CREDENTIALS = (
    "[work]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = "
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n"
)
Record = Callable[[str, object], None]


@pytest.fixture(scope="module", autouse=True)
def default_signals() -> Iterator[None]:
    """Reset signal handlers as in a user's shell, because ignored signals of the test runner would be
    inherited."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGQUIT, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def shared_folder() -> Iterator[Path]:
    """Return a folder that everybody may enter, with a path short enough for a socket."""
    # Not in a temporary folder, from which adopt refuses to install a process line.
    folder = Path(tempfile.mkdtemp(prefix="kt-", dir="/opt" if os.geteuid() == 0 else None))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def installation(shared_folder: Path) -> Installation:
    if os.geteuid() != 0:
        skip_or_fail("only root can be two users")
    python = common_python()
    if python is None:
        skip_or_fail("no Python of this version that an ordinary user can run")
    return install(shared_folder / "keyturn", python)


@dataclass
class Owner:
    """A user with an open vault."""

    user: User
    recovery_key: str
    agent: int

    def still_answers(self) -> bool:
        """Return True if the agent still answers."""
        result = self.user.keyturn("agent", "status", "--json")
        return f'"pid": {self.agent}' in result.stdout

    def lock(self) -> None:
        result = self.user.keyturn("vault", "lock")
        assert result.returncode == 0, result.stderr

    def unlock(self) -> None:
        result = self.user.keyturn("vault", "unlock", fds={"--passphrase-fd": PASSPHRASE})
        assert result.returncode == 0, result.stderr
        self.agent = agent_of(self.user)


def agent_of(user: User) -> int:
    import json

    return int(json.loads(user.keyturn("agent", "status", "--json").stdout)["pid"])


def create_vault(user: User) -> str:
    """Give the user a vault that is open in an agent, and return its recovery key.

    It is made by this process, and opens in a third of a second, in a folder that becomes the user's.
    """
    user.write_file(user.home / ".aws" / "credentials", CREDENTIALS)
    with tempfile.TemporaryDirectory(dir=user.home.parent) as folder:
        key = weak_age.create_vault({**user.environ, "HOME": folder}, Secret(PASSPHRASE), factor=17)
        shutil.copytree(folder, user.home, dirs_exist_ok=True)
    for name in (path for path in user.home.rglob("*") if path.lstat().st_uid == 0):
        os.chown(name, user.uid, user.uid, follow_symlinks=False)
    user.home.chmod(0o755)
    result = user.keyturn("vault", "unlock", fds={"--passphrase-fd": PASSPHRASE})
    assert result.returncode == 0, result.stderr
    return key.reveal()


@pytest.fixture(scope="module")
def owner(installation: Installation, shared_folder: Path) -> Iterator[Owner]:
    """Return Alice, whose agent holds her vault open."""
    alice = User(ALICE, installation, shared_folder / "alice")
    key = create_vault(alice)
    yield Owner(alice, key, agent_of(alice))
    alice.keyturn("agent", "stop")


@pytest.fixture(scope="module")
def other_user(installation: Installation, shared_folder: Path) -> User:
    """Return Bob."""
    return User(BOB, installation, shared_folder / "bob")
