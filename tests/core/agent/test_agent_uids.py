"""Other users get nothing from the agent, and other processes of the same user cannot inspect it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import keyturn
from keyturn.agent import rpc_client
from keyturn.model.errors import AgentUnavailable

if TYPE_CHECKING:
    from tests.core.agent.conftest import Miss, Serve

ORDINARY = 65534
REQUEST_SCRIPT = """
import json, socket, sys
sock = socket.socket(socket.AF_UNIX)
sock.settimeout(10)
try:
    sock.connect(sys.argv[1])
    sock.sendall(b'{"v":1,"op":"credential-process","profile":"prod"}\\n')
    answer = sock.recv(65536)
except OSError as error:
    answer = b""
print(json.dumps(answer.decode()))
"""
INSPECT_SCRIPT = """
import os, sys
seen = []
for name in ("environ", "mem", "maps", "fd"):
    path = f"/proc/{sys.argv[1]}/{name}"
    try:
        os.listdir(path) if name == "fd" else open(path, "rb").read(1)
        seen.append(name)
    except OSError:
        pass
print(" ".join(seen))
"""


class OrdinaryUser:
    """An ordinary user with a reachable Python and copy of keyturn."""

    def __init__(self, folder: Path, python: str, prefix: list[str]) -> None:
        self.folder = folder
        self.python = python
        self.prefix = prefix
        self.home = folder / "home"
        self.environ = {"HOME": str(self.home), "KEYTURN_HOME": str(self.home), "PATH": os.defpath}

    def run(self, *words: str) -> str:
        done = subprocess.run(
            [*self.prefix, self.python, *words],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
            cwd="/",
        )
        return done.stdout

    def start_agent(self) -> int:
        command = (self.python, "-I", str(self.folder / "fake_agent.py"))
        self.run(
            "-I", "-c",
            f"{self._reach()} import os; from keyturn.agent import launcher; from keyturn.storage.paths "
            f"import paths_for;"
            f"launcher.start_agent(paths_for(os.environ), os.environ, command={command!r})",
        )  # fmt: skip
        status = self.run(
            "-I", "-c", f"{self._reach()} print(json.dumps(rpc_client.call(path, {{'op': 'status'}})))"
        )
        return int(json.loads(status)["pid"])

    def stop_agent(self) -> None:
        self.run("-I", "-c", f"{self._reach()} shutdown.lock(path)")

    @property
    def socket(self) -> Path:
        return self.home / "run" / "agent.sock"

    def _reach(self) -> str:
        return (
            f"import sys, json; sys.path.insert(0, {str(self.folder)!r}); from keyturn.agent import "
            f"rpc_client, shutdown;"
            f"from pathlib import Path; path = Path({str(self.socket)!r});"
        )


def ordinary_python() -> str | None:
    """Return a Python, 3.11 or later, that an ordinary user can run."""
    # A Python that only its starter may enter runs once: a child started by the same path is refused.
    twice = (
        "import subprocess, sys; sys.exit(sys.version_info < (3, 11) or "
        "subprocess.call([sys.executable, '-V']))"
    )
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        check = [*run_as_ordinary(), python, "-I", "-c", twice]
        try:
            if subprocess.run(check, capture_output=True, check=False, cwd="/").returncode == 0:
                return python
        except OSError:
            continue
    return None


def run_as_ordinary() -> list[str]:
    if os.geteuid() != 0:
        return []
    return ["setpriv", f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups"]


@pytest.fixture
def person(miss: Miss) -> Iterator[OrdinaryUser]:
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        miss("setpriv is not installed")
    python = ordinary_python()
    if python is None:
        miss("no Python 3.11 that an ordinary user can run")
    assert python is not None
    folder = Path(tempfile.mkdtemp(prefix="kt-"))
    folder.chmod(0o755)
    shutil.copytree(
        Path(keyturn.__file__).parent, folder / "keyturn", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(Path(__file__).with_name("fake_agent.py"), folder)
    user = OrdinaryUser(folder, python, run_as_ordinary())
    user.home.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(user.home, ORDINARY, ORDINARY)
    yield user
    shutil.rmtree(folder)


@pytest.fixture
def agent_of_person(person: OrdinaryUser) -> Iterator[int]:
    yield person.start_agent()
    person.stop_agent()


def test_the_same_user_cannot_look_into_the_agent(person: OrdinaryUser, agent_of_person: int) -> None:
    assert person.run("-I", "-c", INSPECT_SCRIPT, str(agent_of_person)).split() == []


def test_the_same_user_can_look_into_a_process_that_is_not_closed(person: OrdinaryUser) -> None:
    open_one = subprocess.Popen(
        [*person.prefix, person.python, "-I", "-c", "print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=person.environ,
    )
    with open_one:
        assert open_one.stdout is not None
        open_one.stdout.readline()
        assert "environ" in person.run("-I", "-c", INSPECT_SCRIPT, str(open_one.pid)).split()
        open_one.communicate(b"\n")


def test_its_own_user_is_answered(person: OrdinaryUser, agent_of_person: int) -> None:
    assert agent_of_person
    assert "AccessKeyId" in person.run("-I", "-c", REQUEST_SCRIPT, str(person.socket))


def needs_two_users(miss: Miss) -> None:
    if os.geteuid() != 0:
        miss("only root can be two users")


def test_root_is_another_user_too(person: OrdinaryUser, agent_of_person: int, miss: Miss) -> None:
    needs_two_users(miss)
    assert agent_of_person
    done = subprocess.run(
        [sys.executable, "-I", "-c", REQUEST_SCRIPT, str(person.socket)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == ""


def test_a_client_sends_nothing_to_the_agent_of_somebody_else(
    person: OrdinaryUser, agent_of_person: int, miss: Miss
) -> None:
    needs_two_users(miss)
    assert agent_of_person
    with pytest.raises(AgentUnavailable):
        rpc_client.document(person.socket, "prod")


def test_another_user_does_not_reach_the_socket(serve: Serve, person: OrdinaryUser, miss: Miss) -> None:
    needs_two_users(miss)
    agent = serve()
    assert json.loads(person.run("-I", "-c", REQUEST_SCRIPT, str(agent.path))) == ""


def test_another_user_who_reaches_the_socket_gets_nothing(
    serve: Serve, folder: Path, person: OrdinaryUser, miss: Miss
) -> None:
    needs_two_users(miss)
    agent = serve()
    for path, mode in ((folder, 0o755), (agent.path.parent, 0o755), (agent.path, 0o666)):
        path.chmod(mode)
    assert json.loads(person.run("-I", "-c", REQUEST_SCRIPT, str(agent.path))) == ""
    assert agent.service.calls == []
