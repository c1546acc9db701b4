"""Of the modules whose tests run many commands each, CI takes the first test; the campaign takes all."""

from __future__ import annotations

from pathlib import Path

import pytest

#: Modules that take minutes together.
LONG = {
    "test_login_states.py",
    "test_mfa_role.py",
    "test_one_code.py",
    "test_parallel_acts.py",
    "test_process_helpers.py",
    "test_line_quotes.py",
    "test_refused_hop.py",
    "test_renewal_told.py",
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of the long modules but the first one of each."""
    seen: set[Path] = set()
    for item in items:
        if item.path.parent == Path(__file__).parent and item.path.name in LONG:
            if item.path in seen:
                item.add_marker(pytest.mark.campaign)
            seen.add(item.path)
