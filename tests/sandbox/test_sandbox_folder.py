"""The folder and the process: private, removed at the end, cleaned up after a kill, and joined by a shell."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from keyturn.system.clock import clock_for, system_clock
from keyturn_sandbox import Sandbox
from keyturn_sandbox.folder import PREFIX, clear_leftovers
from tests.support.needs import needs

PLAIN = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "KEYTURN_"))}


class Program:
    """`python -m keyturn_sandbox ...`, started and ready. SIGHUP ends it, even under nohup."""

    def __init__(self, *words: str, **environ: str) -> None:
        self.process = subprocess.Popen(
            ["env", "--default-signal=HUP", sys.executable, "-m", "keyturn_sandbox", *words],
            env=PLAIN | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.lines: list[str] = []
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.startswith("#"):
                break

    @property
    def environ(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.lines if "=" in line and not line.startswith("#"))

    @property
    def folder(self) -> Path:
        return Path(self.environ["KEYTURN_SANDBOX"])

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        _, error = self.process.communicate(timeout=20)
        assert error == ""
        return self.process.returncode


def test_everything_in_it_is_private(seeded: Sandbox) -> None:
    assert stat.S_IMODE(seeded.folder.stat().st_mode) == 0o700
    for path in (seeded.home, seeded.home / ".aws", seeded.folder / "keyturn"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for path in seeded.folder.rglob("*"):
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_new_folder_is_removed_and_a_given_one_emptied(tmp_path: Path) -> None:
    with Sandbox(tmp_path / "new") as sandbox:
        assert (sandbox.home / ".aws" / "config").is_file()
    assert not (tmp_path / "new").exists()
    given = tmp_path / "given"
    given.mkdir(mode=0o755)
    with Sandbox(given, seed=False):
        assert stat.S_IMODE(given.stat().st_mode) == 0o700
    assert list(given.iterdir()) == []


def test_a_folder_with_anything_in_it_is_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    with pytest.raises(FileExistsError, match="is not empty"):
        Sandbox(tmp_path).start()
    assert precious.read_text() == "mine"


def test_a_taken_port_leaves_nothing_behind(seeded: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="in use"):
        Sandbox(tmp_path / "new", port=seeded.port).start()
    assert not (tmp_path / "new").exists()


def test_the_environment_drops_what_is_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "prod")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("KEYTURN_HOME", "/elsewhere")
    monkeypatch.setenv("NO_PROXY", "intranet")
    with Sandbox(tmp_path / "sb", seed=False) as sandbox:
        environ = sandbox.environ
        assert "AWS_PROFILE" not in environ
        assert "AWS_SECRET_ACCESS_KEY" not in environ
        assert environ["HOME"] == str(sandbox.home)
        assert environ["KEYTURN_HOME"] == str(sandbox.folder / "keyturn")
        assert environ["AWS_ENDPOINT_URL_STS"] == environ["AWS_ENDPOINT_URL_IAM"] == sandbox.url
        assert environ["NO_PROXY"] == "intranet,127.0.0.1,localhost"
        assert not {"AWS_REGION", "AWS_DEFAULT_REGION"} & set(environ)


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh"])
def test_a_shell_joins_by_one_line(seeded: Sandbox, shell: str) -> None:
    needs(shell)
    ran = subprocess.run(
        [shell, "-c", f"{seeded.join_line}; env; command -v aws"],
        env=PLAIN | {"AWS_PROFILE": "prod", "AWS_SECRET_ACCESS_KEY": "x y\nAWS_Z=1", "AWS_SESSION_TOKEN": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    environ = dict(line.split("=", 1) for line in ran.stdout.splitlines() if "=" in line)
    assert not {"AWS_PROFILE", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} & set(environ)
    for name in seeded.environ:
        if name.startswith(("AWS_", "KEYTURN_")):
            assert environ[name] == seeded.environ[name]
    assert environ["HOME"] == PLAIN["HOME"]
    assert ran.stdout.splitlines()[-1] == str(Path(sys.executable).parent / "aws")
    assert ran.stderr == ""


def test_keyturn_in_the_sandbox_lives_by_its_clock(tmp_path: Path) -> None:
    with Sandbox(tmp_path / "sb", seed=False) as sandbox:
        clock = clock_for(sandbox.environ)
        sandbox.move_clock(7200)
        sandbox.move_clock(-60)
        assert abs(clock() - system_clock() - timedelta(seconds=7140)) < timedelta(seconds=2)
        assert abs(clock() - sandbox.now()) < timedelta(seconds=2)


def test_a_fixed_sandbox_is_the_same_each_time(tmp_path: Path) -> None:
    runs = []
    for number in range(2):
        with Sandbox(tmp_path / str(number), fixed=True) as sandbox:
            credentials = (sandbox.home / ".aws" / "credentials").read_text()
            runs.append((credentials, f"{sandbox.now():%Y-%m-%d %H:%M}"))
    assert runs[0] == runs[1]
    assert runs[0][1] == "2026-11-23 14:05"


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """A temporary folder for the programs alone, so that no other sandbox is near."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_alone_it_is_gone_when_told_to_end(temporary: Path, number: int) -> None:
    program = Program("--no-seed", TMPDIR=str(temporary))
    assert program.folder.parent == temporary
    assert program.environ["AWS_ENDPOINT_URL_STS"].startswith("http://127.0.0.1:")
    assert program.lines[-1] == f"# in another shell: . {program.folder}/env"
    assert program.end(number) == 0
    assert list(temporary.iterdir()) == []


def test_what_a_killed_one_left_is_cleared_by_the_next_and_nothing_else(temporary: Path) -> None:
    living = Program("--no-seed", TMPDIR=str(temporary))
    killed = Program("--no-seed", TMPDIR=str(temporary))
    killed.end(signal.SIGKILL)
    no_pid_file = temporary / f"{PREFIX}mine"
    no_pid_file.mkdir(mode=0o700)
    open_to_all = temporary / f"{PREFIX}open"
    shutil.copytree(killed.folder, open_to_all)
    open_to_all.chmod(0o755)
    target = temporary / "target"
    shutil.copytree(killed.folder, target)
    link = temporary / f"{PREFIX}link"
    link.symlink_to(target)
    other_name = temporary / "keyturn"
    shutil.copytree(killed.folder, other_name)
    assert clear_leftovers(temporary) == [killed.folder]
    left = {living.folder, no_pid_file, open_to_all, target, link, other_name}
    assert set(temporary.iterdir()) == left
    living.end()


def test_a_start_clears_what_a_killed_one_left(temporary: Path) -> None:
    killed = Program("--no-seed", TMPDIR=str(temporary))
    killed.end(signal.SIGKILL)
    assert killed.folder.exists()
    following = Program("--no-seed", TMPDIR=str(temporary))
    assert list(temporary.iterdir()) == [following.folder]
    following.end()


def test_a_forked_child_takes_nothing_away(tmp_path: Path) -> None:
    with Sandbox(tmp_path / "sb", seed=False) as sandbox:
        sandbox._owner = os.getpid() + 1
        sandbox.stop()
        assert sandbox.folder.exists()
        sandbox._owner = os.getpid()


def helper(sandbox: Sandbox, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "keyturn_sandbox", *words],
        env=sandbox.environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_person_gets_codes_and_moves_time(tmp_path: Path) -> None:
    with Sandbox(tmp_path / "sb") as sandbox:
        (device,) = sandbox.state.devices()
        assert device.accept(helper(sandbox, "totp", "prod-admin").stdout.strip(), sandbox.now())
        unknown = helper(sandbox, "totp", "nobody")
        assert (unknown.returncode, unknown.stdout) == (3, "")
        assert unknown.stderr.startswith(
            "keyturn_sandbox: totp: MFA device not found: nobody. Available: arn:"
        )
        moved = helper(sandbox, "clock", "+2h")
        assert moved.stdout == "the sandbox's clock is +7200 s from the real one\n"
        assert helper(sandbox, "clock", "--", "-90m").stdout.startswith("the sandbox's clock is +1800 s")
        assert helper(sandbox, "clock", "soon").returncode == 2


def test_without_a_sandbox_the_helpers_say_so() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "keyturn_sandbox", "clock", "+1h"],
        env=PLAIN,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("keyturn_sandbox: No sandbox found: ")
