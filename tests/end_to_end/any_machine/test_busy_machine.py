"""The passphrase on a machine that gives it little CPU time, and what a user sees meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from keyturn.model.secret import Secret
from keyturn.storage.paths import paths_for
from keyturn.vault import files as vault_files
from keyturn.vault import slots
from tests.core.vault.age_program import run_age
from tests.end_to_end.person import KEYTURN, PASSPHRASE, Person
from tests.end_to_end.terminal import terminal
from tests.support.processes import find_started, stopped, throttled, throttled_family

#: In the command of the child process that does the work of a passphrase.
CHILD = "child_main()"
DAY = 86400.0


@pytest.fixture
def locked(newcomer: Person) -> Person:
    """A user with a locked vault that the program itself created."""
    newcomer.creates_vault()
    newcomer.does("vault", "lock")
    return newcomer


@contextmanager
def starting(person: Person, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Start `keyturn WORDS --passphrase-fd N`."""
    read, write = os.pipe()
    os.write(write, PASSPHRASE.encode() + b"\n")
    os.close(write)
    with subprocess.Popen(
        [KEYTURN, *words, "--passphrase-fd", str(read)],
        env=person.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=(read,),
    ) as process:
        os.close(read)
        yield process


def state(person: Person) -> str:
    return str(json.loads(person.does("vault", "status", "--json"))["state"])


def wait_for(holds: Callable[[], bool], seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def test_the_vault_opens_where_its_child_gets_a_twentieth_of_the_time(locked: Person) -> None:
    with starting(locked, "vault", "unlock") as process, throttled(find_started(process.pid, CHILD)):
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "Vault is unlocked.\n", "")
    assert state(locked) == "open"


@pytest.mark.campaign
def test_the_vault_opens_where_the_whole_program_gets_a_twentieth_of_the_time(locked: Person) -> None:
    with starting(locked, "vault", "unlock") as process, throttled_family(process.pid):
        process.communicate(timeout=300)
    assert process.returncode == 0


@pytest.mark.campaign
def test_a_release_takes_the_passphrase_where_the_agent_s_child_gets_a_twentieth(newcomer: Person) -> None:
    newcomer.creates_vault()
    newcomer.does("adopt", "ci-deploy", "--yes")
    agent = json.loads(newcomer.does("agent", "status", "--json"))["pid"]
    with (
        starting(newcomer, "release", "ci-deploy", "--yes") as process,
        throttled(find_started(agent, CHILD)),
    ):
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert b"aws_secret_access_key" in newcomer.credentials.read_bytes()


@pytest.mark.parametrize(
    ("number", "why", "is_memory"),
    [
        (signal.SIGKILL, "the system killed its process, as it does when memory runs out", True),
        (signal.SIGXCPU, "its process reached its limit of CPU time", False),
        (signal.SIGTERM, "its process was ended by signal 15", False),
    ],
)
def test_an_end_of_the_child_is_told_with_its_true_reason(
    locked: Person, number: signal.Signals, why: str, is_memory: bool
) -> None:
    with starting(locked, "vault", "recovery-key", "--yes") as process:
        os.kill(find_started(process.pid, CHILD), number)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (1, "")
    assert err.startswith(f"keyturn: Could not use the passphrase of identity.age: {why}. ")
    assert ("Free some memory" in err) == is_memory
    assert err.endswith("The recovery key opens the vault without scrypt\n")


def test_too_little_memory_is_told_as_such(locked: Person) -> None:
    """128 MiB of address space are left for scrypt and the interpreter."""
    line = (
        'ulimit -v 130000; exec "$0" vault recovery-key --yes --passphrase-fd 3 3<<E\n' + PASSPHRASE + "\nE"
    )
    done = locked.run("sh", "-c", line, KEYTURN)
    assert done.returncode == 1
    assert "not enough memory for scrypt. Free some memory, then try again" in done.stderr


def test_a_wait_on_a_terminal_is_explained_after_some_seconds(locked: Person) -> None:
    with terminal(f"kt-slow-{os.getpid()}", locked.environ, "vault", "unlock", program=(KEYTURN,)) as screen:
        screen.shows("Passphrase")
        screen.type(PASSPHRASE)
        screen.press("Enter")
        with stopped(find_started(screen.pid(), CHILD)):
            screen.shows("keyturn: Opening the vault takes longer than usual", "Ctrl+C cancels.")
        screen.shows("Vault is unlocked.", "ended with 0")


@pytest.mark.usefixtures("unignored")
def test_ctrl_c_during_the_wait_leaves_the_vault_locked_and_no_process(locked: Person) -> None:
    with starting(locked, "vault", "unlock") as process:
        child = find_started(process.pid, CHILD)
        with stopped(child):
            assert _is_running(child), "it was stopped too late"
            process.send_signal(signal.SIGINT)
            told = process.communicate(timeout=30)
            assert wait_for(lambda: not _is_running(child), 5), f"the work goes on: {told}"
    assert process.returncode == 130, told
    assert state(locked) == "locked"


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_escape_in_the_app_during_the_wait_leaves_the_vault_locked(newcomer: Person) -> None:
    newcomer.creates_vault()
    newcomer.does("adopt", "ci-deploy", "--yes")
    newcomer.does("vault", "lock")
    with terminal(f"kt-cancel-{os.getpid()}", newcomer.environ, program=(KEYTURN,)) as screen:
        screen.shows("Profiles", "Quit")
        screen.press("/")
        screen.type("ci-deploy")
        screen.press("Enter", "Home", "r")
        screen.shows("Unlock the vault", "refresh of ci-deploy")
        screen.type(PASSPHRASE)
        screen.press("Enter")
        with stopped(find_started(screen.pid(), CHILD)):
            screen.shows("this machine is busy or slow", "Esc cancels")
            screen.press("Escape")
            screen.shows("cancelled, nothing changed")
        screen.press("q")
        screen.shows("ended with 0")
    # Where the agent goes on, it opens the vault within this time.
    assert not wait_for(lambda: state(newcomer) == "open", 3)


def test_a_new_vault_and_its_export_have_the_least_usual_work(locked: Person) -> None:
    """The same on every machine, so that each opens it. The age program opens the export."""
    folder = locked.sandbox.folder
    words = ("vault", "export", str(folder / "export.age"), "--yes")
    locked.does(*words, fds={"--passphrase-fd": PASSPHRASE, "--new-passphrase-fd": "for the journey"})
    for file in (_identity_file(locked), folder / "export.age"):
        assert factor(file.read_bytes()) == 17
    run_age("for the journey", "-d", "-o", str(folder / "export.json"), str(folder / "export.age"))
    assert json.loads((folder / "export.json").read_bytes())["kind"] == "export"


def _identity_file(person: Person) -> Path:
    return paths_for(person.environ).vault_dir / "identity.age"


def factor(sealed: bytes) -> int:
    return int(sealed.split(b"\n")[1].split(b" ")[3])


def _seal_by_age(person: Person, recovery_key: Secret, passphrase: str) -> None:
    """Seal the passphrase slot by `age -p`, with a passphrase as typed."""
    plain, sealed = person.sandbox.folder / "plain", person.sandbox.folder / "sealed.age"
    plain.write_text(recovery_key.reveal() + "\n")
    run_age(passphrase, "-p", "-o", str(sealed), str(plain))
    folder = _identity_file(person).parent
    current = vault_files.read_recipient_file(folder)
    assert current is not None
    slots.put_sealed_identity(folder, current, sealed.read_bytes())


def test_a_slot_with_other_work_is_sealed_anew_with_the_same_passphrase(newcomer: Person) -> None:
    """In exactly the form that was typed, so that `age -d` still opens it, too."""
    typed = unicodedata.normalize("NFD", "café au lait")
    assert typed != unicodedata.normalize("NFC", typed)
    _seal_by_age(newcomer, newcomer.makes_vault(), typed)
    newcomer.does("vault", "lock")
    assert factor(_identity_file(newcomer).read_bytes()) == 18
    newcomer.does("vault", "unlock", fds={"--passphrase-fd": typed})
    assert wait_for(lambda: factor(_identity_file(newcomer).read_bytes()) == 17)
    newcomer.does("vault", "lock")
    assert b"AGE-SECRET-KEY-1" in run_age(typed, "-d", str(_identity_file(newcomer)))
    newcomer.does("vault", "unlock", fds={"--passphrase-fd": typed})
    assert state(newcomer) == "open"


def test_a_wall_clock_that_is_set_back_does_not_prolong_the_open_vault(newcomer: Person) -> None:
    newcomer.makes_vault()

    def end() -> datetime:
        status = json.loads(newcomer.does("agent", "status", "--json"))
        return datetime.fromisoformat(status["open_until"])

    before = end()
    newcomer.sandbox.move_clock(-DAY)
    try:
        assert abs(before - timedelta(seconds=DAY) - end()) < timedelta(seconds=30)
    finally:
        newcomer.sandbox.move_clock(DAY)
    assert end() == before
    newcomer.sandbox.move_clock(12 * 3600.0)
    assert wait_for(lambda: state(newcomer) == "locked", 10)
