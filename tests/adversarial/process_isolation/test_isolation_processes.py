"""No process, of the same user or another, can look into a process of keyturn that holds a secret, or get the
secrets passed to it."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.adversarial.process_isolation.conftest import PASSPHRASE, Owner, Record
from tests.adversarial.process_isolation.ordinary import OnTerminal, User, run_as
from tests.support.campaign import campaign

ATTACK = Path(__file__).with_name("attack.py")
NEIGHBOUR = Path(__file__).with_name("neighbour.py")


def run_attacks(attacker: User, pid: int, *words: str) -> tuple[int, set[str]]:
    """Return the number of attacks on a process, and the successful ones."""
    result = attacker.python(ATTACK, str(pid), *words)
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    return report["tried"], set(report["worked"])


@contextmanager
def on_terminal(running: OnTerminal, wanted: bytes) -> Iterator[OnTerminal]:
    try:
        running.wait_for(wanted)
        yield running
    finally:
        running.close()


@contextmanager
def start_prompt(owner: Owner, *words: str) -> Iterator[int]:
    """Start a verb that waits for a passphrase on its terminal, with half of it typed."""
    user = owner.user
    with on_terminal(user.start(user.installation.keyturn, *words), b"assphrase") as running:
        running.type_keys(PASSPHRASE[:10].encode())
        yield running.pid


@contextmanager
def start_app_prompt(owner: Owner) -> Iterator[int]:
    """Start the app with half a passphrase typed into its dialog."""
    user = owner.user
    owner.lock()
    try:
        app = user.start(user.installation.keyturn, "--filter", "work")
        with on_terminal(app, b"Adopt") as running:
            running.type_keys(b"m")
            running.wait_for(b"write nothing")
            running.type_keys(b"\r")
            running.wait_for(b"Unlock the vault")
            running.type_keys(PASSPHRASE[:10].encode())
            running.wait_for("••••••••••".encode())
            yield running.pid
    finally:
        owner.unlock()


def test_what_is_tried_works_on_a_process_that_is_not_closed(owner: Owner) -> None:
    user = owner.user
    with on_terminal(
        user.start(user.installation.python, "-I", "-c", "print('ready', flush=True); input()"), b"ready"
    ) as running:
        attempts, worked = run_attacks(user, running.pid)
        assert attempts >= 18
        assert {"read environ", "read mem", "read maps", "list fd", "follow fd/0", "pidfd_getfd"} <= worked
        assert {"process_vm_readv", "ptrace seize", "write mem", "read auxv"} <= worked


@pytest.mark.parametrize("whose", ["the same user", "another user"])
def test_nobody_sees_into_the_agent(
    owner: Owner, other_user: User, whose: str, record_property: Record
) -> None:
    attacker = owner.user if whose == "the same user" else other_user
    attempts, worked = run_attacks(attacker, owner.agent, *(["kill"] if attacker is other_user else []))
    assert worked == set()
    assert owner.still_answers()
    record_property(f"isolation: attempts denied, agent against {whose}", attempts)


@pytest.mark.parametrize("whose", ["the same user", "another user"])
@pytest.mark.parametrize(
    "words",
    [("vault", "recovery-key", "--yes"), ("vault", "passphrase"), ("vault", "export", "/nowhere", "--yes")],
    ids=lambda words: words[1],
)
def test_nobody_sees_into_a_verb_that_asks(
    owner: Owner, other_user: User, words: tuple[str, ...], whose: str, record_property: Record
) -> None:
    with start_prompt(owner, *words) as pid:
        attacker = owner.user if whose == "the same user" else other_user
        attempts, worked = run_attacks(attacker, pid, *(["kill"] if attacker is other_user else []))
        assert worked == set()
        record_property(f"isolation: attempts denied, {words[1]} against {whose}", attempts)


@pytest.mark.parametrize("whose", ["the same user", *campaign("another user")])
def test_nobody_sees_into_the_app(
    owner: Owner, other_user: User, whose: str, record_property: Record
) -> None:
    with start_app_prompt(owner) as pid:
        attacker = owner.user if whose == "the same user" else other_user
        attempts, worked = run_attacks(attacker, pid, *(["kill"] if attacker is other_user else []))
        assert worked == set()
        record_property(f"isolation: attempts denied, app against {whose}", attempts)


class Neighbour:
    """A running neighbour process."""

    def __init__(self, user: User) -> None:
        script = user.installation.folder / NEIGHBOUR.name
        script.write_bytes(NEIGHBOUR.read_bytes())
        script.chmod(0o755)
        self._process = subprocess.Popen(
            [*run_as(user.uid), user.installation.python, "-I", str(script)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=user.environ, cwd="/",
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"watching\n"

    def report(self) -> tuple[int, bytes, list[str]]:
        """Return the number of descriptors it took, everything it read, and the command lines it saw."""
        report = json.loads(self._process.communicate(b"\n", timeout=30)[0])
        return report["took"], base64.b64decode(report["all"]), report["commands"]


@contextmanager
def neighbour(user: User) -> Iterator[Neighbour]:
    running_neighbour = Neighbour(user)
    try:
        yield running_neighbour
    finally:
        running_neighbour._process.kill()
        running_neighbour._process.wait()
        for stream in (running_neighbour._process.stdin, running_neighbour._process.stdout):
            if stream is not None:
                stream.close()


def test_a_neighbour_gets_what_a_careless_program_is_given(owner: Owner) -> None:
    careless_program = "import sys, time; time.sleep(0.3); sys.stdin.read()"
    user = owner.user
    with neighbour(user) as running_neighbour:
        subprocess.run(
            [*run_as(user.uid), user.installation.python, "-I", "-c", careless_program],
            input=PASSPHRASE.encode(), env=user.environ, check=True,
        )  # fmt: skip
        descriptors, report, _ = running_neighbour.report()
    assert descriptors
    assert PASSPHRASE.encode() in report


OPERATIONS: dict[str, Callable[[Owner], tuple[tuple[str, str], dict[str, str]]]] = {
    "unlock by passphrase": lambda _: (("vault", "unlock"), {"--passphrase-fd": PASSPHRASE}),
    "unlock by recovery key": lambda owner: (("vault", "unlock"), {"--recovery-key-fd": owner.recovery_key}),
    "change the passphrase": lambda _: (
        ("vault", "passphrase"), {"--passphrase-fd": PASSPHRASE, "--new-passphrase-fd": PASSPHRASE}
    ),
}  # fmt: skip


@pytest.mark.parametrize("operation", [*list(OPERATIONS)[:1], *campaign(*list(OPERATIONS)[1:])])
def test_a_neighbour_gets_nothing_of_what_the_agent_and_the_children_are_given(
    owner: Owner, operation: str, record_property: Record
) -> None:
    owner.lock()
    with neighbour(owner.user) as running_neighbour:
        words, fds = OPERATIONS[operation](owner)
        assert owner.user.exit_code(owner.user.installation.keyturn, *words, fds=fds) == 0
        descriptors, report, commands = running_neighbour.report()
    if operation != "change the passphrase":
        assert any("keyturn.agent" in command for command in commands)
    if "passphrase" in operation:
        assert any("keyturn.vault.passphrase" in command for command in commands)
    assert descriptors, "it was there from the first moment"
    assert PASSPHRASE.encode() not in report
    assert owner.recovery_key[16:40].encode() not in report.upper()
    owner.lock()
    owner.unlock()
    record_property(f"isolation: descriptors taken without a word of a secret, {operation}", descriptors)


def test_nobody_sees_into_the_child_that_opens_the_passphrase_once_it_has_it(
    owner: Owner, record_property: Record
) -> None:
    owner.lock()
    attempts_seen: list[set[str]] = []
    result = threading.Event()

    def watch() -> None:
        while not result.is_set():
            for pid in _with_command(b"keyturn.vault.passphrase"):
                if _is_working(pid):
                    attempts = run_attacks(owner.user, pid)[1]
                    # An attack on a child that has ended proves nothing.
                    if _is_working(pid) or attempts:
                        attempts_seen.append(attempts)
                        return
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    owner.unlock()
    result.set()
    watcher.join()
    assert attempts_seen, "the child was not met at work"
    assert attempts_seen == [set()]
    record_property("isolation: attempts denied, child at work against the same user", 18)


def _with_command(word: bytes) -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word in path.read_bytes():
                yield int(path.parent.name)
        except OSError:
            continue


def _is_working(pid: int) -> bool:
    """Return True if the process has closed itself, told by the owner of its folder in /proc; scrypt begins
    after that."""
    try:
        return Path(f"/proc/{pid}/environ").stat().st_uid == 0
    except OSError:
        return False
