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

from keyturn.system import shared_file
from tests.resilience.crash_injection import file_writers, strace_runs
from tests.resilience.crash_injection.crash_home import CONFIG, CREDENTIALS, SECRET, Home
from tests.resilience.crash_injection.traced_child import run_in_child
from tests.support.needs import needs, skip_or_fail

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
NAMESPACE_PROGRAM = """
import os, subprocess, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from keyturn.model.secret import Secret
from tests.resilience.crash_injection import file_writers
from tests.resilience.crash_injection.traced_child import run_in_child
from tests.resilience.crash_injection.crash_home import Home
home = Home(Path(sys.argv[2]), Secret(sys.stdin.readline().strip()))
subprocess.run(["mount", "--make-rprivate", "/"], check=True)
subprocess.run(["sh", "-euc", sys.argv[3]], check=True)
done = run_in_child(file_writers.verb("adopt", "dev", "--yes"), home)
sys.stderr.write(done.stderr)
print(home.config.read_bytes() == Path(sys.argv[4]).read_bytes())
print(home.credentials.read_bytes() == Path(sys.argv[5]).read_bytes())
print(",".join(home.leftovers()))
sys.exit(99 if done.code is None else done.code)
"""


def _root_with_namespaces() -> None:
    needs("unshare")
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode != 0:
        skip_or_fail("only root can mount")


def _adopt_with_mounts(home: Home, mounts: str) -> tuple[int, str, list[str]]:
    """Adopt in a home with such mounts. Return the exit code, the line for the user, and the files
    afterwards."""
    _root_with_namespaces()
    home.restore_stage("vault")
    before = [home.root / name for name in ("config.before", "credentials.before")]
    shutil.copy(home.config, before[0])
    shutil.copy(home.credentials, before[1])
    top = str(Path(__file__).resolve().parents[3])
    words = [sys.executable, "-c", NAMESPACE_PROGRAM, top, str(home.root), mounts, *map(str, before)]
    outcome = subprocess.run(
        ["unshare", "-m", *words],
        input=home.recovery_key.reveal() + "\n",
        text=True,
        capture_output=True,
        check=False,
    )
    lines = [line for line in outcome.stderr.splitlines() if line.startswith("keyturn: ")]
    assert "Traceback" not in outcome.stderr, outcome.stderr
    assert len(lines) == 1, outcome.stderr
    return outcome.returncode, lines[0], outcome.stdout.splitlines()


def test_a_file_that_is_mounted_by_itself_is_refused_with_what_to_do(home: Home) -> None:
    file = home.credentials
    code, line, there = _adopt_with_mounts(home, f"mount --bind {file} {file}")
    assert code == 5
    assert str(file) in line
    assert "mounted as a single file" in line
    assert "Mount its folder" in line
    assert there[:2] == ["True", "True"]


def test_a_read_only_folder_is_refused_and_nothing_is_changed(home: Home) -> None:
    code, line, there = _adopt_with_mounts(
        home, f"mount --bind {home.aws} {home.aws}; mount -o remount,ro,bind {home.aws}"
    )
    assert code == 5
    assert "read-only file system" in line
    assert there[:2] == ["True", "True"]


def test_a_full_disk_leaves_the_old_files(home: Home) -> None:
    """A file system of 64 KiB that is full to the last byte."""
    fill = (
        f"cp -a {home.aws} {home.root}/moved; mount -t tmpfs -o size=64k,mode=700 none {home.aws}; "
        f"cp -a {home.root}/moved/. {home.aws}; rm -r {home.root}/moved; "
        f"cat /dev/zero >{home.aws}/filler || true"
    )
    code, line, there = _adopt_with_mounts(home, fill + " 2>/dev/null")
    assert code == 1
    assert "No space left on device" in line
    assert there[:2] == ["True", "True"]


def test_a_file_size_limit_leaves_the_old_file(home: Home) -> None:
    """The full disk of an ordinary user."""
    home.restore_stage("delivered")
    home.config.write_bytes(CONFIG + b"\n" + b"# long\n" * 1000)
    before = home.config.read_bytes()
    edit = file_writers.writer(file_writers._edit_config)

    def limited(of: Home) -> int:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        return edit(of)

    outcome = run_in_child(limited, home)
    assert outcome.code == 1, outcome
    assert outcome.complaint() is None
    assert "File too large" in outcome.stderr
    assert home.config.read_bytes() == before
    assert home.leftovers() == []
    assert run_in_child(edit, home).code == 0


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_nothing_is_wider_than_it_was_whatever_the_umask(home: Home, umask: int) -> None:
    home.restore_stage("new")
    (home.aws / "config").chmod(0o644)
    before = os.umask(umask)
    try:
        assert run_in_child(file_writers._init, home).code == 0
    finally:
        os.umask(before)
    for path in home.own.rglob("*"):
        mode = stat.S_IMODE(path.lstat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), (path, oct(mode))


def test_a_second_name_of_the_file_keeps_the_old_contents(home: Home) -> None:
    """A hard link cannot be followed: the file is replaced, and the other name is not written through."""
    home.restore_stage("vault")
    other = home.person / "second name"
    other.hardlink_to(home.credentials)
    assert run_in_child(ADOPT, home).code == 0
    assert other.read_bytes() == CREDENTIALS
    assert SECRET.encode() not in home.credentials.read_bytes()


def test_the_files_may_lie_elsewhere_behind_relative_links(home: Home) -> None:
    home.restore_stage("vault")
    dotfiles = home.person / "dotfiles"
    dotfiles.mkdir(mode=0o700)
    home.credentials.rename(dotfiles / "aws")
    home.credentials.symlink_to("../dotfiles/aws")
    assert run_in_child(ADOPT, home).code == 0
    assert home.credentials.is_symlink()
    assert SECRET.encode() not in (dotfiles / "aws").read_bytes()


@pytest.mark.parametrize("what", ["loop", "fifo", "folder", "null"])
def test_what_is_no_file_is_refused_at_once(home: Home, what: str) -> None:
    home.restore_stage("delivered")
    home.credentials.unlink()
    if what == "loop":
        home.credentials.symlink_to(home.credentials)
    elif what == "fifo":
        os.mkfifo(home.credentials)
    elif what == "folder":
        home.credentials.mkdir()
    else:
        home.credentials.symlink_to("/dev/null")
    _check_refused(home)


def _check_refused(home: Home) -> str:
    """Assert that it is refused in one line within less than a second of processor time, which a busy machine
    does not change."""

    def timed(of: Home) -> int:
        start = time.process_time()
        code = file_writers.writer(file_writers._edit_credentials)(of)
        return code if time.process_time() - start < 1 else 99

    outcome = run_in_child(timed, home)
    assert outcome.code == 5, outcome
    assert outcome.complaint() is None
    assert str(home.credentials) in outcome.stderr
    assert home.leftovers() == []
    return outcome.stderr


def test_a_chain_of_links_out_of_the_home_is_followed_and_stays(home: Home) -> None:
    home.restore_stage("vault")
    outside = home.root / "outside"
    outside.mkdir(mode=0o700)
    home.credentials.rename(outside / "aws")
    (home.person / "middle").symlink_to("../outside/aws")
    home.credentials.symlink_to("../middle")
    try:
        assert run_in_child(ADOPT, home).code == 0
        assert home.credentials.readlink() == Path("../middle")
        assert (home.person / "middle").readlink() == Path("../outside/aws")
        assert not (outside / "aws").is_symlink()
        assert SECRET.encode() not in (outside / "aws").read_bytes()
        assert [each.name for each in outside.iterdir()] == ["aws"]
    finally:
        shutil.rmtree(outside)


def test_a_link_that_leads_to_nothing_yet_gets_its_file_and_folder(home: Home) -> None:
    home.restore_stage("no credentials file")
    home.credentials.symlink_to("../elsewhere/aws")
    assert run_in_child(file_writers.writer(file_writers._make_credentials), home).code == 0
    created = home.person / "elsewhere" / "aws"
    assert home.credentials.is_symlink()
    assert created.read_bytes() == b"[made]\nregion = x\n"
    assert stat.S_IMODE(created.stat().st_mode) == 0o600
    assert stat.S_IMODE(created.parent.stat().st_mode) == 0o700


def test_the_credentials_file_may_be_named_anywhere(home: Home) -> None:
    """`AWS_SHARED_CREDENTIALS_FILE` in another folder: that file is changed, and none is created in
    `~/.aws`."""
    home.restore_stage("vault")
    other = home.person / "work" / "keys.ini"
    other.parent.mkdir(mode=0o700)
    home.credentials.rename(other)

    def elsewhere(of: Home) -> int:
        os.environ["AWS_SHARED_CREDENTIALS_FILE"] = str(other)
        return ADOPT(of)

    assert run_in_child(elsewhere, home).code == 0
    assert SECRET.encode() not in other.read_bytes()
    assert not home.credentials.exists()


@pytest.mark.parametrize("which", ["file", "folder"])
def test_what_belongs_to_somebody_else_is_refused_at_once(home: Home, which: str) -> None:
    if os.geteuid() != 0:
        skip_or_fail("only root can give a file to another user")
    home.restore_stage("delivered")
    before = home.credentials.read_bytes()
    os.chown(home.credentials if which == "file" else home.aws, OTHER, OTHER)
    assert "belongs to another user" in _check_refused(home)
    assert home.credentials.read_bytes() == before


def test_attributes_and_access_lists_of_the_file_are_kept(home: Home) -> None:
    home.restore_stage("vault")
    # Version 2: the owner reads and writes, user 65534 reads, group and others nothing, as setfacl writes it.
    entries = ((1, 6, -1), (2, 4, OTHER), (4, 0, -1), (16, 4, -1), (32, 0, -1))
    access = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    try:
        os.setxattr(home.config, "user.keyturn", b"kept")
        os.setxattr(home.config, "system.posix_acl_access", access)
    except OSError as error:
        pytest.skip(f"no such attributes on this file system: {error.strerror}")
    assert run_in_child(ADOPT, home).code == 0
    assert os.getxattr(home.config, "user.keyturn") == b"kept"
    assert os.getxattr(home.config, "system.posix_acl_access") == access


def test_names_that_another_user_planted_in_a_shared_folder_are_not_written_through(home: Home) -> None:
    """Nothing is written in a folder that others may write to; in a private one, a taken name is left
    alone."""
    home.restore_stage("delivered")
    victim = home.root / "victim"
    victim.write_bytes(b"untouched")
    planted = home.aws / f".keyturn-{os.getpid()}-0000000000000000.tmp"
    planted.symlink_to(victim)
    home.aws.chmod(0o1777)
    if os.geteuid() == 0:
        os.lchown(planted, OTHER, OTHER)
    assert "everybody may write" in _check_refused_with(home, planted)
    home.aws.chmod(0o700)

    def guessed(of: Home) -> int:
        (of.aws / f".keyturn-{os.getpid()}-known.tmp").symlink_to(victim)
        shared_file.secrets.token_hex = lambda _: "known"  # type: ignore[attr-defined]  # of a module, in a child
        return file_writers.writer(file_writers._edit_credentials)(of)

    outcome = run_in_child(guessed, home)
    assert outcome.code == 1, outcome
    assert outcome.complaint() is None
    assert victim.read_bytes() == b"untouched"
    victim.unlink()


def _check_refused_with(home: Home, planted: Path) -> str:
    outcome = run_in_child(file_writers.writer(file_writers._edit_credentials), home)
    assert (outcome.code, outcome.complaint()) == (5, None), outcome
    assert planted.is_symlink()
    return outcome.stderr


@pytest.mark.parametrize(
    "operation",
    [operation for operation in (*file_writers.VERBS, *file_writers.WRITERS) if operation.name in PRIVATE],
    ids=lambda operation: operation.name,
)
def test_files_are_private_from_the_moment_they_are_made(
    home: Home, operation: file_writers.Operation
) -> None:
    """strace shows the mode of each file and folder at its creation, under a umask that removes no bits."""
    needs("strace")
    home.restore_stage(operation.stage)

    def bare(of: Home) -> int:
        os.umask(0)
        return operation.run(of)

    created = []
    for call in strace_runs.calls(bare, home):
        if call.is_of_user and call.name in ("open", "openat") and "O_CREAT" in call.line:
            created.append(call)
            assert ", 0600) " in call.line, call.line
        elif call.is_of_user and call.name in ("mkdir", "mkdirat"):
            created.append(call)
            assert ", 0700) " in call.line, call.line
        elif call.is_of_user and call.name in ("chmod", "fchmod", "fchmodat"):
            assert re.search(r", 0[67]00\)", call.line), call.line
    assert len(created) >= 2
