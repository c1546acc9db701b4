"""Any next start completes the work of a killed process: the app does it by itself where no agent runs."""

from __future__ import annotations

import asyncio

import pytest

from keyturn.service import CredentialService
from keyturn.system import temp_files
from keyturn_tui.app import KeyturnApp
from keyturn_tui.terminal.capabilities import Options, terminal_for
from tests.resilience.crash_injection.crash_home import Home


async def test_the_app_withdraws_what_has_ended_and_takes_temporary_files_away(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session was delivered at the fixed time of these tests, which is long past on the machine's own
    clock."""
    home.restore_stage("delivered")
    assert b"ASIA" in home.credentials.read_bytes()
    left = home.aws / ".keyturn-4194305-0123456789abcdef.tmp"
    left.write_bytes(b"[dev]\n")
    monkeypatch.setattr(temp_files, "MIN_AGE_SECONDS", -1.0)
    terminal = terminal_for({"LANG": "C.UTF-8", "TERM": "xterm-256color"}, Options())
    app = KeyturnApp(CredentialService.from_environ(home.environ, use_agent=False), Options(), terminal)
    async with app.run_test(size=(120, 36)) as pilot:
        async with asyncio.timeout(30):
            while b"ASIA" in home.credentials.read_bytes() or left.exists():
                await pilot.pause(0.05)
        assert {entry.profile.name for entry in app.state.catalog.entries} >= {"dev", "ops", "other"}
    assert b"[other]" in home.credentials.read_bytes()
