"""A process of keyturn that dies leaves no core file, and after a lock no process remains that held the
identity."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.adversarial.process_isolation.conftest import PASSPHRASE, Owner, Record
from tests.adversarial.process_isolation.ordinary import User, run_as
from tests.support.needs import skip_or_fail

PATTERN = Path("/proc/sys/kernel/core_pattern")
#: Raises the soft limit again from within, as far as allowed, then dies with a secret in memory.
DIE = """
import contextlib, os, resource, sys
sys.path.insert(0, os.getcwd())
secret = "".join(["cana", "ry", "-in-memory"])
if sys.argv[1] != "open":
    from keyturn.system import hardening, prctl
    closed, agent, fast = hardening.harden_process, hardening.harden_agent, prctl.disable_dumps
    {"closed": closed, "agent": agent, "fast": fast}[sys.argv[1]]()
with contextlib.suppress(ValueError, OSError):
    resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
if sys.argv[2] == "child" and os.fork():
    os.wait()
    os._exit(0)
os.abort()
"""


def cores(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if "core" in path.name]


def run_until_abort(user: User, folder: Path, *words: str) -> None:
    """Run the program until it, or its child, aborts."""
    result = subprocess.run(
        ["sh", "-c", 'ulimit -c unlimited; exec "$@"', "sh", *run_as(user.uid), user.installation.python,
        "-I", "-c", DIE, *words],
        cwd=folder, env=user.environ, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert result.returncode == (0 if words[1] == "child" else -signal.SIGABRT), result.stderr


@pytest.fixture
def core_folder(owner: Owner) -> Path:
    """Return the folder of core files, on a machine whose kernel writes them beside the program."""
    pattern = PATTERN.read_text().strip()
    if "/" in pattern or pattern.startswith("|"):
        skip_or_fail(f"core files go to {pattern} here")
    folder = owner.user.home / "graveyard"
    if not folder.exists():
        folder.mkdir(mode=0o700)
        os.chown(folder, owner.user.uid, owner.user.uid)
    run_until_abort(owner.user, folder, "open", "self")
    left = cores(folder)
    if not left:
        skip_or_fail("this machine writes no core files at all")
    assert b"canary-in-memory" in left[0].read_bytes()
    for path in left:
        path.unlink()
    return folder


@pytest.mark.parametrize("who", ["self", "child"])
@pytest.mark.parametrize("how", ["closed", "agent", "fast"])
def test_a_closed_process_leaves_no_core_even_where_the_limit_is_taken_back(
    owner: Owner, core_folder: Path, how: str, who: str, record_property: Record
) -> None:
    run_until_abort(owner.user, core_folder, how, who)
    assert cores(core_folder) == []
    record_property(f"isolation: cores left, {how} {who}", 0)


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV, signal.SIGQUIT])
def test_the_agent_leaves_no_core(owner: Owner, number: signal.Signals) -> None:
    agent = owner.agent
    os.kill(agent, number)
    assert gone(agent)
    # The agent's working directory is the root folder.
    assert not list(Path("/").glob("core*"))
    owner.unlock()


def test_after_a_lock_no_process_is_left_that_held_the_identity(
    owner: Owner, record_property: Record
) -> None:
    for _ in range(3):
        held = processes_of(owner.user.uid)
        assert owner.agent in held
        owner.lock()
        assert processes_of(owner.user.uid) == set()
        owner.unlock()
        assert processes_of(owner.user.uid) == {owner.agent}
    record_property("isolation: processes left after a lock", 0)


@pytest.mark.campaign
def test_after_a_lock_amid_an_unlock_nothing_is_left_but_what_was_unlocked(owner: Owner) -> None:
    owner.lock()
    read, write = os.pipe()
    os.write(write, PASSPHRASE.encode() + b"\n")
    os.close(write)
    user = owner.user
    unlocking = subprocess.Popen(
        [*run_as(user.uid), user.installation.keyturn, "vault", "unlock", "--passphrase-fd", str(read)],
        env=user.environ, pass_fds=[read], cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(read)
    user.keyturn("vault", "lock")
    unlocking.wait(60)
    user.keyturn("vault", "lock")
    assert processes_of(user.uid) == set()
    owner.unlock()


def processes_of(uid: int) -> set[int]:
    """Return every process of a user that still has memory."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = dict(
                line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line
            )
        except OSError:
            continue
        if status["Uid"].split()[0] == str(uid) and "VmSize" in status:
            found.add(int(folder.name))
    return found


def gone(pid: int) -> bool:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X"):
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False
