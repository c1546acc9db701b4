"""Where a shared file may lie: mounted by itself, read-only, on a full disk, linked, planted. Kept, or refused in one line.

What needs no mount (loops, pipes, folders, owners, modes) is tried in tests/awsfiles; here are the real file systems.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults import acts
from tests.faults.child import perform
from tests.faults.home import CONFIG, CREDENTIALS, SECRET, Home
from tests.needs import needs

ADOPT = acts.verb("adopt", "dev", "--yes")
#: Runs `adopt` in a mount namespace of its own, after the shell lines that are given to it.
INSIDE = """
import os, subprocess, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from keyturn.secret import Secret
from tests.faults import acts
from tests.faults.child import perform
from tests.faults.home import Home
home = Home(Path(sys.argv[2]), Secret(sys.stdin.readline().strip()))
subprocess.run(["mount", "--make-rprivate", "/"], check=True)
subprocess.run(["sh", "-euc", sys.argv[3]], check=True)
done = perform(acts.verb("adopt", "dev", "--yes"), home)
sys.stderr.write(done.stderr)
print(home.config.read_bytes() == Path(sys.argv[4]).read_bytes())
print(home.credentials.read_bytes() == Path(sys.argv[5]).read_bytes())
print(",".join(home.leftovers()))
sys.exit(99 if done.code is None else done.code)
"""


def _root_with_namespaces() -> None:
    needs("unshare")
    if os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], check=False).returncode == 0:
        return
    reason = "only root can mount"
    if os.environ.get("KEYTURN_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def _adopt_where(home: Home, mounts: str) -> tuple[int, str, list[str]]:
    """Adopts in a home with such mounts: exit code, the line for a person, and what is then there."""
    _root_with_namespaces()
    home.back_to("vault")
    before = [home.root / name for name in ("config.before", "credentials.before")]
    shutil.copy(home.config, before[0])
    shutil.copy(home.credentials, before[1])
    top = str(Path(__file__).resolve().parents[2])
    words = [sys.executable, "-c", INSIDE, top, str(home.root), mounts, *map(str, before)]
    done = subprocess.run(
        ["unshare", "-m", *words], input=home.recovery_key.reveal() + "\n", text=True, capture_output=True, check=False
    )  # fmt: skip
    lines = [line for line in done.stderr.splitlines() if line.startswith("keyturn: ")]
    assert "Traceback" not in done.stderr, done.stderr
    assert len(lines) == 1, done.stderr
    return done.returncode, lines[0], done.stdout.splitlines()


def test_a_file_that_is_mounted_by_itself_is_refused_with_what_to_do(home: Home) -> None:
    file = home.credentials
    code, line, there = _adopt_where(home, f"mount --bind {file} {file}")
    assert code == 5
    assert str(file) in line
    assert "mounted as a single file" in line
    assert "Mount its folder" in line
    assert there[:2] == ["True", "True"]


def test_a_read_only_folder_is_refused_and_nothing_is_changed(home: Home) -> None:
    code, line, there = _adopt_where(
        home, f"mount --bind {home.aws} {home.aws}; mount -o remount,ro,bind {home.aws}"
    )
    assert code == 5
    assert "Read-only file system" in line
    assert there[:2] == ["True", "True"]


def test_a_full_disk_leaves_the_old_files(home: Home) -> None:
    """A file system of 64 KiB that is full to the last byte."""
    fill = (
        f"cp -a {home.aws} {home.root}/moved; mount -t tmpfs -o size=64k,mode=700 none {home.aws}; "
        f"cp -a {home.root}/moved/. {home.aws}; rm -r {home.root}/moved; cat /dev/zero >{home.aws}/filler || true"
    )
    code, line, there = _adopt_where(home, fill + " 2>/dev/null")
    assert code == 1
    assert "No space left on device" in line
    assert there[:2] == ["True", "True"]


def test_a_file_size_limit_leaves_the_old_file(home: Home) -> None:
    """What an ordinary user can have of a full disk."""
    home.back_to("delivered")
    home.config.write_bytes(CONFIG + b"\n" + b"# long\n" * 1000)
    before = home.config.read_bytes()
    edit = acts.writer(acts._edit_config)

    def limited(of: Home) -> int:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        return edit(of)

    done = perform(limited, home)
    assert done.code == 1, done
    assert done.complaint() is None
    assert "File too large" in done.stderr
    assert home.config.read_bytes() == before
    assert home.leftovers() == []
    assert perform(edit, home).code == 0


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_nothing_is_wider_than_it_was_whatever_the_umask(home: Home, umask: int) -> None:
    home.back_to("new")
    (home.aws / "config").chmod(0o644)
    before = os.umask(umask)
    try:
        assert perform(acts._init, home).code == 0
    finally:
        os.umask(before)
    for path in home.own.rglob("*"):
        mode = stat.S_IMODE(path.lstat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), (path, oct(mode))


def test_a_second_name_of_the_file_keeps_the_old_contents(home: Home) -> None:
    """A hard link cannot be followed: the file is replaced, and the other name is not written through."""
    home.back_to("vault")
    other = home.person / "second name"
    other.hardlink_to(home.credentials)
    assert perform(ADOPT, home).code == 0
    assert other.read_bytes() == CREDENTIALS
    assert SECRET.encode() not in home.credentials.read_bytes()


def test_the_files_may_lie_elsewhere_behind_relative_links(home: Home) -> None:
    home.back_to("vault")
    dotfiles = home.person / "dotfiles"
    dotfiles.mkdir(mode=0o700)
    home.credentials.rename(dotfiles / "aws")
    home.credentials.symlink_to("../dotfiles/aws")
    assert perform(ADOPT, home).code == 0
    assert home.credentials.is_symlink()
    assert SECRET.encode() not in (dotfiles / "aws").read_bytes()


@pytest.mark.parametrize("what", ["loop", "fifo", "folder", "null"])
def test_what_is_no_file_is_refused_at_once(home: Home, what: str) -> None:
    home.back_to("delivered")
    home.credentials.unlink()
    if what == "loop":
        home.credentials.symlink_to(home.credentials)
    elif what == "fifo":
        os.mkfifo(home.credentials)
    elif what == "folder":
        home.credentials.mkdir()
    else:
        home.credentials.symlink_to("/dev/null")
    begun = time.monotonic()
    done = perform(acts.writer(acts._edit_credentials), home)
    assert done.code == 5, done
    assert done.complaint() is None
    assert str(home.credentials) in done.stderr
    assert time.monotonic() - begun < 10
