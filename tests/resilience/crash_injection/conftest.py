"""A prepared home, made once per test file."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.resilience.crash_injection import file_writers
from tests.resilience.crash_injection.crash_home import Home


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    """Return a home with every stage, in memory if the machine has room, because each run restores all
    files."""
    memory = Path("/dev/shm")  # noqa: S108  # a private folder is created in it
    where = memory if os.access(memory, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="keyturn-faults-", dir=where))
    try:
        yield file_writers.prepared_home(folder)
    finally:
        # An operation that the app started may still finish in its thread.
        for _ in range(100):
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                break
            time.sleep(0.05)
