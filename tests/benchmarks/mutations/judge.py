"""A copy of the tree with an environment of its own, in which mutations are judged by tests."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import time
import tomllib
import venv
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tests.benchmarks.mutations.mutation import Mutation, locate

#: Without I/O, but not in the contract of pyproject.toml.
_PURE = ("keyturn.awsconfig.resolver",)
_CONTRACTS = ("pure modules do no I/O", "the model is pure")
_FAILURE = re.compile(r"^(?:FAILED|ERROR) (\S+?(?:\[.*?\])?)(?: - .*)?$", re.MULTILINE)
_PASSED, _FAILED, _INTERRUPTED = 0, 1, 2
#: One process, without the plugins that these tests do not need: those take most of the start.
_PYTEST_OPTIONS = (
    "-q", "--tb=no", "-rfE", "-o", "addopts=--strict-markers -m 'not campaign'", "-p", "no:cacheprovider",
    "-p", "pytest_asyncio.plugin", "-p", "pytest_timeout", "-p", "_hypothesis_pytestplugin",
)  # fmt: skip


class NotJudged(Exception):
    """The tests did not run."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict of the tests on one mutation."""

    id: str
    area: str
    file: str
    outcome: str
    """`killed`, `survived` or `not judged`."""
    seconds: float
    test: str
    """The test that failed, or the reason why the mutation could not be judged."""

    def checked(self, unsound: Collection[str]) -> Verdict:
        """Return the verdict, withdrawn if its test fails without the mutation too."""
        if self.test not in unsound:
            return self
        return replace(self, outcome="not judged", test=f"{self.test} fails without the mutation too")

    def table(self) -> dict[str, Any]:
        """Return the verdict as a JSON table."""
        return asdict(self)


@dataclass
class Tree:
    """A copy of the repository, or of one of its revisions, in a folder of its own."""

    root: Path
    _running: subprocess.Popen[str] | None = None

    def fill(self, repository: Path, revision: str | None) -> None:
        """Copy the files that git knows or does not ignore, or those of a revision, and make the environment.

        :raises LookupError: if git does not know the revision.
        """
        self.root.mkdir()
        if revision is None:
            listed = _git(repository, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
            for name in filter(None, listed.decode().split("\0")):
                if (repository / name).is_file():
                    (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(repository / name, self.root / name)
        else:
            archive = _git(repository, "archive", "--format=tar", "--end-of-options", revision)
            with tarfile.open(fileobj=io.BytesIO(archive)) as files:
                files.extractall(self.root, filter="data")
        self._make_environment()

    @property
    def python(self) -> Path:
        """Return the interpreter that imports the packages of this tree."""
        return self.root / ".venv" / "bin" / "python"

    def _make_environment(self) -> None:
        """Make an environment that finds this tree first, then the packages of the running interpreter.

        By a path file, because some tests start programs without PYTHONPATH.
        """
        environment = self.root / ".venv"
        venv.create(environment, symlinks=True)
        installed = sysconfig.get_path("purelib")
        site = Path(sysconfig.get_path("purelib", vars={"base": str(environment)}))
        lines = (str(self.root / "core"), str(self.root / "tui"), installed)
        (site / "mutations.pth").write_text("".join(f"{line}\n" for line in lines))
        scripts = Path(sys.executable).parent
        for script in scripts.iterdir():
            if script.is_file() and not script.is_symlink():
                first, separator, rest = script.read_bytes().partition(b"\n")
                if first.startswith(b"#!" + bytes(scripts)):
                    self._write_script(script.name, separator + rest)
        for name, entry in self._project()["scripts"].items():
            module, _, function = entry.partition(":")
            code = f"\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n"
            self._write_script(name, code.encode())

    def _write_script(self, name: str, code: bytes) -> None:
        script = self.python.with_name(name)
        script.write_bytes(b"#!" + bytes(self.python) + code)
        script.chmod(0o755)

    def _project(self) -> dict[str, Any]:
        table: dict[str, Any] = tomllib.loads((self.root / "pyproject.toml").read_text("utf-8"))
        return {**table["tool"], **table["project"]}

    def pure_modules(self) -> tuple[str, ...]:
        """Return the modules and packages that do no I/O, as pyproject.toml names them."""
        contracts = self._project()["importlinter"]["contracts"]
        pure = [
            name
            for contract in contracts
            if contract["name"] in _CONTRACTS
            for name in contract["source_modules"]
        ]
        return (*pure, *_PURE)

    def module(self, file: Path) -> str:
        """Return the name of a module of the core."""
        return ".".join(file.relative_to(self.root / "core").with_suffix("").parts)

    def quick_stages(self, stages: Sequence[Sequence[str]]) -> list[list[str]]:
        """Return the quick tests of the core: those of each stage of an area, then all.

        :raises LookupError: if this tree has no quick tests.
        """
        try:
            lines = (self.root / ".ci" / "quick-tests").read_text("utf-8").splitlines()
        except FileNotFoundError:
            raise LookupError("this revision has no .ci/quick-tests") from None
        quick = [line for line in lines if line.startswith("tests/core/")]
        left_out = [f"--ignore={line[1:]}" for line in lines if line.startswith("!tests/core/")]
        near = [
            [max(path, other, key=len) for path in stage for other in quick if _overlap(path, other)]
            for stage in stages
        ]
        return [[*paths, *left_out] for paths in (*near, quick) if paths]

    def judge(self, mutation: Mutation, file: Path, stages: Sequence[Sequence[str]], limit: int) -> Verdict:
        """Run the stages one after the other with the mutation applied, until a test fails."""
        started = time.monotonic()
        target = self.root / file
        original = target.read_text("utf-8")
        try:
            _write(target, locate(mutation, self.root).mutated_file(mutation))
            self._require_imported(target)
            test = self.first_failure(stages, limit)
            outcome = "survived" if test is None else "killed"
        except NotJudged as error:
            outcome, test = "not judged", str(error)
        finally:
            _write(target, original)
        seconds = round(time.monotonic() - started, 1)
        return Verdict(mutation.id, mutation.area, str(file), outcome, seconds, test or "")

    def first_failure(self, stages: Sequence[Sequence[str]], limit: int) -> str | None:
        """Run the stages one after the other. Return the first test that fails, or None if all pass.

        :raises NotJudged: if the tests did not run.
        """
        return next(filter(None, (self._failure(stage, limit) for stage in stages)), None)

    def failures(self, tests: Collection[str], limit: int) -> set[str]:
        """Return the tests that fail as the tree is now; all of them if they did not run to an end."""
        if not tests:
            return set()
        status, output = self._pytest(sorted(tests), limit * len(tests))
        return set(_FAILURE.findall(output)) if status in (_PASSED, _FAILED) else set(tests)

    def _require_imported(self, file: Path) -> None:
        module = self.module(file)
        code = f"import importlib.util; print(importlib.util.find_spec({module!r}).origin)"
        found = subprocess.run(
            [self.python, "-c", code], cwd=self.root, capture_output=True, text=True, check=False
        )
        if found.stdout.strip() != str(file):
            raise NotJudged(f"{module} is imported from {found.stdout.strip() or 'nowhere'}")

    def _failure(self, paths: Sequence[str], limit: int) -> str | None:
        """Return the first test that fails, or None if all pass."""
        status, output = self._pytest(["-x", *paths], limit)
        if status is None:
            return f"time limit of {limit} s in {paths[0]}"
        if status in (_FAILED, _INTERRUPTED):
            found = _FAILURE.search(output)
            return found[1] if found else _last_line(output)
        if status != _PASSED:
            raise NotJudged(f"pytest {' '.join(paths)} ends with {status}: {_last_line(output)}")
        return None

    def _pytest(self, words: Sequence[str], limit: int | None) -> tuple[int | None, str]:
        """Return pytest's exit status, None after the time limit, and its output."""
        command = [str(self.python), "-m", "pytest", *_PYTEST_OPTIONS, *words]
        environment = {
            **os.environ,
            "VIRTUAL_ENV": str(self.root / ".venv"),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }
        with subprocess.Popen(
            command, cwd=self.root, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
        ) as self._running:  # fmt: skip
            try:
                output, _ = self._running.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                self.stop()
                return None, ""
        return self._running.returncode, output

    def stop(self) -> None:
        """End the tests that run in this tree, with the programs that they started."""
        if self._running is not None and self._running.poll() is None:
            os.killpg(self._running.pid, signal.SIGKILL)


def _overlap(one: str, other: str) -> bool:
    return Path(one).is_relative_to(other) or Path(other).is_relative_to(one)


def _last_line(output: str) -> str:
    return output.strip().rpartition("\n")[2]


def _write(file: Path, source: str) -> None:
    """Write a module with a new time, because Python uses compiled code of the same time and size."""
    before = file.stat().st_mtime
    file.write_text(source, "utf-8")
    os.utime(file, (before + 2, before + 2))


def _git(repository: Path, *words: str) -> bytes:
    found = subprocess.run(["git", "-C", str(repository), *words], capture_output=True, check=False)
    if found.returncode:
        raise LookupError(found.stderr.decode(errors="replace").strip().partition("\n")[0])
    return found.stdout
