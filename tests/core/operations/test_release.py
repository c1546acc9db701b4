"""A release gives back everything or nothing, and no key leaves the vault without a new place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keyturn.awsconfig.writer import Edit
from keyturn.model.errors import ChangeRefused, FileBusy, VaultCorrupt
from keyturn.system import files as ownfile
from tests.core.operations.conftest import PASSPHRASE, Bench

NAME = "personal"


@pytest.fixture
def adopted_bench(bench: Bench) -> Bench:
    bench.adopt(NAME)
    return bench


def _key(bench: Bench) -> dict[str, str]:
    found = bench.service.context.vault.key(f"key/{NAME}")
    assert found is not None
    return dict(found)


def test_a_key_that_release_would_write_nowhere_stays_in_the_vault(adopted_bench: Bench) -> None:
    """The vault has the key, but no record of the file that it was adopted from."""
    shown = adopted_bench.service.plan_release([NAME])
    adopted_bench.config.write_bytes(b"")
    key, files = _key(adopted_bench), adopted_bench.files()
    adopted_bench.service.context.vault.change_keys(lambda entries: entries.pop(f"taken/{NAME}") and None)
    with pytest.raises(ChangeRefused, match="would be lost"):
        adopted_bench.service.plan_release([NAME])
    plan = replace(shown, digest=adopted_bench.service.context.read().digest())
    with pytest.raises(ChangeRefused, match="would be lost"):
        adopted_bench.service.release(plan, PASSPHRASE)
    assert _key(adopted_bench) == key
    assert adopted_bench.files() == files
    assert adopted_bench.service.context.read().row(NAME).managed


def test_a_key_put_in_later_is_not_lost_by_giving_back_lines_without_one(adopted_bench: Bench) -> None:
    """The removed settings are known, but hold another key, and nothing says so."""
    key = {"key_id": "AKIAIOSFODNN7EXAMPLE", "secret": "a-later-key-that-no-file-holds"}

    def edit(entries: dict[str, Any]) -> None:
        entries[f"key/{NAME}"] = key
        entries[f"taken/{NAME}"]["key"] = {}

    adopted_bench.service.context.vault.change_keys(edit)
    with pytest.raises(ChangeRefused, match="would be lost"):
        adopted_bench.service.plan_release([NAME])
    assert _key(adopted_bench) == key


def test_a_release_that_fails_half_way_takes_back_what_it_gave(
    adopted_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, key = adopted_bench.files(), _key(adopted_bench)
    plan = adopted_bench.service.plan_release([NAME])
    _make_second_file_busy(adopted_bench, monkeypatch)
    with pytest.raises(FileBusy, match="another program keeps changing it"):
        adopted_bench.service.release(plan, PASSPHRASE)
    assert adopted_bench.files() == before
    assert key["secret"].encode() not in b"".join(adopted_bench.files())
    assert _key(adopted_bench) == key
    assert adopted_bench.service.context.read().row(NAME).managed
    (operation,) = (
        operation
        for operation in adopted_bench.service.context.activity.read()
        if operation.event == "release"
    )
    assert not operation.ok
    monkeypatch.undo()
    adopted_bench.release(NAME)
    assert key["secret"].encode() in b"".join(adopted_bench.files())


def test_a_release_whose_definition_cannot_be_dropped_takes_back_what_it_gave(
    adopted_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = adopted_bench.files()
    plan = adopted_bench.service.plan_release([NAME])
    real = ownfile.replace

    def full(path: Path, content: bytes) -> None:
        if path.name == "profiles.toml":
            raise OSError(28, "No space left on device")
        real(path, content)

    monkeypatch.setattr(ownfile, "replace", full)
    with pytest.raises(Exception, match="No space left on device"):
        adopted_bench.service.release(plan, PASSPHRASE)
    assert adopted_bench.files() == before


def test_a_release_that_cannot_be_taken_back_says_where_the_secret_is_in_clear(
    adopted_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program wrote to the first file after its key was restored, so the file is not overwritten."""
    plan = adopted_bench.service.plan_release([NAME])

    def others_write() -> None:
        adopted_bench.credentials.write_bytes(
            adopted_bench.credentials.read_bytes() + b"\n[theirs]\nregion = x\n"
        )

    _make_second_file_busy(adopted_bench, monkeypatch, others_write)
    with pytest.raises(FileBusy, match=r"restored to ~/\.aws/credentials before that are still there"):
        adopted_bench.service.release(plan, PASSPHRASE)
    assert b"[theirs]" in adopted_bench.credentials.read_bytes()
    (operation,) = (
        operation
        for operation in adopted_bench.service.context.activity.read()
        if operation.event == "release"
    )
    assert "~/.aws/credentials" in operation.result
    assert "plaintext secrets" in operation.result


def _make_second_file_busy(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, before: Callable[[], None] = lambda: None
) -> None:
    real = bench.service.context.files.edit

    def edit(path: Path, *args: Any, **named: Any) -> Edit:
        if path == bench.config:
            before()
            raise FileBusy(
                f"Could not write {path}", "another program keeps changing it", "Stop the other program first"
            )
        return real(path, *args, **named)

    monkeypatch.setattr(bench.service.context.files, "edit", edit)


@pytest.mark.parametrize(
    ("entry", "damage"),
    [
        ("key/ci-deploy", {"key_id": "AKIA"}),
        ("key/ci-deploy", {"key_id": "AKIA", "secret": 7}),
        ("taken/ci-deploy", {"sections": [{"section": "ci-deploy"}]}),
        ("taken/ci-deploy", {}),
    ],
)
def test_a_damaged_entry_of_the_vault_is_one_line_and_nothing_is_written(
    bench: Bench, entry: str, damage: dict[str, object]
) -> None:
    bench.adopt("ci-deploy")
    bench.service.context.vault.change_keys(lambda entries: entries.__setitem__(entry, damage))
    files = bench.files()
    with pytest.raises(VaultCorrupt, match=r"is invalid.*Run: keyturn vault status"):
        bench.release("ci-deploy")
    assert bench.files() == files


def test_a_refresh_with_a_damaged_key_is_one_line(bench: Bench) -> None:
    bench.adopt("ci-deploy")
    bench.service.context.vault.change_keys(
        lambda entries: entries.__setitem__("key/ci-deploy", {"key_id": "AKIA"})
    )
    with pytest.raises(VaultCorrupt, match="Vault entry ci-deploy is invalid"):
        bench.service.refresh("ci-deploy")
