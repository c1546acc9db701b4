"""Ordinary users of this machine, with an installation of keyturn that they can read but not change."""

from __future__ import annotations

import importlib.metadata
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import keyturn
import keyturn_sandbox
import keyturn_tui
from tests.end_to_end.person import readable
from tests.support.needs import needs

#: User ids without a name, which the kernel does not require. No other process may use them, also when
#: several of these tests run at once, because the tests count the processes of a user. They are below 65536,
#: because a container may have none beyond.
ALICE = 20_000 + os.getpid() % 20_000 * 2
BOB = ALICE + 1
_LEFT_OUT = {"cryptography", "cffi", "pycparser", "secretstorage", "keyturn"}
_SERVICES = {"sts", "iam"}
_SECONDS = 60.0


@dataclass(frozen=True)
class Installation:
    """A folder that everybody may read: a virtual environment of the system's Python with keyturn in it."""

    folder: Path

    @property
    def python(self) -> str:
        return str(self.folder / "bin" / "python")

    @property
    def keyturn(self) -> str:
        return str(self.folder / "bin" / "keyturn")


def install(folder: Path, python: str) -> Installation:
    """Copy the installed packages to `folder`.

    :param python: an interpreter that everybody may run, of the running version.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / version / "site-packages"
    packages.mkdir(parents=True)
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(python)
    (folder / "pyvenv.cfg").write_text(f"home = {Path(python).parent}\n")
    for package in (keyturn, keyturn_sandbox, keyturn_tui):
        source = Path(str(package.__file__)).parent
        shutil.copytree(source, packages / source.name)
    for distribution in _needed("keyturn"):
        _copy(distribution, packages)
    program = folder / "bin" / "keyturn"
    program.write_text(
        f"#!{folder / 'bin' / 'python'}\nimport sys\nfrom keyturn_tui.main import main\nsys.exit(main())\n"
    )
    program.chmod(0o755)
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o444))
    return Installation(folder)


def _needed(name: str, seen: set[str] | None = None) -> Iterator[importlib.metadata.Distribution]:
    """Yield the distributions that `name` needs, directly or indirectly."""
    seen = set() if seen is None else seen
    for asked in importlib.metadata.requires(name) or ():
        found = re.match(r"[A-Za-z0-9._-]+", asked)
        other = re.sub(r"[-_.]+", "-", found[0]).lower() if found else ""
        if "extra ==" in asked or other in seen | _LEFT_OUT:
            continue
        seen.add(other)
        try:
            yield importlib.metadata.distribution(other)
        except importlib.metadata.PackageNotFoundError:
            continue
        yield from _needed(other, seen)


def _copy(distribution: importlib.metadata.Distribution, packages: Path) -> None:
    for file in distribution.files or ():
        parts = file.parts
        is_other_service = parts[:2] == ("botocore", "data") and len(parts) > 3 and parts[2] not in _SERVICES
        if ".." in parts or is_other_service or parts[:2] == ("boto3", "examples"):
            continue
        source, target = Path(str(file.locate())), packages.joinpath(*parts)
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def common_python() -> str | None:
    """Return a Python of this version that an ordinary user can run."""
    twice = (
        "import subprocess, sys; print(sys.version_info[:2], flush=True); "
        "sys.exit(subprocess.call([sys.executable, '-V']))"
    )
    for python in (str(Path(sys.executable).resolve()), "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            result = subprocess.run(
                [*run_as(ALICE), python, "-I", "-c", twice],
                capture_output=True,
                text=True,
                check=False,
                cwd="/",
            )
        except OSError:
            continue
        if result.returncode == 0 and result.stdout.startswith(str(sys.version_info[:2])):
            return str(Path(python).resolve())
    return None


def run_as(uid: int) -> list[str]:
    """Return the command prefix that runs a program as `uid` without any privilege of root."""
    return [
        needs("setpriv"), f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs",
        "--bounding-set=-all",
        "--inh-caps=-all",
    ]  # fmt: skip


@dataclass
class User:
    """An ordinary user with a home that others may enter, as Debian creates them."""

    uid: int
    installation: Installation
    home: Path
    environ: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.home.mkdir(mode=0o755)
        self.home.chmod(0o755)
        os.chown(self.home, self.uid, self.uid)
        self.environ = {
            "HOME": str(self.home), "PATH": f"{self.installation.folder / 'bin'}:{os.defpath}",
            "LANG": "C.UTF-8", "TERM": "xterm-256color", "AWS_EC2_METADATA_DISABLED": "true",
        }  # fmt: skip

    def run(
        self, *words: str, fds: Mapping[str, str] | None = None, extra: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as this user; options that take a descriptor get the given text to read from it."""
        with readable(fds or {}) as (options, opened):
            return subprocess.run(
                [*run_as(self.uid), *words, *options], env={**self.environ, **(extra or {})},
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS, pass_fds=opened,
                check=False, cwd="/", umask=0o022,
            )  # fmt: skip

    def exit_code(self, *words: str, fds: Mapping[str, str] | None = None) -> int:
        """Run a program without waiting for its output, which another process may hold open."""
        with readable(fds or {}) as (options, opened):
            return subprocess.run(
                [*run_as(self.uid), *words, *options], env=self.environ, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=_SECONDS, pass_fds=opened,
                check=False, cwd="/", umask=0o022,
            ).returncode  # fmt: skip

    def keyturn(
        self, *words: str, fds: Mapping[str, str] | None = None, extra: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return self.run(self.installation.keyturn, *words, fds=fds, extra=extra)

    def python(self, script: Path, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one of this folder's scripts."""
        reachable = self.installation.folder / script.name
        if not reachable.exists():
            shutil.copy(script, reachable)
            reachable.chmod(0o755)
        return self.run(self.installation.python, "-I", str(reachable), *words)

    def start(self, *words: str, extra: Mapping[str, str] | None = None) -> OnTerminal:
        """Start a program as this user, on a terminal of its own."""
        return OnTerminal([*run_as(self.uid), *words], {**self.environ, **(extra or {})})

    def write_file(self, path: Path, content: str, mode: int = 0o600) -> None:
        """Write a file of this user."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(mode)
        for one in (path, *path.parents):
            if one == self.home:
                break
            os.chown(one, self.uid, self.uid)


class OnTerminal:
    """A program on a pty."""

    def __init__(self, command: list[str], environ: Mapping[str, str]) -> None:
        self.output = b""
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir("/")
            os.execve(command[0], command, dict(environ))  # noqa: S606  # a program of ours

    def wait_for(self, wanted: bytes) -> None:
        """Wait until the program writes the text."""
        end = time.monotonic() + _SECONDS
        while wanted not in self.output:
            assert time.monotonic() < end, (wanted, self.output[-1500:])
            if select.select([self._fd], [], [], 0.1)[0]:
                try:
                    part = os.read(self._fd, 65536)
                except OSError:
                    part = b""
                assert part, self.output[-1500:]
                self.output += part

    def type_keys(self, keys: bytes) -> None:
        os.write(self._fd, keys)

    def close(self) -> None:
        """Close the terminal, which must end the program on it."""
        os.close(self._fd)
        end = time.monotonic() + 10
        while os.waitpid(self.pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise AssertionError("the program outlived its terminal")
            time.sleep(0.02)
