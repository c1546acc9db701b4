"""The passphrase slot: age's own scrypt, in a child, after a check of the header."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import unicodedata
from pathlib import Path

import pytest

from keyturn.model.errors import UsageError, VaultCorrupt, VaultError, WrongPassphrase
from keyturn.model.secret import Secret
from keyturn.system import child_process
from keyturn.system.secret_channel import WaitCancelled
from keyturn.vault import passphrase as unseal
from keyturn.vault.create import read_export
from keyturn.vault.vault import Vault
from tests.core.vault.age_program import run_age
from tests.core.vault.conftest import PASSPHRASE, SECRET, Sample

_SALT = b"A" * 22
_BODY = b"A" * 43
_TAIL = b"--- " + b"A" * 43 + b"\n" + bytes(48)
_STANZA = b"-> scrypt " + _SALT + b" 18\n" + _BODY + b"\n"
_MAGIC = b"age-encryption.org/v1\n"

HOSTILE = {
    "factor 21": _MAGIC + _STANZA.replace(b" 18", b" 21") + _TAIL,
    "factor 30": _MAGIC + _STANZA.replace(b" 18", b" 30") + _TAIL,
    "factor 99": _MAGIC + _STANZA.replace(b" 18", b" 99") + _TAIL,
    "factor of 4000 digits": _MAGIC + _STANZA.replace(b" 18", b" " + b"9" * 4000) + _TAIL,
    "factor 0": _MAGIC + _STANZA.replace(b" 18", b" 0") + _TAIL,
    "negative factor": _MAGIC + _STANZA.replace(b" 18", b" -1") + _TAIL,
    "two stanzas": _MAGIC + _STANZA * 2 + _TAIL,
    "many stanzas": _MAGIC + _STANZA * 40 + _TAIL,
    "a recipient's stanza": _MAGIC + b"-> X25519 " + _BODY + b"\n" + _BODY + b"\n" + _TAIL,
    "both": _MAGIC + _STANZA + b"-> X25519 " + _BODY + b"\n" + _BODY + b"\n" + _TAIL,
    "no stanza": _MAGIC + _TAIL,
    "another version": _MAGIC.replace(b"v1", b"v2") + _STANZA + _TAIL,
    "base64 that no encoder writes": _MAGIC + _STANZA.replace(_BODY, b"A" * 42 + b"B") + _TAIL,
    "megabytes": _MAGIC + _STANZA + _TAIL + bytes(5_000_000),
    "no payload": _MAGIC + _STANZA + b"--- " + b"A" * 43 + b"\n",
    "empty": b"",
    "armoured": b"-----BEGIN AGE ENCRYPTED FILE-----\n",
}


def test_the_right_passphrase_opens(sealed: Sample) -> None:
    vault = Vault(sealed.folder)
    vault.unlock(passphrase=Secret(unicodedata.normalize("NFC", PASSPHRASE)))
    assert vault.key("deploy") == {"secret": SECRET}
    assert vault.recovery_key() == sealed.recovery_key


@pytest.mark.parametrize("wrong", [PASSPHRASE + " ", PASSPHRASE.upper()])
def test_a_wrong_one_does_not(guarded: Sample, wrong: str) -> None:
    with pytest.raises(WrongPassphrase) as excinfo:
        Vault(guarded.folder).unlock(passphrase=Secret(wrong))
    assert wrong not in repr(excinfo.value)


@pytest.mark.parametrize("typed", ["", "\udcff"])
def test_what_is_no_text_is_refused_without_work(guarded: Sample, typed: str) -> None:
    with pytest.raises(UsageError):
        Vault(guarded.folder).unlock(passphrase=Secret(typed))


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_refused_before_any_work(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> bytes:
        raise AssertionError("scrypt was started")

    monkeypatch.setattr(child_process, "run", never)
    with pytest.raises(VaultCorrupt, match="reset-passphrase"):
        unseal.unseal(HOSTILE[case], Secret("x"), "identity.age")


def test_a_hostile_file_in_the_vault_is_refused_at_once(guarded: Sample) -> None:
    for content in HOSTILE.values():
        (guarded.folder / "identity.age").write_bytes(content)
        start = time.monotonic()
        with pytest.raises(VaultCorrupt):
            Vault(guarded.folder).unlock(passphrase=Secret(PASSPHRASE))
        assert time.monotonic() - start < 1


def _open_by_child(monkeypatch: pytest.MonkeyPatch, child: str, sealed: Sample) -> VaultError:
    """Open the vault by another child, which must fail, and return the error."""
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent), *sys.path])
    monkeypatch.setattr(unseal, "__name__", child)
    with pytest.raises(VaultError) as excinfo:
        Vault(sealed.folder).unlock(passphrase=Secret(PASSPHRASE))
    assert type(excinfo.value) is VaultError, "neither damage nor a wrong passphrase"
    assert "The recovery key opens the vault without scrypt" in excinfo.value.hint
    return excinfo.value


@pytest.mark.parametrize(
    ("child", "why", "hint"),
    [
        ("children.endless", "its process reached its limit of CPU time", "Use a faster machine"),
        ("children.without_memory", "not enough memory for scrypt", "Free some memory"),
        ("children.killed", "the system killed its process, as it does when memory runs out", "Free some"),
        ("children.terminated", "its process was ended by signal 15", "Try again"),
        ("keyturn.no_such_module", "its process exited without an answer (status 1)", "Try again"),
    ],
)
def test_a_child_without_an_answer_is_an_error_with_its_true_reason(
    monkeypatch: pytest.MonkeyPatch, sealed: Sample, child: str, why: str, hint: str
) -> None:
    error = _open_by_child(monkeypatch, child, sealed)
    assert error.why == why
    assert error.hint.startswith(hint)
    assert ("memory" in error.hint) == ("memory" in error.why)


def test_a_child_that_hangs_ends_at_the_limit_of_wall_time(
    monkeypatch: pytest.MonkeyPatch, sealed: Sample
) -> None:
    monkeypatch.setattr(unseal, "SECONDS", 1.5)
    monkeypatch.setattr(child_process, "_START_SECONDS", 0.5)
    error = _open_by_child(monkeypatch, "children.stopped", sealed)
    assert error.why == "no answer within 2 s"
    assert error.hint.startswith("Try again when the machine is less busy")


def test_a_wait_for_the_child_can_be_cancelled(monkeypatch: pytest.MonkeyPatch, sealed: Sample) -> None:
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent), *sys.path])
    monkeypatch.setattr(unseal, "__name__", "children.stopped")
    cancelled = threading.Event()
    timer = threading.Timer(0.3, cancelled.set)
    timer.start()
    vault = Vault(sealed.folder)
    with pytest.raises(WaitCancelled):
        vault.unlock(passphrase=Secret(PASSPHRASE), cancelled=cancelled)
    timer.join()
    assert not vault.is_unlocked


@pytest.mark.skipif(sys.platform != "linux", reason="macOS has neither the flag nor the limit")
def test_the_child_is_closed_to_others_and_held_to_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent), *sys.path])
    report = json.loads(child_process.run("reporting_child", b"", 20, {}))
    assert report == {"dumpable": 0, "core": 0, "got": False}


def test_the_passphrase_is_in_no_argument_and_no_environment(
    monkeypatch: pytest.MonkeyPatch, guarded: Sample
) -> None:
    started: list[str] = []
    real = subprocess.Popen

    def watched(command: list[str], **options: object) -> object:
        started.append(repr((command, options)))
        return real(command, **options)  # type: ignore[call-overload]  # passed through as given

    monkeypatch.setattr(subprocess, "Popen", watched)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    Vault(guarded.folder).unlock(passphrase=Secret(PASSPHRASE))
    assert len(started) == 2, "the child, and the shell that ends it if this process ends"
    assert PASSPHRASE not in "".join(started)
    assert SECRET not in "".join(started)


def test_composed_and_decomposed_are_the_same_passphrase(guarded: Sample) -> None:
    """The passphrase is sealed composed; a file that another program sealed decomposed opens too, with the
    text as typed."""
    decomposed = "cafe\u0301"
    vault = guarded.open_vault()
    vault.set_passphrase(Secret(decomposed))
    Vault(guarded.folder).unlock(passphrase=Secret(unicodedata.normalize("NFC", decomposed)))
    raw = unseal.seal_unchanged(b"sealed as typed", Secret(decomposed), "raw.age")
    assert unseal.unseal(raw, Secret(decomposed), "raw.age") == b"sealed as typed"


def test_the_age_program_opens_the_slot_by_the_passphrase(sealed: Sample) -> None:
    """`age -d` prompts on the terminal, so the test gives it one."""
    shown = run_age(PASSPHRASE, "-d", str(sealed.folder / "identity.age"))
    assert sealed.recovery_key.reveal().encode() in shown


def test_a_changed_passphrase_opens_and_the_old_one_does_not(guarded: Sample) -> None:
    vault = Vault(guarded.folder)
    vault.unlock(passphrase=Secret(PASSPHRASE))
    vault.set_passphrase(Secret("new one"))
    again = Vault(guarded.folder)
    with pytest.raises(WrongPassphrase):
        again.unlock(passphrase=Secret(PASSPHRASE))
    again.unlock(passphrase=Secret("new one"))
    assert again.key("deploy") == {"secret": SECRET}


def test_the_recovery_key_sets_a_new_passphrase_over_a_damaged_slot(guarded: Sample) -> None:
    (guarded.folder / "identity.age").write_bytes(b"damaged")
    vault = Vault(guarded.folder)
    vault.reset_passphrase(guarded.recovery_key, Secret("new one"))
    Vault(guarded.folder).unlock(passphrase=Secret("new one"))


def test_another_recovery_key_sets_none(guarded: Sample) -> None:
    with pytest.raises(WrongPassphrase):
        Vault(guarded.folder).reset_passphrase(Secret("AGE-SECRET-KEY-1"), Secret("new one"))
    Vault(guarded.folder).unlock(passphrase=Secret(PASSPHRASE))


def test_an_export_becomes_the_same_vault_elsewhere(guarded: Sample, tmp_path: Path) -> None:
    exported = guarded.open_vault().export(Secret("for the journey"))
    assert SECRET.encode() not in exported
    copy = Vault(tmp_path / "second" / "vault")
    with pytest.raises(WrongPassphrase):
        copy.import_export(read_export(exported, Secret("wrong")), "passphrase", Secret("x"))
    with pytest.raises(VaultCorrupt):
        copy.import_export(read_export(exported[:-1], Secret("for the journey")), "passphrase", Secret("x"))
    assert not copy.folder.exists()
    copy.import_export(read_export(exported, Secret("for the journey")), "passphrase", Secret("home"))
    assert copy.key("deploy") == {"secret": SECRET}
    assert copy.generation() == 2
    assert copy.recovery_key() == guarded.recovery_key
