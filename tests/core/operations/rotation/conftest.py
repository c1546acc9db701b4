"""A person at a shell, with a sandbox and an open vault, for a whole module; and one in this process, for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.operations.rotation.rotation_home import Home
from tests.end_to_end.conftest import person

__all__ = ["person"]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)
