"""Over SSH: a real OpenSSH server on loopback, a real client in an 80x24 terminal, and a connection that
drops."""

from __future__ import annotations

import os
import shlex
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.person import BIN, PASSPHRASE, WEAK_KEYTURN, Person
from tests.end_to_end.ssh_line import SshServer
from tests.end_to_end.terminal import Terminal
from tests.end_to_end.test_app_end_to_end import select_profile
from tests.support.needs import needs

SECONDS = 30.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    """An SSH server for one test."""
    needs("sshd")
    ssh_server = SshServer(tmp_path)
    try:
        yield ssh_server
    finally:
        ssh_server.end()


def processes(word: str) -> list[int]:
    """Return the processes whose environment contains `word`."""
    return [int(entry.parent.name) for entry in Path("/proc").glob("[0-9]*/environ") if _holds(entry, word)]


def _holds(path: Path, word: str) -> bool:
    try:
        return word.encode() in path.read_bytes()
    except OSError:
        return False


def test_the_main_job_over_ssh_and_a_line_that_drops(server: SshServer, tmp_path: Path) -> None:
    own = Path(tempfile.mkdtemp(prefix="kt-ssh-"))
    keyturn = (
        f"env TMPDIR={own} LANG=C.UTF-8 KEYTURN_TEST_MARK={own.name} {shlex.join(WEAK_KEYTURN)} --sandbox"
    )
    screen = Terminal(f"kt-ssh-{os.getpid()}", {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, 80, 24)
    try:
        screen.start_line(server.ssh(keyturn))
        screen.shows("sandbox", "ci-audit")
        select_profile(screen, "ci-audit")
        screen.press("r")
        screen.shows("refreshed ci-audit")
        screen.press("Escape")
        select_profile(screen, "personal")
        screen.press("m")
        screen.shows("review", "aws_secret_access_key = ***")
        screen.press("Enter")
        screen.shows("adopted")
        screen.press("q")
        screen.shows("ended with 0")
        _assert_clean(own)
        screen.end()

        screen.start_line(server.ssh(keyturn))
        screen.shows("sandbox", "ci-audit")
        assert processes(own.name)
        os.kill(_client(server), signal.SIGKILL)
        screen.shows("ended with")
        _assert_clean(own)
    finally:
        screen.end()
        own.rmdir()


@pytest.mark.campaign
def test_the_agent_goes_on_when_the_line_that_started_it_drops(server: SshServer, newcomer: Person) -> None:
    newcomer.makes_vault()
    newcomer.does("adopt", "ci-deploy", "--yes")
    newcomer.does("vault", "lock")
    named = " ".join(f"{key}={shlex.quote(value)}" for key, value in newcomer.environ.items())
    unlock = f"env -i {named} {BIN / 'keyturn'} vault unlock; echo unlocked; sleep 600"
    screen = Terminal(f"kt-ssh-agent-{os.getpid()}", {"PATH": os.environ["PATH"], "HOME": "/"}, 80, 24)
    try:
        screen.start_line(f"{server.ssh_words()} {shlex.quote(unlock)}")
        screen.shows("assphrase")
        screen.type_unseen(PASSPHRASE)
        screen.press("Enter")
        screen.shows("unlocked")
        os.kill(_client(server), signal.SIGKILL)
        screen.shows("ended with")
    finally:
        screen.end()
    assert "Running" in newcomer.does("agent", "status")
    assert newcomer.aws_identity("ci-release").endswith("ci-release")


def _client(line: SshServer) -> int:
    """Return the process of the only SSH client."""
    (found_,) = [
        int(entry.parent.name)
        for entry in Path("/proc").glob("[0-9]*/cmdline")
        if _holds(entry, f"{line.folder}/user_key") and _holds(entry.parent / "comm", "ssh\n")
    ]
    return found_


def _assert_clean(own: Path) -> None:
    """Assert that no process and no file is left."""
    end = time.monotonic() + SECONDS
    while left := (processes(own.name), list(own.iterdir())):
        if left == ([], []):
            return
        assert time.monotonic() < end, left
        time.sleep(0.1)
