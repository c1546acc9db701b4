"""Fixtures of the agent and the vault that the storage tests need too."""

from __future__ import annotations

from tests.core.agent.conftest import folder
from tests.core.vault.conftest import keyring, sample

__all__ = ["folder", "keyring", "sample"]
