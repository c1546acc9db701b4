"""The damage that the foreign writers of the race do to a file by themselves, in every order of their steps.
This is the baseline for the races beside keyturn, not a promise of keyturn."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations_with_replacement
from pathlib import Path
from typing import IO, Any

import pytest
from awscli.customizations.configure import writer

from keyturn.awsconfig.document import parse
from keyturn.model.errors import UnparsableFile
from tests.resilience.concurrency import programs
from tests.resilience.concurrency.parallel_processes import OLD

Number = Callable[[str, object], None]


def slow_script(path: Path) -> Iterator[None]:
    """Read, truncate on opening, write: three steps."""
    new = programs.with_line(path.read_bytes(), 1)
    yield
    if new is None:
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
    yield
    os.write(descriptor, new)
    os.close(descriptor)


def configure_set(path: Path, profile: str, before: Callable[[], None]) -> None:
    """Run `aws configure set` by the AWS CLI's own code, with `before` in front of each time it opens or
    fills the file."""

    @contextmanager
    def open_with_step(name: Any, mode: str) -> Iterator[IO[Any]]:
        before()
        with Path(name).open(mode) as file:
            yield file
            before()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "open", open_with_step, raising=False)
        writer.ConfigFileWriter().update_config({"__section__": f"profile {profile}", "c_1": "x"}, str(path))


def run_in_order(path: Path, data: bytes, profile: str, gaps: Sequence[int]) -> int:
    """Run both on one file, each step of the script in the given gap of the AWS CLI. Return the number of
    gaps."""
    path.write_bytes(data)
    steps, gap = slow_script(path), 0

    def before() -> None:
        nonlocal gap
        for _ in range(gaps.count(gap)):
            next(steps, None)
        gap += 1

    configure_set(path, profile, before)
    for _ in steps:
        pass
    return gap


def is_broken(path: Path) -> bool:
    """Return True if AWS tools refuse the file or an earlier profile is missing."""
    data = path.read_bytes()
    try:
        parse(data)
    except UnparsableFile:
        return True
    return not data.startswith(OLD)


def orders(path: Path, data: bytes, profile: str) -> tuple[int, int]:
    """Return the number of orders of the steps, and of those that break the file."""
    max_gaps = run_in_order(path, data, profile, ()) + 1
    broken_orders = []
    for gaps in combinations_with_replacement(range(max_gaps), 3):
        run_in_order(path, data, profile, gaps)
        broken_orders.append(is_broken(path))
    return len(broken_orders), sum(broken_orders)


def test_the_aws_cli_and_a_slow_script_break_a_file_by_themselves(
    tmp_path: Path, record_property: Number
) -> None:
    """The AWS CLI finds an empty file and appends a section whose name exists again at once."""
    data = OLD + b"[profile cli]\nc_0 = x\n[foreign]\n"
    count, broken_count = orders(tmp_path / "config", data, "cli")
    record_property("races: control, orders of the AWS CLI and a slow script alone", count)
    record_property("races: control, of these leave a broken file", broken_count)
    assert 0 < broken_count < count
    again = re.compile(rb"(?m)^\[profile cli\]$")
    worst = 0
    for gaps in combinations_with_replacement(range(5), 3):
        run_in_order(tmp_path / "config", data, "cli", gaps)
        worst = max(worst, len(again.findall((tmp_path / "config").read_bytes())))
    assert worst == 2


def test_with_a_new_profile_each_time_they_never_do(tmp_path: Path, record_property: Number) -> None:
    """The AWS CLI then appends, and no two sections can have one name."""
    count, broken_count = orders(tmp_path / "config", OLD + b"[foreign]\n", "new")
    record_property("races: control, orders of the two with new profiles alone", count)
    assert count > 30
    assert broken_count == 0
