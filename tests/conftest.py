"""Shared fixtures of all tests: modules of this folder are imported as `tests.NAME`, from the top of the
repository."""

from __future__ import annotations

import functools
import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
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
# session's own loader shares them too.
_parse = JSONFileLoader.load_file
_parse_once = functools.cache(functools.partial(_parse, JSONFileLoader()))


def _load_file(self: JSONFileLoader, file_path: str) -> Any:
    if file_path.endswith("endpoints"):  # botocore writes into that one
        return _parse(self, file_path)
    return _parse_once(file_path)


JSONFileLoader.load_file = _load_file  # type: ignore[method-assign]  # see above


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--canaries", action="store_true", help="look for secrets in all that each test leaves")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--canaries"):
        from tests.adversarial.secret_leaks.pytest_plugin import Canaries

        config.pluginmanager.register(Canaries())


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
