"""The vault's identification, the effect of its loss, and its move to a second home, through the service as
the verbs do it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from keyturn.cli import prompts
from keyturn.cli import vault as verbs
from keyturn.model.errors import FileBusy, KeyringAbsent, UsageError, VaultCorrupt, VaultError, VaultNewer
from keyturn.model.profile import VaultState
from keyturn.model.secret import Secret
from keyturn.service import CredentialService
from keyturn.vault import age, files, passphrase, slots
from tests.core.vault import weak_age
from tests.core.vault.conftest import PASSPHRASE
from tests.core.vault.vault_user import Home, contents


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setattr(passphrase, "seal", weak_age.seal)
    return Home(tmp_path / "home").set_up()


def _replace_recipient(home: Home) -> str:
    """Replace the recipient with knowledge of the format, so that later files get another identity."""
    current = files.read_recipient_file(home.vault)
    assert current is not None
    theirs = age.Identity.generate().recipient
    forged = files.RecipientFile(theirs, current.vault_id, current.slots, current.digests)
    (home.vault / files.RECIPIENT_FILE).write_bytes(forged.encode())
    return theirs


# Identification of the vault.


def test_nothing_is_sealed_to_a_recipient_that_somebody_put_in_place_of_ours(home: Home) -> None:
    _replace_recipient(home)
    service = home.new_service()
    with pytest.raises(VaultCorrupt, match="another identity"):
        service.context.vault.seal(b"a credentials file with a key in clear")
    with pytest.raises(VaultCorrupt, match="another identity"):
        service.unlock_here(Secret(PASSPHRASE))
    fault = service.vault_error()
    assert isinstance(fault, VaultCorrupt)
    assert "--recovery-key-fd" in fault.hint


def test_the_recovery_key_brings_our_recipient_back_as_the_error_says(home: Home) -> None:
    theirs = _replace_recipient(home)
    notes = home.new_service().restore_vault(recovery_key=home.recovery_key)
    assert "intact" in notes[0]
    vault = home.new_service().context.vault
    assert vault.recipient() == age.identity_from(home.recovery_key).recipient != theirs
    assert home.new_service().vault_error() is None
    home.new_service().unlock_here(Secret(PASSPHRASE))


def test_a_vault_from_before_this_was_remembered_is_remembered_once_it_was_open(home: Home) -> None:
    index = home.new_service().context.index
    index.path.unlink()
    home.new_service().unlock_here(Secret(PASSPHRASE))
    assert index.load().vault_recipient == age.identity_from(home.recovery_key).recipient


def test_what_is_remembered_of_a_vault_that_was_removed_is_nothing_to_the_next(home: Home) -> None:
    for _ in range(5):
        home.unlocked_service().context.vault.change_keys(
            lambda entries: entries.update(more={"n": len(entries)})
        )
    shutil.rmtree(home.vault)
    home.recovery_key = home.new_service().create_vault("passphrase", Secret("another"), anew=True)
    assert home.unlocked_service().context.vault.generation() == 1
    home.new_service().unlock_here(Secret("another"))


def test_an_old_copy_of_the_keys_is_noticed_by_the_index(home: Home) -> None:
    old = (home.vault / "keys.age").read_bytes()
    home.unlocked_service().context.vault.change_keys(lambda entries: entries.update(new={}))
    home.unlocked_service()
    (home.vault / "keys.age").write_bytes(old)
    with pytest.raises(VaultCorrupt, match="old copy"):
        home.unlocked_service()


# Effects of a loss.


def test_restoring_says_what_was_brought_back_and_what_is_lost(home: Home) -> None:
    """The last change stored the key of `ci`, and that generation is damaged."""
    keys = home.vault / "keys.age"
    keys.write_bytes(keys.read_bytes()[:-1])
    with pytest.raises(VaultCorrupt, match="keyturn vault restore"):
        home.unlocked_service()
    notes = " ".join(home.new_service().restore_vault(Secret(PASSPHRASE)))
    assert "Restored generation 1 from" in notes
    assert "keys.damaged-1.age" in notes
    assert "Lost: 1 change" in notes
    assert "the key of ci" in notes
    assert home.unlocked_service().context.vault.generation() == 3


def test_restoring_by_the_recovery_key_keeps_the_slots_that_are_whole(home: Home) -> None:
    (home.vault / "keys.age").unlink()
    before = (home.vault / files.RECIPIENT_FILE).read_bytes()
    home.new_service().restore_vault(recovery_key=home.recovery_key)
    assert (home.vault / files.RECIPIENT_FILE).read_bytes() == before
    home.new_service().unlock_here(Secret(PASSPHRASE))


def test_restoring_without_the_passphrase_s_file_says_that_only_the_recovery_key_is_left(home: Home) -> None:
    (home.vault / "identity.age").write_bytes(b"damaged")
    notes = home.new_service().restore_vault(recovery_key=home.recovery_key)
    assert "reset-passphrase" in notes[-1]
    home.new_service().context.vault.reset_passphrase(home.recovery_key, Secret("new"))
    home.new_service().unlock_here(Secret("new"))


def test_a_restore_whose_generation_cannot_be_recorded_says_so(home: Home) -> None:
    service = home.new_service()

    def refuse(_: object) -> None:
        raise FileBusy("Could not write index.json", "another keyturn process has held the lock", "")

    service.context.index.change = refuse  # type: ignore[assignment,method-assign]  # the lock of another process
    with pytest.raises(FileBusy):
        service.restore_vault(recovery_key=home.recovery_key)


def test_a_newer_index_does_not_prevent_a_restore(home: Home) -> None:
    service = home.new_service()
    service.paths.index_file.write_bytes(b'{"version": 2}')
    assert "intact" in service.restore_vault(recovery_key=home.recovery_key)[0]
    assert service.paths.index_file.read_bytes() == b'{"version": 2}'


def test_a_later_keyturn_s_vault_is_named_as_such_and_not_restored(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    current = files.read_recipient_file(home.vault)
    assert current is not None
    with monkeypatch.context() as patch:
        patch.setattr(files, "RECIPIENT_FORMAT", 2)
        (home.vault / files.RECIPIENT_FILE).write_bytes(current.encode())
    before = contents(home.vault)
    assert isinstance(home.new_service().vault_error(), VaultNewer)
    operations: tuple[Callable[[CredentialService], object], ...] = (
        lambda service: service.restore_vault(recovery_key=home.recovery_key),
        lambda service: service.restore_vault(Secret(PASSPHRASE)),
        lambda service: service.unlock_here(recovery_key=home.recovery_key),
        lambda service: service.context.vault.seal(b"x"),
    )
    for operation in operations:
        with pytest.raises(VaultNewer, match="Upgrade"):
            operation(home.new_service())
    assert contents(home.vault) == before


# Limits for a hostile file.


def test_a_header_without_end_is_refused_at_once(home: Home) -> None:
    """The library's time would grow with the square of the header's length, while it holds the interpreter
    lock."""
    whole = (home.vault / "keys.age").read_bytes()
    long = whole.replace(b"\n---", b"\n-> x-grease " + b"A" * 8_000_000 + b"\n\n---", 1)
    (home.vault / "keys.age").write_bytes(long)
    with pytest.raises(VaultCorrupt):
        home.unlocked_service()
    with pytest.raises(VaultError):
        home.new_service().restore_vault(Secret("wrong"))


@pytest.mark.parametrize("plant", [os.mkfifo, Path.mkdir])
def test_an_export_that_is_no_file_is_refused_at_once(tmp_path: Path, plant: Callable[[Path], None]) -> None:
    plant(tmp_path / "export.age")
    with pytest.raises(UsageError, match="not a regular file"):
        verbs._read_export(tmp_path / "export.age")


def test_an_export_without_end_is_read_up_to_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verbs, "EXPORT_LIMIT", 1000)
    (tmp_path / "export.age").write_bytes(bytes(5000))
    assert len(verbs._read_export(tmp_path / "export.age")) == 1001


# A keyring that does not open the vault.


def test_where_the_keyring_does_not_open_it_the_passphrase_is_asked_for(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    current = files.read_recipient_file(home.vault)
    assert current is not None
    files.write_recipient_file(home.vault, replace(current, slots=slots.SLOTS))
    service = home.new_service()
    assert service.context.vault.state() is VaultState.CLOSED
    with pytest.raises(KeyringAbsent):
        prompts.VaultUnlocker(service).unlock_by_keyring()
    monkeypatch.setattr(prompts, "on_terminal", lambda: True)
    monkeypatch.setattr(prompts, "ask_secret", lambda _prompt: Secret(PASSPHRASE))
    prompts.VaultUnlocker(service).unlock_by_keyring()
    assert service.context.vault.state() is VaultState.OPEN
    assert "System keyring" in capsys.readouterr().err
