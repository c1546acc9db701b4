"""A keeper in this process, and a person at a shell, each with a sandbox of their own."""

from __future__ import annotations

from tests.core.operations.conftest import bench
from tests.end_to_end.conftest import newcomer, person

__all__ = ["bench", "newcomer", "person"]
