"""A passphrase slot with other work than new ones have is sealed anew after it opened the vault."""

from __future__ import annotations

import errno
import functools
import os
import unicodedata
from pathlib import Path

import pytest

from keyturn.model.errors import VaultError
from keyturn.model.secret import Secret
from keyturn.operations import vault as vault_operations
from keyturn.vault import age_passphrase, files, passphrase, slots
from keyturn.vault.slots import OutdatedSeal
from keyturn.vault.vault import Vault
from tests.core.vault import weak_age
from tests.core.vault.conftest import PASSPHRASE, Sample
from tests.core.vault.test_vault_interrupted import Interruption, _was_killed


def _factor(folder: Path) -> int:
    return age_passphrase.parse_header((folder / "identity.age").read_bytes()).factor


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sample:
    """A vault whose slot has another factor. What renews it costs no work here."""
    with monkeypatch.context() as patch:
        patch.setattr(passphrase, "seal", functools.partial(weak_age.seal, factor=10))
        vault = Vault(tmp_path / "vault")
        sample = Sample(vault.folder, vault.create("passphrase", Secret(PASSPHRASE)))
    monkeypatch.setattr(passphrase, "seal_unchanged", weak_age.seal_unchanged)
    return sample


def _opened(folder: Path, typed: str = PASSPHRASE) -> tuple[Vault, OutdatedSeal]:
    vault = Vault(folder)
    outdated = vault.unlock(passphrase=Secret(typed))
    assert outdated is not None
    return vault, outdated


@pytest.mark.parametrize(
    ("factor", "is_outdated"), [(1, False), (9, False), (10, True), (16, True), (17, False), (18, True)]
)
def test_a_factor_that_no_release_seals_with_today_is_outdated(factor: int, is_outdated: bool) -> None:
    assert passphrase.Opened(b"", Secret("x"), factor).is_outdated == is_outdated


def test_a_seal_is_renewed_with_the_factor_17(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(passphrase, "seal", functools.partial(weak_age.seal, factor=12))
        Vault(tmp_path / "vault").create("passphrase", Secret(PASSPHRASE))
    vault, outdated = _opened(tmp_path / "vault")
    vault.renew_seal(outdated)
    assert _factor(vault.folder) == 17
    assert Vault(vault.folder).unlock(passphrase=Secret(PASSPHRASE)) is None


def test_the_recovery_key_renews_nothing(old: Sample) -> None:
    assert Vault(old.folder).unlock(recovery_key=old.recovery_key) is None


def test_the_form_that_opened_the_file_opens_the_new_one(old: Sample) -> None:
    typed = unicodedata.normalize("NFD", "café au lait")
    current = files.read_recipient_file(old.folder)
    assert current is not None
    text = old.recovery_key.reveal().encode() + b"\n"
    sealed = weak_age.seal_unchanged(text, Secret(typed), "identity.age", factor=10)
    slots.put_sealed_identity(old.folder, current, sealed)
    vault, outdated = _opened(old.folder, typed)
    vault.renew_seal(outdated)
    new = (old.folder / "identity.age").read_bytes()
    assert new != sealed
    assert age_passphrase.open_sealed(new, typed.encode()) == text


def test_a_passphrase_that_was_changed_meanwhile_stays(old: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    vault, outdated = _opened(old.folder)
    monkeypatch.setattr(passphrase, "seal", weak_age.seal)
    vault.set_passphrase(Secret("another one"))
    vault.renew_seal(outdated)
    Vault(old.folder).unlock(passphrase=Secret("another one"))


def test_killed_at_any_call_it_opens_with_the_same_passphrase(
    old: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed, number = True, 0
    while killed:
        number += 1
        copy = old.copy(tmp_path / f"copy-{number}")
        vault, outdated = _opened(copy.folder)
        killed = _was_killed(number, functools.partial(vault.renew_seal, outdated), monkeypatch)
        Vault(copy.folder).unlock(passphrase=Secret(PASSPHRASE))
        Vault(copy.folder).check()
    assert number > 15


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_write_that_fails_at_any_call_leaves_a_slot_that_opens(
    old: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fail() -> None:
        raise OSError(code, os.strerror(code))

    number, has_failed = 0, True
    while has_failed:
        number += 1
        copy = old.copy(tmp_path / f"copy-{number}")
        vault, outdated = _opened(copy.folder)
        with Interruption(number, fail, lasting=True).installed(monkeypatch):
            try:
                vault.renew_seal(outdated)
                has_failed = False
            except VaultError:
                has_failed = True
        Vault(copy.folder).unlock(passphrase=Secret(PASSPHRASE))
    assert number > 5


def test_a_folder_that_cannot_be_written_to_costs_no_work(
    old: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> bytes:
        raise AssertionError("scrypt was started")

    vault, outdated = _opened(old.folder)
    monkeypatch.setattr(passphrase, "seal_unchanged", never)
    monkeypatch.setattr(os, "access", lambda *_: False)
    vault.renew_seal(outdated)


@pytest.mark.parametrize(
    "error",
    [
        VaultError("Could not use the passphrase of identity.age", "not enough memory for scrypt"),
        BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"),  # no further process
    ],
)
def test_a_renewal_that_fails_stops_nothing(
    old: Sample, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> bytes:
        raise error

    vault, outdated = _opened(old.folder)
    monkeypatch.setattr(passphrase, "seal_unchanged", fail)
    vault_operations._renew_seal(vault, outdated)
    vault.forget()
    vault_operations._renew_seal(vault, outdated)
    assert _factor(old.folder) == 10
