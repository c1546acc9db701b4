"""A process that dies frees its lock at once; a process that holds a lock and sleeps is named, in one line,
after ten seconds."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest

from keyturn.awsconfig.document import FileKind, set_items
from keyturn.awsconfig.writer import SharedFiles
from keyturn.model.errors import FileBusy
from keyturn.model.secret import Secret
from keyturn.service import CredentialService
from keyturn.storage.paths import paths_for
from keyturn.system import files as ownfile
from keyturn.system.shared_file import Timing
from keyturn.vault import passphrase
from tests.core.vault import weak_age
from tests.resilience.concurrency import programs

HOLDS_FILE = """
    import sys, time
    from pathlib import Path
    from keyturn.system.shared_file import Timing, find_target, lock_file

    with lock_file(Path(sys.argv[1]), find_target(Path(sys.argv[2])), Timing()):
        print("held", flush=True)
        time.sleep(300)
"""

HOLDS_OWN = """
    import sys, time
    from pathlib import Path
    from keyturn.system.files import lock_for_change

    with lock_for_change(Path(sys.argv[1]), what="holding"):
        print("held", flush=True)
        time.sleep(300)
"""


class Clock(Protocol):
    """The functions of the module `time` that a wait needs."""

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float, /) -> None: ...


class FastClock:
    """A clock on which waiting takes no time."""

    def __init__(self) -> None:
        self.waited = 0.0

    def monotonic(self) -> float:
        return self.waited

    def sleep(self, seconds: float, /) -> None:
        self.waited += seconds


def run_with_clock(clock: Clock, function: Callable[[], object]) -> None:
    """Run a function that waits for one of keyturn's own locks, with another clock."""
    with pytest.MonkeyPatch.context() as patch:
        wait = partial(ownfile.poll_flock, elapsed=clock.monotonic, sleep=clock.sleep)
        patch.setattr(ownfile, "poll_flock", wait)
        function()


@dataclass
class Lock:
    """A lock: the program that holds it, and the function that waits for it here."""

    holder: Callable[[], subprocess.Popen[str]]
    acquire: Callable[[Clock], object]


def shared_file_lock(folder: Path) -> Lock:
    path = folder / "aws" / "config"
    path.parent.mkdir(mode=0o700)
    path.write_bytes(b"[profile p1]\nregion = eu-west-1\n")

    def acquire(clock: Clock) -> None:
        timing = Timing(elapsed=clock.monotonic, sleep=clock.sleep)
        files = SharedFiles(folder / "locks", keep=lambda *_: None, timing=timing)
        files.edit(path, lambda doc: set_items(doc, "profile p1", {"output": "json"}), kind=FileKind.CONFIG)

    return Lock(lambda: programs.start(HOLDS_FILE, folder / "locks", path), acquire)


def source_lock(folder: Path) -> Lock:
    service = CredentialService.from_environ(environ(folder), use_agent=False)

    def acquire() -> None:
        with service.context.source_lock(
            "ci-deploy", 10.0
        ):  # the wait is longer for locks held during AWS calls
            pass

    path = paths_for(environ(folder)).locks_dir / "ci-deploy"
    return Lock(lambda: programs.start(HOLDS_OWN, path), lambda clock: run_with_clock(clock, acquire))


def vault_lock(folder: Path) -> Lock:
    service = CredentialService.from_environ(environ(folder), use_agent=False)
    service.create_vault("passphrase", Secret("three small words"))
    path = service.paths.vault_dir / "lock"
    return Lock(
        lambda: programs.start(HOLDS_OWN, path),
        lambda clock: run_with_clock(
            clock,
            lambda: service.context.vault.change_sessions(lambda sessions: sessions.pop("nobody", None)),
        ),
    )


def environ(folder: Path) -> dict[str, str]:
    return {"HOME": str(folder), "KEYTURN_HOME": str(folder / "k"), "PATH": os.environ["PATH"]}


@pytest.fixture(params=[shared_file_lock, vault_lock, source_lock], ids=["shared file", "vault", "source"])
def lock(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lock:
    monkeypatch.setattr(passphrase, "seal", weak_age.seal)
    lock_under_test: Lock = request.param(tmp_path)
    return lock_under_test


@pytest.fixture
def holder(lock: Lock) -> Iterator[subprocess.Popen[str]]:
    process = lock.holder()
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate(timeout=30)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_holder_that_dies_frees_it_at_once(
    lock: Lock, holder: subprocess.Popen[str], end: signal.Signals
) -> None:
    holder.send_signal(end)
    holder.wait(30)
    start = time.monotonic()
    lock.acquire(time)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    "clock", [FastClock(), pytest.param(time, marks=pytest.mark.campaign)], ids=["moved", "real"]
)
def test_a_holder_that_is_stopped_is_named_after_ten_seconds_and_can_go_on(
    lock: Lock, holder: subprocess.Popen[str], clock: Clock
) -> None:
    holder.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, holder.pid, os.WSTOPPED | os.WNOWAIT)
    start = clock.monotonic()
    with pytest.raises(FileBusy) as error_info:
        lock.acquire(clock)
    assert clock.monotonic() - start >= 9.9
    line = error_info.value.line()
    assert f"process {holder.pid} " in line
    assert "is stopped" in line
    assert f"kill -CONT {holder.pid}" in line
    assert "\n" not in line
    assert error_info.value.exit_code == 5
    holder.kill()
    holder.wait(30)
    lock.acquire(time)


def test_a_holder_that_is_only_slow_is_waited_for(lock: Lock, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGSTOP)
    os.kill(holder.pid, signal.SIGCONT)
    started = time.monotonic()
    killer = programs.start(f"import os, time; time.sleep(0.6); os.kill({holder.pid}, 9)")
    lock.acquire(time)
    assert time.monotonic() - started >= 0.5
    killer.communicate(timeout=30)
