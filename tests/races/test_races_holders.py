"""Whoever holds a lock and dies frees it at once; whoever holds it and sleeps is named, in one line, after ten seconds."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from keyturn.awsfiles.document import FileKind, set_items
from keyturn.awsfiles.store import SharedFiles
from keyturn.errors import FileBusy
from keyturn.keeper import Keeper
from keyturn.places import places_for
from keyturn.secret import Secret
from keyturn.vault import unseal
from tests.races import programs
from tests.vault import weak_age

HOLDS_FILE = """
    import sys, time
    from pathlib import Path
    from keyturn.awsfiles.lock import hold
    from keyturn.awsfiles.pace import Pace
    from keyturn.awsfiles.target import find

    with hold(Path(sys.argv[1]), find(Path(sys.argv[2])), Pace()):
        print("held", flush=True)
        time.sleep(300)
"""

HOLDS_OWN = """
    import sys, time
    from pathlib import Path
    from keyturn.ownfile import locked

    with locked(Path(sys.argv[1]), what="holding"):
        print("held", flush=True)
        time.sleep(300)
"""


@dataclass
class Lock:
    """One of the locks: how another process holds it, and what in this one waits for it."""

    holder: Callable[[], subprocess.Popen[str]]
    act: Callable[[], object]


def of_shared_file(folder: Path) -> Lock:
    path = folder / "aws" / "config"
    path.parent.mkdir(mode=0o700)
    path.write_bytes(b"[profile p1]\nregion = eu-west-1\n")
    files = SharedFiles(folder / "locks", keep=lambda *_: None)
    return Lock(
        lambda: programs.start(HOLDS_FILE, folder / "locks", path),
        lambda: files.edit(
            path, lambda doc: set_items(doc, "profile p1", {"output": "json"}), kind=FileKind.CONFIG
        ),
    )


def of_source(folder: Path) -> Lock:
    keeper = Keeper.from_environ(environ(folder), use_agent=False)

    def act() -> None:
        with keeper.desk.lock("ci-deploy", 10.0):  # it is waited for longer where AWS is asked
            pass

    path = places_for(environ(folder)).locks_dir / "ci-deploy"
    return Lock(lambda: programs.start(HOLDS_OWN, path), act)


def of_vault(folder: Path) -> Lock:
    keeper = Keeper.from_environ(environ(folder), use_agent=False)
    keeper.new_vault("passphrase", Secret("three small words"))
    path = keeper.places.vault_dir / "lock"
    return Lock(
        lambda: programs.start(HOLDS_OWN, path),
        lambda: keeper.desk.vault.change_sessions(lambda sessions: sessions.pop("nobody", None)),
    )


def environ(folder: Path) -> dict[str, str]:
    return {"HOME": str(folder), "KEYTURN_HOME": str(folder / "k"), "PATH": os.environ["PATH"]}


@pytest.fixture(params=[of_shared_file, of_vault, of_source], ids=["shared file", "vault", "source"])
def lock(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lock:
    monkeypatch.setattr(unseal, "seal", weak_age.seal)
    made: Lock = request.param(tmp_path)
    return made


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
    begun = time.monotonic()
    lock.act()
    assert time.monotonic() - begun < 5


def test_a_holder_that_is_stopped_is_named_after_ten_seconds_and_can_go_on(
    lock: Lock, holder: subprocess.Popen[str]
) -> None:
    holder.send_signal(signal.SIGSTOP)
    begun = time.monotonic()
    with pytest.raises(FileBusy) as caught:
        lock.act()
    assert time.monotonic() - begun >= 9.9
    line = caught.value.line()
    assert f"process {holder.pid} " in line
    assert "is stopped" in line
    assert f"kill -CONT {holder.pid}" in line
    assert "\n" not in line
    assert caught.value.exit_code == 5
    holder.kill()
    holder.wait(30)
    lock.act()


def test_a_holder_that_is_only_slow_is_waited_for(lock: Lock, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGSTOP)
    os.kill(holder.pid, signal.SIGCONT)
    started = time.monotonic()
    killer = programs.start(f"import os, time; time.sleep(1); os.kill({holder.pid}, 9)")
    lock.act()
    assert time.monotonic() - started >= 0.5
    killer.communicate(timeout=30)
