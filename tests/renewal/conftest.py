"""A keeper in this process, and a person at a shell, each with a sandbox of their own."""

from __future__ import annotations

from tests.keeper.conftest import bench
from tests.whole.conftest import newcomer, person

__all__ = ["bench", "newcomer", "person"]
