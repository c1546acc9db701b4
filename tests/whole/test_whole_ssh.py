"""Over SSH: a real OpenSSH server on loopback, a real client in an 80x24 terminal, and a line that drops."""

from __future__ import annotations

import getpass
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.needs import needs
from tests.whole.person import BIN
from tests.whole.terminal import Terminal
from tests.whole.test_whole_app import found

SECONDS = 30.0
_SERVER = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
PidFile {folder}/sshd.pid
AuthorizedKeysFile {folder}/authorized_keys
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PermitRootLogin yes
AcceptEnv LANG
PrintMotd no
PrintLastLog no
"""


class Line:
    """An SSH server of our own, and the words that lead to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("host_key", "user_key"):
            made = [needs("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(made, check=True)
        (folder / "authorized_keys").write_text((folder / "user_key.pub").read_text())
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        (folder / "sshd_config").write_text(_SERVER.format(port=self.port, folder=folder))
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # Debian's sshd separates its privileges there
        program = [needs("sshd"), "-D", "-f", str(folder / "sshd_config"), "-E", str(folder / "sshd.log")]
        self._server = subprocess.Popen(program)
        end = time.monotonic() + SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert time.monotonic() < end, (folder / "sshd.log").read_text()
                time.sleep(0.05)

    def ssh(self, command: str) -> str:
        """A shell line that runs `command` over the line, in a terminal."""
        options = (
            f"-tt -q -F /dev/null -p {self.port} -i {self.folder}/user_key -o IdentitiesOnly=yes "
            f"-o StrictHostKeyChecking=no -o UserKnownHostsFile={self.folder}/known -o ServerAliveInterval=0"
        )
        return f"{needs('ssh')} {options} {getpass.getuser()}@127.0.0.1 '{command}'"

    def end(self) -> None:
        """No server any more."""
        self._server.terminate()
        self._server.wait()


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    """For one test."""
    needs("sshd")
    made = Line(tmp_path)
    try:
        yield made
    finally:
        made.end()


def processes(word: str) -> list[int]:
    """Processes whose environment names `word`."""
    return [int(entry.parent.name) for entry in Path("/proc").glob("[0-9]*/environ") if _holds(entry, word)]


def _holds(path: Path, word: str) -> bool:
    try:
        return word.encode() in path.read_bytes()
    except OSError:
        return False


def test_the_main_job_over_ssh_and_a_line_that_drops(line: Line, tmp_path: Path) -> None:
    own = Path(tempfile.mkdtemp(prefix="kt-ssh-"))
    keyturn = f"env TMPDIR={own} LANG=C.UTF-8 KEYTURN_TEST_MARK={own.name} {BIN / 'keyturn'} --sandbox"
    screen = Terminal(f"kt-ssh-{os.getpid()}", {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, 80, 24)
    try:
        screen.start_line(line.ssh(keyturn))
        screen.shows("sandbox", "ci-audit")
        found(screen, "ci-audit")
        screen.press("r")
        screen.shows("refreshed ci-audit")
        screen.press("Escape")
        found(screen, "personal")
        screen.press("m")
        screen.shows("review", "aws_secret_access_key = ***")
        screen.press("Enter")
        screen.shows("adopted")
        screen.press("q")
        screen.shows("ended with 0")
        _nothing_is_left(own)
        screen.end()

        screen.start_line(line.ssh(keyturn))
        screen.shows("sandbox", "ci-audit")
        assert processes(own.name)
        os.kill(_client(line), signal.SIGKILL)
        screen.shows("ended with")
        _nothing_is_left(own)
    finally:
        screen.end()
        own.rmdir()


def _client(line: Line) -> int:
    """The process of our one SSH client."""
    (found_,) = [
        int(entry.parent.name)
        for entry in Path("/proc").glob("[0-9]*/cmdline")
        if _holds(entry, f"{line.folder}/user_key") and _holds(entry.parent / "comm", "ssh\n")
    ]
    return found_


def _nothing_is_left(own: Path) -> None:
    """No process and no file."""
    end = time.monotonic() + SECONDS
    while left := (processes(own.name), list(own.iterdir())):
        if left == ([], []):
            return
        assert time.monotonic() < end, left
        time.sleep(0.1)
