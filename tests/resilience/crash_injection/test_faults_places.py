"""Shared files in unusual places: mounted by themselves, read-only, on a full disk, linked, planted. Each is
kept, or refused in one line.

The writer by itself is tested in tests/core/awsconfig; these tests run whole verbs on real file systems.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from keyturn.awsconfig import atomic_replace
from tests.resilience.crash_injection import file_writers, strace_runs
from tests.resilience.crash_injection.crash_home import CONFIG, CREDENTIALS, SECRET, Home
from tests.resilience.crash_injection.traced_child import perform
from tests.support.needs import needs

ADOPT = file_writers.verb("adopt", "dev", "--yes")
#: User id of another user.
OTHER = 65534
#: Operations that together create every file of keyturn's own and both shared files.
PRIVATE = (
    "vault init",
    "adopt",
    "deliver to the file",
    "folder and credentials made",
    "keyturn.log begun anew",
)
#: Runs `adopt` in a mount namespace of its own, after the given shell lines.
INSIDE = """
import os, subprocess, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from keyturn.model.secret import Secret
from tests.resilience.crash_injection import file_writers as acts
from tests.resilience.crash_injection.traced_child import perform
from tests.resilience.crash_injection.crash_home import Home
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
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode != 0:
        needs_root("only root can mount")


def needs_root(reason: str) -> None:
    """Skip the test, or fail where everything is required."""
    if os.environ.get("KEYTURN_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def _adopt_where(home: Home, mounts: str) -> tuple[int, str, list[str]]:
    """Adopt in a home with such mounts. Return the exit code, the line for the user, and the files
    afterwards."""
    _root_with_namespaces()
    home.back_to("vault")
    before = [home.root / name for name in ("config.before", "credentials.before")]
    shutil.copy(home.config, before[0])
    shutil.copy(home.credentials, before[1])
    top = str(Path(__file__).resolve().parents[3])
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
    """The full disk of an ordinary user."""
    home.back_to("delivered")
    home.config.write_bytes(CONFIG + b"\n" + b"# long\n" * 1000)
    before = home.config.read_bytes()
    edit = file_writers.writer(file_writers._edit_config)

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
        assert perform(file_writers._init, home).code == 0
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
    _refused_at_once(home)


def _refused_at_once(home: Home) -> str:
    """Assert that it is refused in one line within less than a second of processor time, which a busy machine
    does not change."""

    def timed(of: Home) -> int:
        begun = time.process_time()
        code = file_writers.writer(file_writers._edit_credentials)(of)
        return code if time.process_time() - begun < 1 else 99

    done = perform(timed, home)
    assert done.code == 5, done
    assert done.complaint() is None
    assert str(home.credentials) in done.stderr
    assert home.leftovers() == []
    return done.stderr


def test_a_chain_of_links_out_of_the_home_is_followed_and_stays(home: Home) -> None:
    home.back_to("vault")
    outside = home.root / "outside"
    outside.mkdir(mode=0o700)
    home.credentials.rename(outside / "aws")
    (home.person / "middle").symlink_to("../outside/aws")
    home.credentials.symlink_to("../middle")
    try:
        assert perform(ADOPT, home).code == 0
        assert home.credentials.readlink() == Path("../middle")
        assert (home.person / "middle").readlink() == Path("../outside/aws")
        assert not (outside / "aws").is_symlink()
        assert SECRET.encode() not in (outside / "aws").read_bytes()
        assert [each.name for each in outside.iterdir()] == ["aws"]
    finally:
        shutil.rmtree(outside)


def test_a_link_that_leads_to_nothing_yet_gets_its_file_and_folder(home: Home) -> None:
    home.back_to("no credentials file")
    home.credentials.symlink_to("../elsewhere/aws")
    assert perform(file_writers.writer(file_writers._make_credentials), home).code == 0
    made = home.person / "elsewhere" / "aws"
    assert home.credentials.is_symlink()
    assert made.read_bytes() == b"[made]\nregion = x\n"
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert stat.S_IMODE(made.parent.stat().st_mode) == 0o700


def test_the_credentials_file_may_be_named_anywhere(home: Home) -> None:
    """`AWS_SHARED_CREDENTIALS_FILE` in another folder: that file is changed, and none is created in
    `~/.aws`."""
    home.back_to("vault")
    other = home.person / "work" / "keys.ini"
    other.parent.mkdir(mode=0o700)
    home.credentials.rename(other)

    def elsewhere(of: Home) -> int:
        os.environ["AWS_SHARED_CREDENTIALS_FILE"] = str(other)
        return ADOPT(of)

    assert perform(elsewhere, home).code == 0
    assert SECRET.encode() not in other.read_bytes()
    assert not home.credentials.exists()


@pytest.mark.parametrize("which", ["file", "folder"])
def test_what_belongs_to_somebody_else_is_refused_at_once(home: Home, which: str) -> None:
    if os.geteuid() != 0:
        needs_root("only root can give a file to another user")
    home.back_to("delivered")
    before = home.credentials.read_bytes()
    os.chown(home.credentials if which == "file" else home.aws, OTHER, OTHER)
    assert "belongs to another user" in _refused_at_once(home)
    assert home.credentials.read_bytes() == before


def test_attributes_and_access_lists_of_the_file_are_kept(home: Home) -> None:
    home.back_to("vault")
    # Version 2: the owner reads and writes, user 65534 reads, group and others nothing, as setfacl writes it.
    entries = ((1, 6, -1), (2, 4, OTHER), (4, 0, -1), (16, 4, -1), (32, 0, -1))
    access = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    try:
        os.setxattr(home.config, "user.keyturn", b"kept")
        os.setxattr(home.config, "system.posix_acl_access", access)
    except OSError as error:
        pytest.skip(f"no such attributes on this file system: {error.strerror}")
    assert perform(ADOPT, home).code == 0
    assert os.getxattr(home.config, "user.keyturn") == b"kept"
    assert os.getxattr(home.config, "system.posix_acl_access") == access


def test_names_that_another_user_planted_in_a_shared_folder_are_not_written_through(home: Home) -> None:
    """Nothing is written in a folder that others may write to; in a private one, a taken name is left
    alone."""
    home.back_to("delivered")
    victim = home.root / "victim"
    victim.write_bytes(b"untouched")
    planted = home.aws / f".keyturn-{os.getpid()}-0000000000000000.tmp"
    planted.symlink_to(victim)
    home.aws.chmod(0o1777)
    if os.geteuid() == 0:
        os.lchown(planted, OTHER, OTHER)
    assert "writable by others" in _refused_at_once_with(home, planted)
    home.aws.chmod(0o700)

    def guessed(of: Home) -> int:
        (of.aws / f".keyturn-{os.getpid()}-known.tmp").symlink_to(victim)
        atomic_replace.secrets.token_hex = lambda _: "known"  # type: ignore[attr-defined]  # of a module, in a child
        return file_writers.writer(file_writers._edit_credentials)(of)

    done = perform(guessed, home)
    assert done.code == 1, done
    assert done.complaint() is None
    assert victim.read_bytes() == b"untouched"
    victim.unlink()


def _refused_at_once_with(home: Home, planted: Path) -> str:
    done = perform(file_writers.writer(file_writers._edit_credentials), home)
    assert (done.code, done.complaint()) == (5, None), done
    assert planted.is_symlink()
    return done.stderr


@pytest.mark.parametrize(
    "act",
    [act for act in (*file_writers.VERBS, *file_writers.WRITERS) if act.name in PRIVATE],
    ids=lambda act: act.name,
)
def test_files_are_private_from_the_moment_they_are_made(home: Home, act: file_writers.Act) -> None:
    """strace shows the mode of each file and folder at its creation, under a umask that removes no bits."""
    needs("strace")
    home.back_to(act.stage)

    def bare(of: Home) -> int:
        os.umask(0)
        return act.run(of)

    made = []
    for call in strace_runs.calls(bare, home):
        if call.ours and call.name in ("open", "openat") and "O_CREAT" in call.line:
            made.append(call)
            assert ", 0600) " in call.line, call.line
        elif call.ours and call.name in ("mkdir", "mkdirat"):
            made.append(call)
            assert ", 0700) " in call.line, call.line
        elif call.ours and call.name in ("chmod", "fchmod", "fchmodat"):
            assert re.search(r", 0[67]00\)", call.line), call.line
    assert len(made) >= 2
