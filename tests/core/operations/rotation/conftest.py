"""A user at a shell with a sandbox and an open vault, per module; and one in this process, per test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.operations.rotation.rotation_home import Home
from tests.end_to_end.conftest import person

__all__ = ["person"]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)
