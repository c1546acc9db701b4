"""The contract of every `KeyringPort`, as plain functions: pytest runs them on the keyring in memory, and
`desktop_keyring.py` on the real one inside its own session."""

from __future__ import annotations

from collections.abc import Callable

from keyturn.model.secret import Secret
from keyturn.vault.keyring import KeyringPort

IDENTITY = "AGE-SECRET-KEY-1" + "Q" * 58


def it_has_a_name(port: KeyringPort) -> None:
    assert port.backend()


def it_gives_back_what_was_stored(port: KeyringPort) -> None:
    port.set("entry", Secret(IDENTITY))
    assert port.get("entry") == Secret(IDENTITY)


def it_keeps_the_later_value(port: KeyringPort) -> None:
    port.set("entry", Secret("first"))
    port.set("entry", Secret("second"))
    assert port.get("entry") == Secret("second")
    port.delete("entry")
    assert port.get("entry") is None


def it_keeps_entries_apart(port: KeyringPort) -> None:
    port.set("age1one.0", Secret("one"))
    port.set("age1one.00", Secret("two"))
    assert (port.get("age1one.0"), port.get("age1one.00")) == (Secret("one"), Secret("two"))
    port.delete("age1one.0")
    assert (port.get("age1one.0"), port.get("age1one.00")) == (None, Secret("two"))


def an_absent_entry_is_none_and_can_be_deleted(port: KeyringPort) -> None:
    assert port.get("never stored") is None
    port.delete("never stored")


def it_keeps_any_text(port: KeyringPort) -> None:
    for text in ("ü ß 漢 🔑", "a\nb\tc", "'\"\\$(x)`", " ", "x" * 500):
        port.set("entry " + text[:20], Secret(text))
        assert port.get("entry " + text[:20]) == Secret(text)


CONTRACT: tuple[Callable[[KeyringPort], None], ...] = (
    it_has_a_name,
    it_gives_back_what_was_stored,
    it_keeps_the_later_value,
    it_keeps_entries_apart,
    an_absent_entry_is_none_and_can_be_deleted,
    it_keeps_any_text,
)
