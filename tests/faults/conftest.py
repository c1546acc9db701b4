"""A furnished home, made once per file of tests."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import acts
from tests.faults.home import Home


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    """Somebody at every stage; in memory where the machine has room for that, since each run puts all files back."""
    memory = Path("/dev/shm")  # noqa: S108  # a folder of our own is made in it
    where = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="keyturn-faults-", dir=where) as folder:
        yield acts.furnished(Path(folder))
