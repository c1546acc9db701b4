"""Damage, swaps and old copies: detected, typed, never overwritten, and repaired by doctor."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keyturn.model.errors import VaultCorrupt, WrongPassphrase
from keyturn.model.profile import VaultState
from keyturn.model.secret import Secret
from keyturn.vault import age
from keyturn.vault.vault import Vault
from tests.core.vault.conftest import PASSPHRASE, SECRET, Sample
from tests.core.vault.vault_user import session_names

Use = Callable[[Sample], object]


def _unlock(sample: Sample) -> object:
    return sample.open_vault()


def _read_key(sample: Sample) -> object:
    return sample.open_vault().key("deploy")


def _change_key(sample: Sample) -> object:
    return sample.open_vault().change_keys(lambda entries: entries.clear())


def _unlock_by_passphrase(sample: Sample) -> object:
    vault = Vault(sample.folder)
    vault.unlock(passphrase=Secret(PASSPHRASE))
    return vault


USES: dict[str, tuple[Use, ...]] = {
    "recipient.txt": (_unlock,),
    "keys.age": (_read_key, _change_key),
    "identity.age": (_unlock_by_passphrase,),
}


def _variants(data: bytes) -> Iterator[bytes]:
    """Yield every single flipped bit, and every truncation."""
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)
    for length in range(len(data)):
        yield data[:length]


def _refuses_all(sample: Sample, file: str, variants: list[bytes]) -> None:
    path = sample.folder / file
    whole = path.read_bytes()
    for variant in variants:
        path.write_bytes(variant)
        for use in USES[file]:
            with pytest.raises(VaultCorrupt) as excinfo:
                use(sample)
            assert excinfo.value.hint
        assert path.read_bytes() == variant
    path.write_bytes(whole)
    assert _read_key(sample) == {"secret": SECRET}


@pytest.mark.parametrize("file", USES)
def test_a_flipped_bit_or_truncation_is_vault_corrupt(guarded: Sample, file: str) -> None:
    """The sample is every 37th variant, so that all bits and all parts of a file are covered."""
    variants = list(_variants((guarded.folder / file).read_bytes()))
    _refuses_all(guarded, file, variants[::37])


@pytest.mark.campaign
@pytest.mark.timeout(600)
@pytest.mark.parametrize("file", USES)
def test_every_flipped_bit_and_truncation_is_vault_corrupt(
    guarded: Sample, file: str, record_property: Callable[[str, object], None]
) -> None:
    variants = list(_variants((guarded.folder / file).read_bytes()))
    _refuses_all(guarded, file, variants)
    record_property("vault: flips and truncations", len(variants))
    record_property("vault: noticed", len(variants))


def _survives_all(sample: Sample, variants: list[bytes]) -> None:
    path = sample.folder / "sessions.age"
    for variant in variants:
        path.write_bytes(variant)
        assert sample.open_vault().session("prod") is None


def test_a_damaged_session_cache_counts_as_empty(sample: Sample) -> None:
    variants = list(_variants((sample.folder / "sessions.age").read_bytes()))
    _survives_all(sample, variants[::37])


@pytest.mark.campaign
@pytest.mark.timeout(600)
def test_every_damage_of_the_session_cache_counts_as_empty(
    sample: Sample, record_property: Callable[[str, object], None]
) -> None:
    variants = list(_variants((sample.folder / "sessions.age").read_bytes()))
    _survives_all(sample, variants)
    record_property("vault: flips and truncations", len(variants))
    record_property("vault: noticed", len(variants))


def test_a_damaged_session_cache_is_moved_aside_at_the_next_write(sample: Sample) -> None:
    (sample.folder / "sessions.age").write_bytes(b"damaged")
    sample.open_vault().change_sessions(lambda entries: entries.update(new={"n": 1}))
    assert session_names(sample.open_vault()) == ("new",)
    assert (sample.folder / "sessions.damaged-1.age").read_bytes() == b"damaged"


@pytest.mark.parametrize("other", ["sessions.age", "recipient.txt"])
def test_a_file_in_the_place_of_another_is_noticed(sample: Sample, other: str) -> None:
    shutil.copy(sample.folder / other, sample.folder / "keys.age")
    with pytest.raises(VaultCorrupt):
        sample.open_vault().key_names()


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"null",
        b'{"version":1}',
        b'{"version":true,"kind":"keys","generation":1,"entries":{}}',
        b'{"version":1,"kind":"keys","generation":0,"entries":{}}',
        b'{"version":1,"kind":"keys","generation":true,"entries":{}}',
        b'{"version":1,"kind":"keys","generation":1,"entries":[]}',
        b'{"version":1,"kind":"keys","generation":1,"entries":{"a":"text"}}',
        b'{"version":1,"kind":"keys","generation":1,"entries":{}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_a_well_sealed_file_that_holds_no_document_is_corrupt(sample: Sample, document: bytes) -> None:
    recipient = age.identity_from(sample.recovery_key).recipient
    (sample.folder / "keys.age").write_bytes(age.seal(document, recipient))
    with pytest.raises(VaultCorrupt) as excinfo:
        sample.open_vault().key_names()
    assert excinfo.value.__cause__ is None
    assert excinfo.value.__context__ is None


def _directory(path: Path) -> None:
    path.mkdir()


def _loop(path: Path) -> None:
    path.symlink_to(path)


def _link_out(path: Path) -> None:
    path.symlink_to("/etc/hostname")


@pytest.mark.parametrize("plant", [os.mkfifo, _directory, _loop, _link_out])
@pytest.mark.parametrize("file", ["keys.age", "recipient.txt", "identity.age"])
def test_what_is_no_regular_file_is_refused_at_once(
    guarded: Sample, file: str, plant: Callable[[Path], None]
) -> None:
    (guarded.folder / file).unlink()
    plant(guarded.folder / file)
    with pytest.raises(VaultCorrupt):
        USES[file][0](guarded)
    assert Vault(guarded.folder).state() is VaultState.BROKEN


def test_a_replaced_recipient_is_noticed_by_every_way_to_unlock(sample: Sample, guarded: Sample) -> None:
    for tampered in (sample, guarded):
        path = tampered.folder / "recipient.txt"
        old = Vault(tampered.folder).recipient()
        _tamper(path, old, age.Identity.generate().recipient)
        with pytest.raises(VaultCorrupt, match="another identity"):
            tampered.open_vault()
    with pytest.raises(VaultCorrupt, match="another identity"):
        Vault(guarded.folder).unlock(passphrase=Secret(PASSPHRASE))


def test_the_keyring_s_entry_must_be_the_identity_of_the_recipient(sample: Sample) -> None:
    assert sample.keyring is not None
    for entry in sample.keyring.entries:
        sample.keyring.entries[entry] = age.Identity.generate().reveal().reveal()
        with pytest.raises(VaultCorrupt, match="another identity"):
            Vault(sample.folder, sample.keyring).unlock()
        sample.keyring.entries[entry] = "garbage"
        with pytest.raises(VaultCorrupt, match="no identity"):
            Vault(sample.folder, sample.keyring).unlock()


def _tamper(path: Path, old: str, new: str) -> None:
    """Change the file with knowledge of the format: the check line fits."""
    from keyturn.vault import files

    current = files.parse_recipient_file(path.read_bytes())
    assert current.recipient == old
    path.write_bytes(files.RecipientFile(new, current.vault_id, current.slots, current.digests).encode())


def test_an_old_copy_is_noticed_by_a_caller_who_knows_better(sample: Sample) -> None:
    old = (sample.folder / "keys.age").read_bytes()
    known = sample.open_vault().change_keys(lambda entries: entries.update(new={}))
    (sample.folder / "keys.age").write_bytes(old)
    vault = Vault(sample.folder, expected_generation=lambda: known)
    vault.unlock(recovery_key=sample.recovery_key)
    with pytest.raises(VaultCorrupt, match="generation 2, but 3"):
        vault.key_names()
    with pytest.raises(VaultCorrupt, match="old copy"):
        vault.change_keys(lambda entries: entries.clear())
    assert (sample.folder / "keys.age").read_bytes() == old


def test_an_old_copy_is_noticed_by_a_process_that_saw_the_newer(sample: Sample) -> None:
    vault = sample.open_vault()
    old = (sample.folder / "keys.age").read_bytes()
    vault.change_keys(lambda entries: entries.update(new={}))
    (sample.folder / "keys.age").write_bytes(old)
    with pytest.raises(VaultCorrupt, match="old copy"):
        vault.key("deploy")


def test_a_sound_vault_is_left_alone_by_restoring(sample: Sample) -> None:
    before = (sample.folder / "keys.age").read_bytes()
    assert sample.open_vault().restore_newest_good() is None
    assert (sample.folder / "keys.age").read_bytes() == before


@pytest.mark.parametrize("bad", [(), ("keys.1.age",), ("keys.1.age", "keys.2.age")])
def test_restoring_brings_the_newest_good_generation_back(sample: Sample, bad: tuple[str, ...]) -> None:
    vault = sample.open_vault()
    for number in range(3):
        vault.change_keys(lambda entries, number=number: entries.update(count={"n": number}))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
    for name in ("keys.age", *bad):
        (sample.folder / name).write_bytes(b"damaged")
    fresh = Vault(sample.folder, expected_generation=lambda: 5)
    fresh.unlock(recovery_key=sample.recovery_key)
    restored = fresh.restore_newest_good()
    assert restored is not None
    assert (restored.origin, restored.generation) == (4 - len(bad), 6)
    assert restored.file == f"keys.{len(bad) + 1}.age"
    assert fresh.generation() == 6
    assert fresh.key("deploy") == {"secret": SECRET}
    assert (sample.folder / "keys.damaged-1.age").read_bytes() == b"damaged"
    assert fresh.change_keys(lambda entries: entries.update(on={})) == 7


def test_restoring_after_a_rollback_goes_on_beyond_what_was_known(sample: Sample) -> None:
    vault = Vault(sample.folder, expected_generation=lambda: 40)
    vault.unlock(recovery_key=sample.recovery_key)
    restored = vault.restore_newest_good()
    assert restored is not None
    assert (restored.origin, restored.generation, restored.file) == (2, 41, "keys.age")
    assert vault.key("deploy") == {"secret": SECRET}


def test_restoring_with_nothing_readable_writes_nothing(sample: Sample) -> None:
    for path in sample.folder.glob("keys*.age"):
        path.write_bytes(b"damaged")
    before = sorted(path.name for path in sample.folder.iterdir())
    with pytest.raises(VaultCorrupt, match="backup"):
        sample.open_vault().restore_newest_good()
    assert sorted(path.name for path in sample.folder.iterdir()) == before


def test_the_recovery_key_brings_a_damaged_recipient_back(guarded: Sample) -> None:
    (guarded.folder / "recipient.txt").write_bytes(b"damaged")
    vault = Vault(guarded.folder)
    assert vault.restore_recipient_file(guarded.recovery_key) == ("passphrase",)
    assert (guarded.folder / "recipient.damaged-1.txt").read_bytes() == b"damaged"
    assert vault.key("deploy") == {"secret": SECRET}
    again = Vault(guarded.folder)
    again.unlock(passphrase=Secret(PASSPHRASE))
    assert again.recovery_key() == guarded.recovery_key


def test_another_recovery_key_does_not(guarded: Sample) -> None:
    (guarded.folder / "recipient.txt").write_bytes(b"damaged")
    with pytest.raises(WrongPassphrase):
        Vault(guarded.folder).restore_recipient_file(age.Identity.generate().reveal())
    assert (guarded.folder / "recipient.txt").read_bytes() == b"damaged"
