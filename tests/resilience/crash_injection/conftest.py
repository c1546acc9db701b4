"""A furnished home, made once per file of tests."""

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
    """Somebody at every stage; in memory where the machine has room for that, since each run puts all files back."""
    memory = Path("/dev/shm")  # noqa: S108  # a folder of our own is made in it
    where = memory if os.access(memory, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="keyturn-faults-", dir=where))
    try:
        yield file_writers.furnished(folder)
    finally:
        # A thread of an app that was left may still bring its act to an end.
        for _ in range(100):
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                break
            time.sleep(0.05)
