"""A service in this process, and a user at a shell, each with its own sandbox."""

from __future__ import annotations

from tests.core.operations.conftest import bench, writer_timing
from tests.end_to_end.conftest import newcomer, person

__all__ = ["bench", "newcomer", "person", "writer_timing"]
