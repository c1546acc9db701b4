"""A person at a shell, with a sandbox and an open vault, for a whole module."""

from __future__ import annotations

from tests.whole.conftest import person

__all__ = ["person"]
