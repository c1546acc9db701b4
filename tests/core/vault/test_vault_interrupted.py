"""A write killed, or refused by the system, at any call: the old state or the new one, complete."""

from __future__ import annotations

import errno
import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from keyturn.model.errors import VaultError
from keyturn.model.profile import VaultState
from keyturn.model.secret import Secret
from keyturn.system import temp_files
from keyturn.vault import files
from keyturn.vault.vault import Vault
from tests.core.vault.conftest import SECRET, MemoryKeyring, Sample

#: The calls that change anything on disk, or prepare to.
CALLS = ("open", "write", "fsync", "fchmod", "replace", "rename", "unlink", "mkdir")


def _change_keys(vault: Vault) -> None:
    vault.change_keys(lambda entries: entries.update(new={"n": 1}))


def _change_sessions(vault: Vault) -> None:
    vault.change_sessions(lambda entries: entries.update(new={"n": 1}))


def _check_vault(folder: Path, sample: Sample) -> None:
    """Check that the vault opens with its former contents, and the next write leaves no temporary file."""
    vault = Vault(folder)
    vault.unlock(recovery_key=sample.recovery_key)
    assert vault.key("deploy") == {"secret": SECRET}
    assert vault.key_names() in (("deploy",), ("deploy", "new"))
    assert vault.session("prod") == {"token": "session token"}
    vault.change_keys(lambda entries: entries.update(next={}))
    assert vault.key("next") == {}
    assert list(folder.glob(".*")) == []


@dataclass
class Interruption:
    """Runs `operation` in place of the `number`th call, and of all later ones if `lasting`."""

    number: int
    act: Callable[[], None]
    lasting: bool = False
    calls: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)

    @contextmanager
    def installed(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        with monkeypatch.context() as patch:
            for name in CALLS:
                patch.setattr(os, name, self._counted(name, getattr(os, name)))
            yield

    def _counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, args))
            count = len(self.calls)
            if count == self.number or (self.lasting and count > self.number):
                self.act()
            return real(*args, **kwargs)

        return call


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _was_killed(number: int, operation: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Return True if a child was killed at the `number`th call of `operation`; False if it has fewer."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            with Interruption(number, _kill).installed(monkeypatch):
                operation()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.waitstatus_to_exitcode(status) == 0
    return False


def test_killed_at_any_call_leaves_the_old_or_the_new(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for op in (_change_keys, _change_sessions):
        number = 1
        while True:
            copy = sample.copy(tmp_path / f"{op.__name__}-{number}")
            vault = copy.open_vault()
            killed = _was_killed(number, lambda op=op, vault=vault: op(vault), monkeypatch)  # type: ignore[misc]  # mypy cannot infer a lambda with a default
            _check_vault(copy.folder, sample)
            if not killed:
                break
            number += 1
        assert number > 8


def test_killed_at_any_call_while_it_is_made_leaves_no_vault_or_a_whole_one(
    tmp_path: Path, keyring: MemoryKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = 1
    killed = True
    while killed:
        folder = tmp_path / str(number) / "vault"
        vault = Vault(folder, keyring)
        killed = _was_killed(number, lambda vault=vault: vault.create("keyring"), monkeypatch)  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        if Vault(folder).state() is VaultState.ABSENT:
            vault.create("keyring")
        assert Vault(folder).state() is VaultState.CLOSED
        # The next start removes what the killed process left, once it is too old to be another host's.
        temp_files.remove_abandoned((), folder.parent, time.time() + 2 * temp_files.MIN_AGE_SECONDS)
        assert [path.name for path in folder.parent.iterdir()] == ["vault"]
        number += 1
    assert number > 10


def _hint_of(operation: Callable[[Vault], None], vault: Vault) -> str | None:
    """Return the hint of the error, None if there was no error. Another exception is a failure."""
    try:
        operation(vault)
    except VaultError as error:
        return error.hint
    return None


def test_killed_at_any_call_while_the_passphrase_changes_leaves_one_that_opens(
    guarded: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipient file identifies the present key file; the scrypt of both was not interrupted."""
    vault = guarded.open_vault()
    number = 1
    killed = True
    while killed:
        copy = guarded.copy(tmp_path / str(number))
        vault = copy.open_vault()
        killed = _was_killed(number, lambda vault=vault: vault.set_passphrase(Secret("new")), monkeypatch)  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        current = files.read_recipient_file(copy.folder)
        assert current is not None
        files.read_sealed_identity(copy.folder, current)
        assert Vault(copy.folder).state() is VaultState.LOCKED
        if number % 8 == 0 or not killed:
            vault.set_passphrase(Secret("newer"))
            Vault(copy.folder).unlock(passphrase=Secret("newer"))
        number += 1
    assert number > 12


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS, errno.EMFILE])
@pytest.mark.parametrize("lasting", [False, True])
def test_a_refusal_of_the_system_is_one_error_and_keeps_the_old(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, lasting: bool
) -> None:
    def refuse() -> None:
        raise OSError(code, os.strerror(code))

    for operation in (_change_keys, _change_sessions):
        number = 0
        while True:
            number += 1
            copy = sample.copy(tmp_path / f"{operation.__name__}-{number}")
            vault = copy.open_vault()
            refusal = Interruption(number, refuse, lasting)
            with refusal.installed(monkeypatch):
                hint = _hint_of(operation, vault)
            assert hint != ""
            _check_vault(copy.folder, sample)
            if len(refusal.calls) < number:
                break
        assert number > 8


def test_short_writes_are_completed(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[:7]))
    _change_keys(sample.open_vault())
    assert sample.open_vault().key_names() == ("deploy", "new")


def test_a_disk_that_lies_is_noticed_before_anything_is_replaced(
    sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    before = (sample.folder / "keys.age").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda handle, data: real(handle, bytes(len(data))))
        with pytest.raises(VaultError, match="returned other bytes"):
            _change_keys(sample.open_vault())
    assert (sample.folder / "keys.age").read_bytes() == before


def test_what_is_renamed_is_on_disk_first_and_the_folder_after(
    sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Power-loss model: a rename before the fsync of the contents could leave an empty file."""
    vault = sample.open_vault()
    synced: set[int] = set()
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def sync(handle: int) -> None:
        status = os.fstat(handle)
        synced.add(status.st_ino)
        steps.append("folder" if stat.S_ISDIR(status.st_mode) else "file")
        fsync(handle)

    def rename(source: Any, target: Any) -> None:
        new = Path(source).name.endswith(".tmp")
        assert not new or Path(source).stat().st_ino in synced
        steps.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", rename)
    _change_keys(vault)
    assert steps[:2] == ["file", "file"]
    assert steps[-2:] == ["rename", "folder"]
