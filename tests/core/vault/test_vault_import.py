"""A second home: an import brings the keys and the definitions, or nothing, and can be repeated."""

from __future__ import annotations

import errno
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from keyturn.model.errors import FileBusy, KeyturnError, UnparsableFile, VaultCorrupt, VaultExists, VaultNewer
from keyturn.model.profile import VaultState
from keyturn.model.secret import Secret
from keyturn.operations import context
from keyturn.storage import managed_profiles
from keyturn.system import files
from keyturn.vault import age, create, documents, passphrase
from keyturn.vault.documents import Document
from tests.core.vault import weak_age
from tests.core.vault.vault_user import JOURNEY, KEY, PROFILES, Home, contents


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setattr(passphrase, "seal", weak_age.seal)
    return Home(tmp_path / "home").set_up()


@pytest.fixture
def second(home: Home, tmp_path: Path) -> Home:
    other = Home(tmp_path / "second")
    other.recovery_key = home.recovery_key
    return other


def undelivered(names: str) -> str:
    """Return the import says of profiles whose line is not in the shared files of that home."""
    command = "keyturn deliver NAME --to credential-process"
    return f"AWS clients here do not resolve {names} yet. For each, run: {command}"


def test_a_second_home_has_the_keys_and_the_definitions(home: Home, second: Home) -> None:
    exported = home.unlocked_service().export_vault(JOURNEY)
    notes = second.new_service().import_vault(exported, JOURNEY, "passphrase", Secret("second"))
    assert notes == ("Imported managed profiles: ci, prod.", undelivered("ci, prod"))
    assert managed_profiles.load(second.profiles) == managed_profiles.load(home.profiles)
    second.new_service().unlock_here(Secret("second"))
    assert second.unlocked_service().context.vault.key("key/ci") == KEY
    rows = {row.name: row for row in second.new_service().snapshot().profiles}
    assert rows["ci"].managed
    assert rows["prod"].managed


def test_a_definition_that_is_here_already_stays_and_is_named(home: Home, second: Home) -> None:
    second.profiles.parent.mkdir(parents=True)
    second.profiles.write_bytes(
        PROFILES.replace(b"role/prod", b"role/mine").replace(b"profiles.ci", b"profiles.cd")
    )
    exported = home.unlocked_service().export_vault(JOURNEY)
    notes = second.new_service().import_vault(exported, JOURNEY, "passphrase", Secret("second"))
    assert notes == (
        "Imported managed profiles: ci.",
        "Not imported, because they are already defined differently: prod.",
        undelivered("ci"),
    )
    table = managed_profiles.load(second.profiles)
    assert sorted(table) == ["cd", "ci", "prod"]
    assert table["prod"].role_arn == "arn:aws:iam::123456789012:role/mine"


def test_nothing_is_imported_beside_definitions_that_cannot_be_read(home: Home, second: Home) -> None:
    second.profiles.parent.mkdir(parents=True)
    second.profiles.write_bytes(b"[[[")
    exported = home.unlocked_service().export_vault(JOURNEY)
    with pytest.raises(UnparsableFile):
        second.new_service().import_vault(exported, JOURNEY, "passphrase", Secret("second"))
    assert second.new_service().context.vault.state() is VaultState.ABSENT
    assert second.profiles.read_bytes() == b"[[["


def test_an_export_from_before_definitions_were_in_it_is_taken(home: Home, second: Home) -> None:
    identity = age.identity_from(home.recovery_key)
    exported = create.write_export(identity, Document(documents.KEYS, 7, {"key/ci": KEY}), None, JOURNEY)
    assert second.new_service().import_vault(exported, JOURNEY, "passphrase", Secret("second")) == ()
    assert not second.profiles.exists()
    assert second.unlocked_service().context.vault.generation() == 7


def test_an_import_over_another_vault_changes_nothing(home: Home, second: Home) -> None:
    exported = home.unlocked_service().export_vault(JOURNEY)
    second.set_up()
    before, index = contents(second.vault), second.new_service().context.index.load()
    second.profiles.write_bytes(b"version = 1\n")
    with pytest.raises(VaultExists, match="another vault"):
        second.new_service().import_vault(exported, JOURNEY, "passphrase", Secret("x"))
    assert contents(second.vault) == before
    assert second.new_service().context.index.load() == index
    assert second.profiles.read_bytes() == b"version = 1\n"


def test_an_import_over_the_same_vault_brings_definitions_and_no_keys(home: Home) -> None:
    exported = home.unlocked_service().export_vault(JOURNEY)
    home.unlocked_service().context.vault.change_keys(lambda entries: entries.pop("key/ci") and None)
    before, index = contents(home.vault), home.unlocked_service().context.index.load()
    home.profiles.write_bytes(PROFILES.split(b"[profiles.prod]")[0])
    notes = home.new_service().import_vault(exported, JOURNEY, "passphrase", None)
    assert notes == ("Imported managed profiles: prod.", undelivered("prod"))
    assert contents(home.vault) == before
    assert home.new_service().context.index.load() == replace(index, recovery_key_seen=True)
    home.profiles.unlink()
    notes = home.new_service().import_vault(exported, JOURNEY, "passphrase", None)
    assert notes[1:] == ("Missing from the vault: the key of ci.", undelivered("ci, prod"))


def test_an_import_beside_another_operation_makes_nothing(
    home: Home, second: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = home.unlocked_service().export_vault(JOURNEY)
    monkeypatch.setattr(context, "STATE_LOCK_SECONDS", 0.0)
    with second.new_service().context.state_lock(), pytest.raises(FileBusy):
        second.new_service().import_vault(exported, JOURNEY, "passphrase", Secret("second"))
    assert not second.vault.exists()
    assert second.new_service().import_vault(exported, JOURNEY, "passphrase", Secret("second"))


@pytest.mark.parametrize("refused", ["profiles.toml", "index.json"])
def test_an_import_that_the_disk_ended_half_way_can_be_done_again(
    home: Home, second: Home, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    exported = home.unlocked_service().export_vault(JOURNEY)
    real = files.replace

    def full(path: Path, content: bytes) -> None:
        if path.name == refused and second.vault.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(files, "replace", full)
        with pytest.raises(KeyturnError, match="No space left on device"):
            second.new_service().import_vault(exported, JOURNEY, "passphrase", Secret("second"))
    notes = second.new_service().import_vault(exported, JOURNEY, "passphrase", None)
    assert notes == ("Imported managed profiles: ci, prod.", undelivered("ci, prod"))
    assert managed_profiles.load(second.profiles) == managed_profiles.load(home.profiles)
    second.new_service().unlock_here(Secret("second"))
    assert second.unlocked_service().context.vault.key("key/ci") == KEY


_IDENTITY = "AGE-SECRET-KEY-1"
_START = b'{"version":1,"kind":"export","generation":'
HOSTILE_EXPORTS = {
    "empty": b"",
    "no object": b"[]",
    "keys in its place": b'{"version":1,"kind":"keys","generation":1,"entries":{}}',
    "no identity": b'{"version":1,"kind":"export","generation":1,"entries":{},"identity":"AGE-SECRET-KEY-1"}',
    "identity of a wrong type": b'{"version":1,"kind":"export","generation":1,"entries":{},"identity":{}}',
    "definitions of a wrong type": _START + b'1,"entries":{},"identity":"ID","definitions":[]}',
    "entries of a wrong type": _START + b'1,"entries":{"key/ci":"x"},"identity":"ID"}',
    "a generation without end": _START + b"9" * 4000 + b',"entries":{},"identity":"ID"}',
    "a number that Python refuses": _START + b"9" * 9000 + b"}",
    "a version of a wrong type": _START.replace(b"1", b'"1"') + b'1,"entries":{},"identity":"ID"}',
    "deep": b"[" * 50_000,
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE_EXPORTS)
def test_a_hostile_export_is_one_error_and_leaves_nothing(home: Home, second: Home, case: str) -> None:
    plain = HOSTILE_EXPORTS[case].replace(b'"ID"', f'"{home.recovery_key.reveal()}"'.encode())
    exported = weak_age.seal(plain, JOURNEY, "")
    with pytest.raises(VaultCorrupt) as excinfo:
        second.new_service().import_vault(exported, JOURNEY, "passphrase", Secret("second"))
    assert "vault export" in excinfo.value.hint
    assert second.new_service().context.vault.state() is VaultState.ABSENT
    assert not second.vault.exists()


def test_definitions_in_an_export_that_are_none_are_said_and_the_keys_are_there(
    home: Home, second: Home
) -> None:
    identity = age.identity_from(home.recovery_key)
    for carried in ("[[[", "version = 99\n", "\ud800", 'version = 1\n[profiles.x]\nkind = "sso-role"\n'):
        shutil.rmtree(second.new_service().paths.home, ignore_errors=True)
        exported = create.write_export(
            identity, Document(documents.KEYS, 1, {"key/ci": KEY}), carried, JOURNEY
        )
        notes = second.new_service().import_vault(exported, JOURNEY, "passphrase", Secret("second"))
        assert "the managed profiles were not" in notes[0]
        assert not second.profiles.exists()
        assert second.unlocked_service().context.vault.key("key/ci") == KEY


def test_a_later_export_is_refused_without_making_anything(second: Home) -> None:
    exported = weak_age.seal(b'{"version":2,"kind":"export","new":"ways"}', JOURNEY, "")
    with pytest.raises(VaultNewer, match="Upgrade"):
        second.new_service().import_vault(exported, JOURNEY, "passphrase", Secret("second"))
    assert not second.vault.exists()


def test_an_export_waits_for_definitions_that_can_be_read(home: Home) -> None:
    service = home.unlocked_service()
    home.profiles.write_bytes(b"\xff")
    with pytest.raises(KeyturnError):
        service.export_vault(JOURNEY)
