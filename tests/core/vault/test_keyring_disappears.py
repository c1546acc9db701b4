"""gnome-keyring that disappears, loses or changes its entry: reported correctly, and the vault stays
unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyturn.model.profile import VaultState
from keyturn.vault.vault import Vault
from tests.core.vault.desktop_session import Desktop

PASSWORD = "login password"


@pytest.fixture
def desktop(tmp_path: Path) -> Desktop:
    return Desktop(tmp_path)


def test_an_entry_that_somebody_deleted_is_absent_and_one_that_somebody_changed_is_corrupt(
    desktop: Desktop,
) -> None:
    create, _, changed, _, deleted, again = desktop.session(
        "create,alter-entry,unlock,delete-entry,unlock,second", PASSWORD
    )
    assert create == {"value": "open"}
    assert changed["error"] == "VaultCorrupt"
    assert deleted["error"] == "KeyringAbsent"
    assert "no entry for this vault" in deleted["line"]
    assert "recovery key" in deleted["line"]
    assert again == {"value": "open"}
    assert Vault(desktop.folder / "data" / "vault").state() is VaultState.CLOSED


def test_a_keyring_that_is_gone_is_absent_and_nothing_is_made_on_it(desktop: Desktop) -> None:
    create, _, unlock, second = desktop.session("create,delete-collection,unlock,second", PASSWORD)
    assert create == {"value": "open"}
    for refused in (unlock, second):
        assert refused["error"] == "KeyringAbsent"
        assert "passphrase" in refused["line"]
    assert not (desktop.folder / "data" / "second").exists()
    assert Vault(desktop.folder / "data" / "vault").state() is VaultState.CLOSED


def test_a_daemon_that_was_killed_is_locked_or_absent_and_opens_again_at_the_next_login(
    desktop: Desktop,
) -> None:
    """The bus starts another daemon at the next request, and that one is locked."""
    create, _, unlock, second = desktop.session("create,kill,unlock,second", PASSWORD)
    assert create == {"value": "open"}
    for refused in (unlock, second):
        assert refused["error"] in ("KeyringLocked", "KeyringAbsent")
    assert not (desktop.folder / "data" / "second").exists()
    assert desktop.session("unlock", PASSWORD) == [{"value": {"n": 1}}]
