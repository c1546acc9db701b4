"""The vault's contract with the code that stores secrets in it."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keyturn.model.errors import (
    KeyringAbsent,
    NeedsUnlock,
    NeedsVault,
    UnsafeFile,
    UsageError,
    VaultExists,
    VaultNewer,
    VaultReadOnly,
    WrongPassphrase,
)
from keyturn.model.profile import VaultState
from keyturn.model.secret import Secret
from keyturn.vault import age, files
from keyturn.vault.vault import Vault
from tests.core.vault.conftest import SECRET, MemoryKeyring, Sample
from tests.core.vault.vault_user import session_names


def test_importing_the_vault_loads_neither_pyrage_nor_keyring() -> None:
    code = (
        "import sys, keyturn.vault.vault, keyturn.storage.history;"
        " print({'pyrage', 'keyring'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_state_is_told_by_files_alone(sample: Sample, tmp_path: Path) -> None:
    assert Vault(tmp_path / "nothing").state() is VaultState.ABSENT
    assert Vault(sample.folder).state() is VaultState.CLOSED
    vault = sample.open_vault()
    assert vault.state() is VaultState.OPEN
    vault.forget()
    assert vault.state() is VaultState.CLOSED


def test_a_vault_with_only_a_passphrase_is_locked(guarded: Sample) -> None:
    assert Vault(guarded.folder).state() is VaultState.LOCKED


@pytest.mark.parametrize("damaged", ["recipient.txt", "keys.age", "identity.age"])
def test_a_vault_without_one_of_its_files_is_broken(guarded: Sample, damaged: str) -> None:
    (guarded.folder / damaged).unlink()
    assert Vault(guarded.folder).state() is VaultState.BROKEN


def test_what_was_stored_is_read_by_another_process_of_the_same_person(sample: Sample) -> None:
    vault = Vault(sample.folder, sample.keyring)
    vault.unlock()
    assert vault.key("deploy") == {"secret": SECRET}
    assert vault.key("other") is None
    assert vault.key_names() == ("deploy",)
    assert vault.session("prod") == {"token": "session token"}


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "-rf",
        "a;b",
        "$(x)",
        "'\"",
        "a\nb",
        "nul\0",
        "\u202ertl",
        "\ud800",
        "x" * 10_000,
        "",
        "ＮＦＫＣ",
        "e\u0301",
    ],
)
def test_any_name_and_value_comes_back_as_it_was(sample: Sample, name: str) -> None:
    sample.open_vault().change_keys(lambda entries: entries.update({name: {"value": name}}))
    assert sample.open_vault().key(name) == {"value": name}


def test_a_generation_is_counted_per_change_and_not_without_one(sample: Sample) -> None:
    vault = sample.open_vault()
    assert vault.generation() == 2
    assert vault.change_keys(lambda entries: entries.update(other={})) == 3
    assert vault.change_keys(lambda entries: entries.update(other={})) == 3


def test_a_change_that_fails_writes_nothing(sample: Sample) -> None:
    vault = sample.open_vault()
    before = (sample.folder / "keys.age").read_bytes()

    def fails(entries: dict[str, Any]) -> None:
        entries.clear()
        raise LookupError("no such profile")

    with pytest.raises(LookupError):
        vault.change_keys(fails)
    assert (sample.folder / "keys.age").read_bytes() == before


@pytest.mark.parametrize("entry", [{"secret": Secret("x")}, "text", {"x": float("nan")}])
def test_only_json_objects_are_stored(sample: Sample, entry: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        sample.open_vault().change_keys(lambda entries: entries.update(deploy=entry))
    assert sample.open_vault().key("deploy") == {"secret": SECRET}


def test_ten_generations_are_kept(sample: Sample) -> None:
    vault = sample.open_vault()
    for number in range(15):
        vault.change_keys(lambda entries, number=number: entries.update(count={"n": number}))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
    names = sorted(path.name for path in sample.folder.glob("keys*.age"))
    assert names == ["keys.1.age", *[f"keys.{n}.age" for n in range(2, 10)], "keys.age"]
    oldest = age.identity_from(sample.recovery_key).open(
        (sample.folder / "keys.9.age").read_bytes(), "keys.9.age"
    )
    assert b'"generation":8' in oldest
    assert vault.generation() == 17


def test_files_are_private_whatever_the_umask(tmp_path: Path, keyring: MemoryKeyring) -> None:
    old = os.umask(0)
    try:
        vault = Vault(tmp_path / "new" / "vault", keyring)
        vault.create("keyring")
        vault.change_keys(lambda entries: entries.update(a={}))
        vault.change_sessions(lambda entries: entries.update(a={}))
    finally:
        os.umask(old)
    assert stat.S_IMODE(vault.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(vault.folder.parent.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in vault.folder.iterdir()}
    assert set(modes.values()) == {0o600}
    assert set(modes) == {"recipient.txt", "keys.age", "keys.1.age", "sessions.age", "generation.txt", "lock"}


def test_a_folder_that_others_may_write_into_is_not_written_to(sample: Sample) -> None:
    sample.folder.chmod(0o777)
    with pytest.raises(UnsafeFile, match="chmod 700"):
        sample.open_vault().change_keys(lambda entries: entries.clear())


def test_without_a_vault_each_operation_says_so(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "vault")
    for operation in (
        vault.slots,
        vault.key_names,
        vault.unlock,
        vault.recovery_key,
        lambda: vault.seal(b"x"),
    ):
        with pytest.raises(NeedsVault, match="keyturn vault init"):
            operation()
    assert not vault.folder.exists()


def test_a_locked_vault_says_so_but_seals(sample: Sample) -> None:
    vault = Vault(sample.folder)
    for operation in (
        vault.key_names,
        lambda: vault.session("prod"),
        vault.recovery_key,
        lambda: vault.open(b"x"),
    ):
        with pytest.raises(NeedsUnlock, match="keyturn vault unlock"):
            operation()
    assert sample.open_vault().open(vault.seal(b"pre-image")) == b"pre-image"


def test_forgetting_drops_the_identity(sample: Sample) -> None:
    vault = sample.open_vault()
    vault.forget()
    with pytest.raises(NeedsUnlock):
        vault.key("deploy")


def test_a_session_that_a_read_only_folder_refuses_is_not_kept_by_a_vault_that_was_locked_meanwhile(
    sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = sample.open_vault()

    def refuse(_: str) -> contextlib.AbstractContextManager[None]:
        vault.forget()
        raise VaultReadOnly("Could not write sessions.age", "Read-only file system")

    monkeypatch.setattr(vault, "_lock", refuse)
    vault.change_sessions(lambda entries: entries.update(ci={"secret": SECRET}))
    assert not vault.has_unsaved_sessions


def test_a_change_that_must_be_saved_is_refused_by_a_read_only_folder(
    sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = sample.open_vault()

    def refuse(_: str) -> contextlib.AbstractContextManager[None]:
        raise VaultReadOnly("Could not write sessions.age", "Read-only file system")

    monkeypatch.setattr(vault, "_lock", refuse)
    with pytest.raises(VaultReadOnly):
        vault.change_sessions(lambda entries: entries.clear(), must_save=True)
    assert not vault.has_unsaved_sessions
    vault.change_sessions(lambda entries: entries.update(ci={"secret": SECRET}))
    assert vault.has_unsaved_sessions


def test_no_vault_is_made_over_another(sample: Sample, keyring: MemoryKeyring) -> None:
    before = {path.name: path.read_bytes() for path in sample.folder.iterdir()}
    with pytest.raises(VaultExists):
        Vault(sample.folder, keyring).create("keyring")
    assert {path.name: path.read_bytes() for path in sample.folder.iterdir()} == before


@pytest.mark.parametrize(
    "remains", ["keys.age", "keys.3.age", "identity.age", "sessions.age", "recipient.txt"]
)
def test_no_vault_is_made_over_the_remains_of_one(
    tmp_path: Path, keyring: MemoryKeyring, remains: str
) -> None:
    folder = tmp_path / "vault"
    folder.mkdir()
    (folder / remains).write_bytes(b"unreadable")
    with pytest.raises(VaultExists):
        Vault(folder, keyring).create("keyring")
    assert (folder / remains).read_bytes() == b"unreadable"
    assert keyring.entries == {}
    assert Vault(folder).state() is VaultState.BROKEN


def test_of_two_that_make_it_at_once_one_wins(tmp_path: Path, keyring: MemoryKeyring) -> None:
    folder = tmp_path / "vault"
    outcomes: list[object] = []

    def make() -> None:
        try:
            outcomes.append(Vault(folder, keyring).create("keyring"))
        except VaultExists as error:
            outcomes.append(error)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    opened = [outcome for outcome in outcomes if isinstance(outcome, Secret)]
    assert len(opened) == 1
    assert len(keyring.entries) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["vault"]
    vault = Vault(folder, keyring)
    vault.unlock()
    assert vault.recovery_key() == opened[0]


def test_one_that_another_puts_into_place_while_it_is_looked_at_is_no_fault(
    tmp_path: Path, keyring: MemoryKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = Path.iterdir

    def with_one_that_has_gone(folder: Path) -> Iterator[Path]:
        yield from listed(folder)
        if folder == tmp_path:
            yield folder / f".vault.{os.getpid()}.0123abcd.new"

    monkeypatch.setattr(Path, "iterdir", with_one_that_has_gone)
    Vault(tmp_path / "vault", keyring).create("keyring")
    assert Vault(tmp_path / "vault", keyring).state() is VaultState.CLOSED


def test_a_vault_that_could_not_be_made_leaves_nothing(tmp_path: Path, keyring: MemoryKeyring) -> None:
    keyring.refusal = KeyringAbsent("system keyring", "none")
    with pytest.raises(KeyringAbsent):
        Vault(tmp_path / "vault", keyring).create("keyring")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("slot", "passphrase"), [("yubikey", None), ("passphrase", None), ("keyring", Secret("x"))]
)
def test_a_slot_is_named_with_what_it_needs(
    tmp_path: Path, keyring: MemoryKeyring, slot: str, passphrase: Secret | None
) -> None:
    with pytest.raises(UsageError):
        Vault(tmp_path / "vault", keyring).create(slot, passphrase)
    assert list(tmp_path.iterdir()) == []


def test_the_recovery_key_opens_it_however_it_is_typed(sample: Sample) -> None:
    typed = sample.recovery_key.reveal().lower()
    vault = Vault(sample.folder)
    vault.unlock(recovery_key=Secret(f"  {typed[:20]} {typed[20:50]}\n{typed[50:]}\n"))
    assert vault.recovery_key() == sample.recovery_key


@pytest.mark.parametrize(
    "typed", ["", "x", "AGE-SECRET-KEY-1", "age1abc", "AGE-SECRET-KEY-1" + "Q" * 58, "\ud800"]
)
def test_what_is_no_recovery_key_is_refused(sample: Sample, typed: str) -> None:
    with pytest.raises(WrongPassphrase):
        Vault(sample.folder).unlock(recovery_key=Secret(typed))


def test_the_recovery_key_of_another_vault_is_refused(sample: Sample) -> None:
    other = age.Identity.generate().reveal()
    with pytest.raises(WrongPassphrase, match="another vault"):
        Vault(sample.folder).unlock(recovery_key=other)


def test_a_later_format_is_refused_without_writing(sample: Sample) -> None:
    identity = age.identity_from(sample.recovery_key)
    later = age.seal(b'{"version":2,"kind":"keys","what":"ever"}', identity.recipient)
    (sample.folder / "keys.age").write_bytes(later)
    vault = sample.open_vault()
    for operation in (
        vault.key_names,
        lambda: vault.change_keys(lambda entries: entries.clear()),
        vault.restore_newest_good,
    ):
        with pytest.raises(VaultNewer, match="Upgrade"):
            operation()
    assert (sample.folder / "keys.age").read_bytes() == later


def test_a_later_label_is_refused_without_writing(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    current = files.read_recipient_file(sample.folder)
    assert current is not None
    with monkeypatch.context() as patch:
        patch.setattr(files, "RECIPIENT_FORMAT", 2)
        later = current.encode()
    (sample.folder / "recipient.txt").write_bytes(later)
    with pytest.raises(VaultNewer, match="Upgrade"):
        sample.open_vault()
    assert Vault(sample.folder).state() is VaultState.BROKEN
    assert (sample.folder / "recipient.txt").read_bytes() == later


def test_threads_that_change_it_at_once_lose_nothing(sample: Sample) -> None:
    vault = sample.open_vault()

    def add(worker: int) -> None:
        for number in range(5):
            vault.change_keys(lambda entries: entries.update({f"{worker}-{number}": {}}))  # noqa: B023  # called at once
            vault.change_sessions(lambda entries: entries.update({f"{worker}-{number}": {}}))  # noqa: B023  # the same

    threads = [threading.Thread(target=add, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(vault.key_names()) == 21
    assert len(session_names(vault)) == 21


_WRITER = """
import sys
from pathlib import Path
from keyturn.model.secret import Secret
from keyturn.vault.vault import Vault
vault = Vault(Path(sys.argv[1]))
vault.unlock(recovery_key=Secret(sys.stdin.readline()))
for number in range(25):
    vault.change_keys(lambda entries: entries.update({f"{sys.argv[2]}-{number}": {"n": number}}))
"""


def test_two_processes_that_write_at_once_lose_nothing(sample: Sample) -> None:
    command = [sys.executable, "-c", _WRITER, str(sample.folder)]
    writers = [subprocess.Popen([*command, name], stdin=subprocess.PIPE, text=True) for name in "ab"]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(sample.recovery_key.reveal() + "\n")
        writer.stdin.close()
    assert [writer.wait(60) for writer in writers] == [0, 0]
    vault = sample.open_vault()
    assert len(vault.key_names()) == 51
    assert vault.generation() == 52
