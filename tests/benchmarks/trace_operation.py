"""Print how much of keyturn three operations touch: modules, files read, documents parsed, locks.

    .venv/bin/python -m tests.benchmarks.trace_operation [--verbose] [--json]

Each operation runs in this process, in a sandbox with an open vault, by a service that has read nothing yet,
as a new process would be:

- `refresh`: a new session for the role `ci-release`, written to the credentials file;
- `adopt`: `ci-deploy` with the two roles that depend on it, three profiles; the plan is made before and does
  not count;
- `credential-process`: the document of `ci-release`, whose session is cached.

The figures count calls and are the same on every machine, because no file has just changed when an operation
begins: a writer reads a shared file that has just changed several times, and the stat values of the index
prove that it is unchanged only two seconds after its last change. For the same reason the index counts as
current for a minute instead of a second, so that a slow machine does not read it again.

- **main line**: modules that a reader of the operation passes through. A module is on it if a function of it,
  entered by the operation, calls another module of keyturn; `keyturn.model` and `keyturn.system` are left
  out. So parsers, formats and tables of values, which call nothing else, do not count.
- **whole readings**: how often both shared AWS files were loaded together (`loader.read_files`). Then how
  often each file was opened for reading, by the writer and by botocore too, which reads both once to choose a
  credential provider.
- **index.json**: how often it was opened for reading, besides the changes, each of which reads it under its
  lock (see locks). A reading does not open it while its stat values prove that it is unchanged.
- **documents parsed**: calls of `parser.parse`.
- **locks**: each `flock` taken, by kind.

At 9485f66, before operations were made to read less, a refresh has 38 modules on its main line, 6 whole
readings, 16 readings of the index (13, and 3 changes) and 15 documents; an adoption of three profiles parses
48."""
# ruff: noqa: T201 - a program, and this is its answer

from __future__ import annotations

import argparse
import fcntl
import inspect
import json
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType

import keyturn
import keyturn_tui
from keyturn.awsconfig import loader, parser
from keyturn.model.profile import Delivery
from keyturn.model.secret import Secret
from keyturn.service import CredentialService
from keyturn.storage import index
from keyturn.system.file_fingerprint import TIMESTAMP_STEP
from keyturn.vault import passphrase
from keyturn_sandbox import Sandbox
from tests.core.vault import weak_age

ROLE = "ci-release"
ADOPTED = ("ci-deploy", "ci-release", "ci-audit")
#: When the shared files were last changed, in seconds since 1970.
LONG_AGO = 1_700_000_000.0
#: Packages whose modules are left out of the main line.
VALUES = ("keyturn.model.", "keyturn.system.")
FILES = ("config", "credentials", "profiles.toml", "index.json")
_FOLDERS = {
    str(Path(package.__path__[0]).resolve()) + os.sep: package.__name__ for package in (keyturn, keyturn_tui)
}


@dataclass
class Trace:
    """The figures of one operation."""

    name: str
    modules: set[str] = field(default_factory=set)
    """Every module entered."""
    main_line: set[str] = field(default_factory=set)
    """The modules entered that called another one."""
    whole_readings: int = 0
    documents: int = 0
    opened: Counter[str] = field(default_factory=Counter)
    """Openings for reading, by file."""
    locks: Counter[str] = field(default_factory=Counter)
    """Locks taken, by kind."""

    def readings(self, file: str) -> int:
        """Return how often a file was opened for reading, without the changes of the index, each of which
        takes its lock."""
        return self.opened[file] - (self.locks[file] if file == "index.json" else 0)

    def figures(self) -> dict[str, object]:
        """Return the figures as JSON can have them."""
        return {
            "operation": self.name,
            "main_line": len(self.main_line),
            "modules": len(self.modules),
            "whole_readings": self.whole_readings,
            "documents": self.documents,
            **{file: self.readings(file) for file in FILES},
            "locks": dict(sorted(self.locks.items())),
        }


class Tracer:
    """Records calls, openings and locks of one operation at a time.

    :param files: the files to watch, by the name they get in the figures.
    :param locks_dir: the folder of keyturn's own lock files.
    """

    def __init__(self, files: dict[str, Path], locks_dir: Path) -> None:
        self._files = {str(path): name for name, path in files.items()}
        self._locks_dir = locks_dir
        self._modules: dict[CodeType, str | None] = {}
        self._trace: Trace | None = None
        sys.addaudithook(self._audit)

    @contextmanager
    def record(self, name: str) -> Iterator[Trace]:
        """Record what this thread and the threads that it starts do inside the block."""
        trace = self._trace = Trace(name)
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)
        try:
            yield trace
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
            self._trace = None

    def _profile(self, frame: FrameType, event: str, _: object) -> None:
        trace = self._trace
        if event != "call" or trace is None:
            return
        module = self._module(frame.f_code)
        if module is None:
            return
        trace.modules.add(module)
        trace.whole_readings += frame.f_code is loader.read_files.__code__
        trace.documents += frame.f_code is parser.parse.__code__
        caller = self._module(frame.f_back.f_code) if frame.f_back is not None else None
        if caller not in (None, module) and not f"{caller}.".startswith(VALUES):
            trace.main_line.add(str(caller))

    def _module(self, code: CodeType) -> str | None:
        """Return the keyturn module of a function's code; None for other code, and for bodies of modules and
        classes, because those run when a module is imported."""
        if code not in self._modules:
            self._modules[code] = _module_of(code)
        return self._modules[code]

    def _audit(self, event: str, args: tuple[object, ...]) -> None:
        trace = self._trace
        if trace is None:
            return
        if event == "open":
            path, _, flags = args
            name = self._files.get(os.fsdecode(path)) if isinstance(path, str | bytes) else None
            if name is not None and isinstance(flags, int) and flags & os.O_ACCMODE == os.O_RDONLY:
                trace.opened[name] += 1
        elif event == "fcntl.flock":
            descriptor, operation = args
            if isinstance(operation, int) and not operation & fcntl.LOCK_UN:
                trace.locks[self._kind(Path(f"/proc/self/fd/{descriptor}").readlink())] += 1

    def _kind(self, lock: Path) -> str:
        """Return the kind of a lock, told by the place and name of its file."""
        if lock.parent != self._locks_dir:
            return lock.parent.name if lock.name == "lock" else lock.name.strip(".").removesuffix(".lock")
        if lock.suffix == ".lock":
            return "shared file"
        return "state" if lock.name == "acts" else lock.name.split("-")[0]


def _module_of(code: CodeType) -> str | None:
    if not code.co_flags & inspect.CO_OPTIMIZED:
        return None
    for folder, package in _FOLDERS.items():
        if code.co_filename.startswith(folder):
            path = Path(code.co_filename.removeprefix(folder)).with_suffix("")
            return ".".join((package, *(part for part in path.parts if part != "__init__")))
    return None


def trace_operations() -> list[Trace]:
    """Run the three operations in a sandbox of their own and return their figures.

    Replaces this process's environment, because boto3 looks at it.
    """
    passphrase.seal = weak_age.seal
    index.REUSE_SECONDS = 60.0
    with tempfile.TemporaryDirectory() as folder, Sandbox(Path(folder).resolve() / "sandbox") as sandbox:
        os.environ.clear()
        os.environ.update(sandbox.environ)
        service = CredentialService.from_environ(sandbox.environ, use_agent=False)
        recovery_key = service.create_vault("passphrase", Secret("three small words"))
        paths = service.paths
        files = {
            "config": paths.aws_config,
            "credentials": paths.aws_credentials,
            "profiles.toml": paths.profiles_file,
            "index.json": paths.index_file,
        }
        tracer = Tracer(files, paths.locks_dir)

        def fresh() -> CredentialService:
            service = CredentialService.from_environ(sandbox.environ, use_agent=False)
            service.unlock_here(recovery_key=recovery_key)
            return service

        def traced(name: str, operation: Callable[[], object]) -> Trace:
            for path in paths.shared_files():
                os.utime(path, (LONG_AGO, LONG_AGO))
            time.sleep(TIMESTAMP_STEP.total_seconds() + 0.1)
            with tracer.record(name) as trace:
                operation()
            return trace

        service = fresh()
        plan = service.plan_adopt(ADOPTED)
        adopt = traced("adopt", lambda: service.adopt(plan))
        fresh().deliver(ROLE, Delivery.CREDENTIALS_FILE)
        service = fresh()
        refresh = traced("refresh", lambda: service.refresh(ROLE))
        service = fresh()
        document = traced("credential-process", lambda: service.credential_process(ROLE))
    return [refresh, adopt, document]


def main(words: list[str] | None = None) -> int:
    """Trace the operations and print their figures."""
    options_of = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options_of.add_argument("--verbose", action="store_true", help="name the modules")
    options_of.add_argument("--json", action="store_true", help="print one JSON list")
    options = options_of.parse_args(words)
    traces = trace_operations()
    if options.json:
        print(json.dumps([trace.figures() for trace in traces], indent=2))
        return 0
    for trace in traces:
        print(*_lines(trace, verbose=options.verbose), sep="\n")
    return 0


def _lines(trace: Trace, *, verbose: bool) -> Iterator[str]:
    """Yield the lines of one operation."""
    yield trace.name
    yield f"  modules on the main line  {len(trace.main_line)} (of {len(trace.modules)} entered)"
    yield f"  whole readings of the shared files  {trace.whole_readings}"
    for file in FILES:
        yield f"  {file} read  {trace.readings(file)}"
    yield f"  documents parsed  {trace.documents}"
    yield "  locks  " + (
        ", ".join(f"{kind} {count}" for kind, count in sorted(trace.locks.items())) or "none"
    )
    if verbose:
        yield "  main line:"
        yield from (f"    {module}" for module in sorted(trace.main_line))
        yield "  also entered:"
        yield from (f"    {module}" for module in sorted(trace.modules - trace.main_line))


if __name__ == "__main__":
    sys.exit(main())
