"""The local agent used from another machine, over a real OpenSSH server and with the lines that keyturn
prints."""

from __future__ import annotations

import getpass
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyturn.storage.paths import paths_for
from keyturn.storage.raw_paths import forward_path
from tests.end_to_end.conftest import person
from tests.end_to_end.person import BIN, Person
from tests.end_to_end.ssh_line import SshServer
from tests.support.campaign import campaign
from tests.support.needs import needs

__all__ = ["person"]
SECONDS = 60.0
RELEASE = "arn:aws:sts::444455556666:assumed-role/ReleaseManager/ci-release"
IDENTITY_SCRIPT = "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])"


class RemoteHost:
    """Remote host: its own home behind an ssh connection, with keyturn and nothing else in it."""

    def __init__(self, line: SshServer, person: Person, folder: Path) -> None:
        self.socket = folder / "forwarded.sock"
        self.home = folder / "home"
        self.home.mkdir()
        self._config = folder / "ssh_config"
        printed = person.does("agent", "ssh-config", "far", "--at", str(self.socket))
        self._config.write_text(f"{printed}    HostName 127.0.0.1\n    User {getpass.getuser()}\n")
        self._line = line
        endpoints = {
            key: value for key, value in person.environ.items() if key.startswith("AWS_ENDPOINT_URL")
        }
        self.environ = {
            "HOME": str(self.home),
            "KEYTURN_HOME": str(self.home / "keyturn"),
            "KEYTURN_FORWARDED": str(self.socket),
            "PATH": f"{BIN}:/usr/bin:/bin",
            "AWS_REGION": "eu-west-1",
            "AWS_DEFAULT_REGION": "eu-west-1",
            **endpoints,
        }
        self._ssh = [needs("ssh"), "-F", str(self._config), *line.options()]

    def login(self) -> subprocess.Popen[bytes]:
        """Connect and keep the connection until it is ended."""
        opened = subprocess.Popen(
            [*self._ssh, "-o", "ExitOnForwardFailure=yes", "-N", "far"], stderr=subprocess.PIPE
        )
        end = time.monotonic() + SECONDS
        while not self.socket.exists():
            assert opened.poll() is None, opened.stderr.read() if opened.stderr else ""
            assert time.monotonic() < end
            time.sleep(0.02)
        return opened

    def run(self, *words: str, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the remote host, with a login that forwards nothing."""
        named = " ".join(f"{key}={shlex.quote(value)}" for key, value in {**self.environ, **extra}.items())
        command = f"exec env -i {named} {shlex.join(words)} </dev/null"
        login = [*self._ssh, "-o", "ClearAllForwardings=yes", "-q", "far", command]
        return subprocess.run(login, capture_output=True, text=True, check=False, timeout=SECONDS)

    def keyturn(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run(str(BIN / "keyturn"), *words)


@pytest.fixture(scope="module")
def local(person: Person) -> Person:
    """The local user, with profiles of several kinds, some of them forwarded."""
    person.does("adopt", "ci-deploy", "acme-alice", "--yes")
    person.does("adopt", "personal", "--session-none", "--yes")
    named = ["ci-release", "ci-deploy", "personal", "prod-admin", "nothing-like-it"]
    paths_for(person.environ).config_file.write_text(f"forward = {json.dumps(named)}\n")
    paths_for(person.environ).config_file.chmod(0o600)
    return person


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    needs("sshd")
    ssh_server = SshServer(tmp_path_factory.mktemp("line"))
    yield ssh_server
    ssh_server.end()


@pytest.fixture
def remote(server: SshServer, local: Person, tmp_path: Path) -> Iterator[RemoteHost]:
    """The remote host while a connection is up."""
    host = RemoteHost(server, local, tmp_path)
    login = host.login()
    try:
        yield host
    finally:
        login.terminate()
        login.communicate()


def test_a_program_at_the_remote_host_signs_with_what_is_forwarded(remote: RemoteHost) -> None:
    done = remote.keyturn("exec", "ci-release", "--", sys.executable, "-c", IDENTITY_SCRIPT)
    assert done.stdout.strip() == RELEASE, done.stderr
    assert remote.keyturn("env", "ci-release", "--shell", "json").returncode == 0
    assert list(remote.home.rglob("*vault*")) == []


def test_an_endpoint_at_the_remote_host_is_fed_by_the_line(remote: RemoteHost) -> None:
    done = remote.keyturn("exec", "ci-release", "--endpoint", "--", sys.executable, "-c", IDENTITY_SCRIPT)
    assert done.stdout.strip() == RELEASE, done.stderr


def test_an_aws_client_at_the_remote_host_asks_by_credential_process(
    remote: RemoteHost, local: Person
) -> None:
    done = remote.keyturn("credential-process", "ci-release")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["SessionToken"]
    assert document == json.loads(local.does("credential-process", "ci-release")), "one session for both"
    config = remote.home / "config"
    config.write_text(
        f"[profile there]\nregion = eu-west-1\ncredential_process = {BIN / 'keyturn'} "
        "credential-process ci-release\n"
    )
    command = [str(BIN / "aws"), "sts", "get-caller-identity", "--profile", "there"]
    done = remote.run(*command, AWS_CONFIG_FILE=str(config))
    assert json.loads(done.stdout)["Arn"] == RELEASE


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("no-such-profile", 3, "it is not forwarded to this machine"),
        ("personal", 5, "it delivers its long-term key, which must not leave the forwarding machine"),
        *campaign(
            ("ci-audit", 3, "it is not forwarded to this machine"),
            ("nothing-like-it", 3, "Profile not found: nothing-like-it"),
            ("prod-admin", 4, "On the machine that forwards it, run: keyturn refresh prod-admin"),
        ),
    ],
)
def test_what_is_refused_is_one_line_and_no_question(
    remote: RemoteHost, name: str, code: int, reason: str
) -> None:
    for words in (("credential-process", name), ("exec", name, "--", "env"), ("env", name, "--shell", "sh")):
        done = remote.keyturn(*words)
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        assert reason in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.campaign
def test_min_left_holds_over_the_line(remote: RemoteHost) -> None:
    left = remote.keyturn("exec", "ci-release", "--min-left", "30m", "--", "true")
    assert left.returncode == 0, left.stderr
    assert remote.keyturn("exec", "ci-release", "--min-left", "30h", "--", "true").returncode == 2


@pytest.mark.campaign
def test_a_line_that_dropped_is_no_obstacle_after_keyturn_ran(
    server: SshServer, local: Person, tmp_path: Path
) -> None:
    far = RemoteHost(server, local, tmp_path)
    login = far.login()
    login.kill()
    login.communicate()
    end = time.monotonic() + SECONDS
    while (done := far.keyturn("credential-process", "ci-release")).returncode == 0:
        assert time.monotonic() < end
        time.sleep(0.1)
    assert "nothing listens on the forwarded socket" in done.stderr
    while far.socket.exists():  # a new socket may be about to listen
        assert time.monotonic() < end
        far.keyturn("credential-process", "ci-release")
        time.sleep(0.5)
    again = far.login()
    try:
        assert far.keyturn("credential-process", "ci-release").returncode == 0
    finally:
        again.terminate()
        again.communicate()


def test_the_default_path_is_what_the_remote_host_looks_at(local: Person, tmp_path: Path) -> None:
    config = tmp_path / "ssh_config"
    config.write_text(local.does("agent", "ssh-config", "box*"))
    shown = subprocess.run(
        [needs("ssh"), "-F", str(config), "-G", "-l", getpass.getuser(), "box1"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    bare = {"HOME": str(tmp_path)}
    far = paths_for(bare).forwarded
    assert f"remoteforward {far} {forward_path(local.environ)}" in shown
    assert far.is_relative_to(os.sep)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_another_user_gets_nothing_from_either_end(remote: RemoteHost, local: Person) -> None:
    code = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "try:\n"
        "    s.connect(sys.argv[1])\n"
        '    s.sendall(b\'{"v":1,"op":"credential-process","profile":"ci-release"}\\n\')\n'
        "    print(s.recv(9))\n"
        "except OSError as error:\n"
        "    print(type(error).__name__)\n"
    )
    for path in (remote.socket, Path(forward_path(local.environ))):
        outcome = subprocess.run(
            [needs("setpriv"), "--reuid", "65534", "--regid", "65534", "--clear-groups",
             "/usr/bin/python3", "-c", code, str(path)],
            capture_output=True, text=True, check=True, cwd="/",
        ).stdout  # fmt: skip
        assert outcome.strip() == "PermissionError"
