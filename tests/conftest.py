"""Shared fixtures of all tests: modules of this folder are imported as `tests.NAME`, from the top of the
repository."""

from __future__ import annotations

import functools
import gc
import inspect
import json
import marshal
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore import hooks
from botocore.loaders import JSONFileLoader
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# The same examples each time, so that only a change makes a test fail; HYPOTHESIS_PROFILE=wild draws new
# ones.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("wild", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


# Rare collections, because thousands of screens and service models live in one process here.
gc.set_threshold(100_000, 50, 1000)
# Each botocore session parses the models of AWS's services anew; here a process parses each file once. A
# session's own loader shares them too. Names and signatures of handlers are read the quick way.
_parse_once = functools.cache(functools.partial(JSONFileLoader.load_file, JSONFileLoader()))
_marshal_once = functools.cache(
    lambda file_path: marshal.dumps(json.loads(json.dumps(_parse_once(file_path))))
)


def _load_file(self: JSONFileLoader, file_path: str) -> Any:
    del self
    if file_path.endswith("endpoints"):  # botocore writes into that one
        return marshal.loads(_marshal_once(file_path))  # noqa: S302  # written in this process
    return _parse_once(file_path)


def _accepts_kwargs(handler: Any) -> bool:
    """Return True if a handler takes any keyword, without reading its whole signature. A cache of the
    answers would keep the handlers' clients alive."""
    code = getattr(getattr(handler, "__func__", handler), "__code__", None)
    return bool(code.co_flags & inspect.CO_VARKEYWORDS) if code else bool(_read_signature(handler))


_read_signature = hooks.accepts_kwargs
JSONFileLoader.load_file = _load_file  # type: ignore[method-assign]  # see above
hooks.accepts_kwargs = _accepts_kwargs  # type: ignore[assignment]  # its stub is that of getfullargspec
_aliaser: Any = hooks.EventAliaser
_alias_once = functools.cache(_aliaser(hooks.HierarchicalEmitter())._alias_event_name)
_aliaser._alias_event_name = lambda _self, event_name: _alias_once(event_name)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--canaries", action="store_true", help="look for secrets in all that each test leaves")


#: Tests that run programs and wait for them, the longest files first. They start first, so that the many
#: short tests fill the gaps and no worker ends long after the others.
SLOW = (
    "end_to_end/test_main_job.py",
    "tui/test_app_bytes.py",
    "adversarial",
    "end_to_end",
    "core/delivery/endpoint",
    "core/operations/credentials",
    "core/operations/rotation/test_rotation_verb.py",
    "resilience",
    "core/cli",
    "core/agent",
    "core/operations/test_operations_concurrent.py",
    "core/operations/test_deliver.py",
    "core/vault",
    "core/providers",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow files first."""
    folder = Path(__file__).parent
    ranks: dict[Path, int] = {}

    def rank(item: pytest.Item) -> int:
        if item.path not in ranks:
            parents = {item.path, *item.path.parents}
            places = (place for place, name in enumerate(SLOW) if folder / name in parents)
            ranks[item.path] = next(places, len(SLOW))
        return ranks[item.path]

    items.sort(key=rank)


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--canaries"):
        from tests.adversarial.secret_leaks.pytest_plugin import Canaries

        config.pluginmanager.register(Canaries())


def pytest_sessionfinish() -> None:
    """Collect once. pytest would do so five times, a second each, in every worker."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures that campaigns report by `record_property`, under one heading, from all workers."""
    figures = [
        f"{name}: {value}"
        for report in terminalreporter.getreports("passed")
        for name, value in getattr(report, "user_properties", ())
    ]
    if figures:
        terminalreporter.section("figures")
        for line in sorted(figures):
            terminalreporter.write_line(line)


@pytest.fixture
def no_group_write() -> Iterator[None]:
    """Create the files of a test without group write, also under a umask of 002, because keyturn refuses to
    write a shared file that a group may write."""
    before = os.umask(0o077)
    os.umask(before | 0o020)
    yield
    os.umask(before)


@pytest.fixture
def unignored() -> Iterator[None]:
    """Reset ignored signals that programs would inherit, because a shell's background job ignores INT and
    QUIT."""
    ignored = [number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN]
    changed = [number for number in ignored if number not in (signal.SIGPIPE, signal.SIGXFSZ)]
    for number in changed:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number in changed:
        signal.signal(number, signal.SIG_IGN)
