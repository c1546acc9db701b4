"""`generation.txt` and the rotation journal: an old `keys.age` is noticed while one of them is left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keyturn.model.errors import VaultCorrupt
from keyturn.operations.rotation.journal import Journal
from keyturn.vault import documents, files
from keyturn.vault.files import GENERATION_FILE, GenerationMark
from keyturn.vault.vault import Vault
from tests.core.vault.conftest import MemoryKeyring

OLD = "an old copy: generation 1, but 2 existed already"


@pytest.fixture
def folder(tmp_path: Path, keyring: MemoryKeyring) -> Path:
    """The folder of a vault whose `keys.age` was replaced by the copy before the last change."""
    vault = Vault(tmp_path / "vault", keyring)
    vault.create("keyring")
    old = (vault.folder / files.KEYS_FILE).read_bytes()
    vault.change_keys(lambda entries: entries.update(a={}))
    (vault.folder / files.KEYS_FILE).write_bytes(old)
    return vault.folder


@pytest.fixture
def opened(folder: Path, keyring: MemoryKeyring) -> Vault:
    """That vault in another process, whose index was lost."""
    vault = Vault(folder, keyring)
    vault.unlock()
    return vault


def test_the_mark_alone_tells_of_an_old_copy(opened: Vault) -> None:
    with pytest.raises(VaultCorrupt, match=OLD):
        opened.keys()
    with pytest.raises(VaultCorrupt, match=OLD):
        opened.change_keys(lambda entries: entries.update(b={}))
    restored = opened.restore_newest_good()
    assert restored is not None
    assert (restored.generation, restored.newest) == (3, 2)
    assert files.read_generation(opened.folder, opened.recipient()) == 3
    assert opened.keys() == {}


def test_a_record_of_a_rotation_alone_tells_of_an_old_copy(
    tmp_path: Path, opened: Vault, keyring: MemoryKeyring
) -> None:
    journal = Journal(opened, tmp_path / "vault" / "rotation", (tmp_path,))
    with pytest.raises(VaultCorrupt, match=OLD):
        opened.generation()
    opened.expect_generation(2)
    journal.write(
        "user",
        {
            "nonce": "1", "step": "intent", "profile": "ci", "entries": ["ci"],
            "user": "arn:aws:iam::1:user/ci",
            "began": "2026-11-23T14:05:10+00:00", "old": {"key_id": "AKIAOLD", "secret": "s"},
            "new": None, "created": None, "listed": [], "undoing": False, "reactivated": False, "at": {},
        },
    )  # fmt: skip
    (opened.folder / GENERATION_FILE).unlink()
    other = Vault(opened.folder, keyring)
    other.unlock()
    assert other.generation() == 1  # nothing is left to tell
    found = Journal(other, tmp_path / "vault" / "rotation", (tmp_path,)).newest_generation()
    assert found == 2
    other.expect_generation(found)
    with pytest.raises(VaultCorrupt, match=OLD):
        other.keys()


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda content: content[:-1],
        lambda content: content.replace(b" 2\n", b" 9\n"),
        lambda content: content.replace(b"age1", b"age2"),
        lambda _: b"\xff" * 5000,
        lambda _: GenerationMark("age1" + "q" * 58, 9).encode(),
    ],
    ids=["empty", "cut", "other number", "no recipient", "too long", "another vault's"],
)
def test_a_mark_that_is_not_this_vaults_counts_as_lost(
    folder: Path, keyring: MemoryKeyring, damage: Callable[[bytes], bytes]
) -> None:
    mark = folder / GENERATION_FILE
    mark.write_bytes(damage(mark.read_bytes()))
    vault = Vault(folder, keyring)
    vault.unlock()
    assert vault.generation() == 1
    vault.record_generation()
    assert files.read_generation(folder, vault.recipient()) == 1


def test_a_mark_in_a_later_format_is_left_alone(folder: Path, keyring: MemoryKeyring) -> None:
    content = b"# keyturn vault, highest generation of keys.age, format 2\n[generations]\n"
    (folder / GENERATION_FILE).write_bytes(content)
    vault = Vault(folder, keyring)
    vault.unlock()
    vault.change_keys(lambda entries: entries.update(b={}))
    assert (folder / GENERATION_FILE).read_bytes() == content


def test_a_mark_that_cannot_be_written_lags_and_locks_nobody_out(
    tmp_path: Path, keyring: MemoryKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = Vault(tmp_path / "vault", keyring)
    vault.create("keyring")
    real = files.put

    def full(path: Path, content: bytes) -> None:
        if path.name == GENERATION_FILE:
            raise OSError(28, "No space left on device")
        real(path, content)

    with monkeypatch.context() as patched:
        patched.setattr(files, "put", full)
        assert vault.change_keys(lambda entries: entries.update(a={})) == 2
    other = Vault(vault.folder, keyring)
    other.unlock()
    assert files.read_generation(vault.folder, vault.recipient()) == 1
    assert other.keys() == {"a": {}}
    other.record_generation()
    assert files.read_generation(vault.folder, vault.recipient()) == 2


@pytest.mark.parametrize("known", [documents.LAST_GENERATION, 2**80, -1])
def test_a_generation_that_no_vault_reaches_is_not_believed(
    tmp_path: Path, keyring: MemoryKeyring, known: int
) -> None:
    vault = Vault(tmp_path / "vault", keyring, expected_generation=lambda: known)
    vault.create("keyring")
    vault.change_keys(lambda entries: entries.update(a={}))
    assert vault.generation() == 2


def test_forged_keys_without_a_possible_successor_are_repaired(
    tmp_path: Path, keyring: MemoryKeyring
) -> None:
    vault = Vault(tmp_path / "vault", keyring)
    vault.create("keyring")
    vault.change_keys(lambda entries: entries.update(a={}))
    vault.change_keys(lambda entries: entries.update(b={}))
    forged = documents.Document(documents.KEYS, documents.LAST_GENERATION, {})
    (vault.folder / files.KEYS_FILE).write_bytes(vault.seal(forged.encode()))

    def edit(entries: dict[str, Any]) -> None:
        entries["c"] = {}

    with pytest.raises(VaultCorrupt, match="no successor"):
        vault.change_keys(edit)
    restored = vault.restore_newest_good()
    assert restored is not None
    assert restored.aside is not None
    vault.change_keys(edit)
    assert set(vault.keys()) == {"a", "c"}


@pytest.mark.parametrize("known", [2**40, 2**53 - 1])
def test_a_forged_mark_costs_no_key_and_the_vault_can_be_changed_again(
    tmp_path: Path, keyring: MemoryKeyring, known: int
) -> None:
    vault = Vault(tmp_path / "vault", keyring)
    vault.create("keyring")
    vault.change_keys(lambda entries: entries.update(a={}))
    (vault.folder / GENERATION_FILE).write_bytes(GenerationMark(vault.recipient(), known).encode())
    vault.restore_newest_good()
    vault.change_keys(lambda entries: entries.update(b={}))
    other = Vault(vault.folder, keyring)
    other.unlock()
    other.change_keys(lambda entries: entries.update(c={}))
    assert set(other.keys()) == {"a", "b", "c"}
