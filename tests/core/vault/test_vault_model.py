"""The vault against a dictionary: after any sequence of put, replace, delete, lock, kill, damage and restore,
both hold the same."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from keyturn.model.errors import NeedsUnlock, VaultCorrupt
from keyturn.model.secret import Secret
from keyturn.vault import files
from keyturn.vault.vault import Vault
from tests.core.vault.conftest import MemoryKeyring
from tests.core.vault.vault_user import session_names

#: A process is killed before one of these calls, as in `test_vault_interrupted`.
CALLS = ("open", "write", "fsync", "replace", "unlink")
NAMES = st.sampled_from(["key/ci", "key/prod", "taken/ci", "key/\u202e", "key/a\nb", ""])
VALUES = st.dictionaries(st.sampled_from(["key_id", "secret", "ü"]), st.text(max_size=8), max_size=3)
Entries = dict[str, Any]


class VaultMachine(RuleBasedStateMachine):
    """The vault in a folder, and its expected contents."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="keyturn-model-", dir=_memory_folder()))
        self.keyring = MemoryKeyring()
        self.keys: Entries = {}
        self.sessions: Entries = {}
        self.old_copies: list[Entries] = [{}]
        """The contents of each generation on disk, the present one last."""
        self.known = 1
        self.damaged = False
        self.open = True

    @initialize()
    def make(self) -> None:
        self.vault = self._other_process()
        self.recovery_key: Secret = self.vault.create("keyring")

    def teardown(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)

    def _other_process(self) -> Vault:
        """Return the vault as another process sees it, with the index's memory of it."""
        known = self.known
        return Vault(self.home / "vault", self.keyring, expected_generation=lambda: known)

    def _why_unchangeable(self) -> bool:
        """Return the reason, in the contract's terms, why nothing can be changed now."""
        if not self.open:
            with pytest.raises(NeedsUnlock):
                self.vault.change_keys(lambda entries: entries.clear())
            return False
        if self.damaged:
            before = self._bytes()
            with pytest.raises(VaultCorrupt):
                self.vault.change_keys(lambda entries: entries.clear())
            assert self._bytes() == before
            return False
        return True

    def _bytes(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.home / "vault").glob("*.age")}

    def _changed(self, entries: Entries) -> None:
        if entries != self.keys:
            self.old_copies = [*self.old_copies, entries][-files.GENERATIONS :]
            self.known += 1
        self.keys = entries

    @rule(name=NAMES, value=VALUES)
    def put(self, name: str, value: Entries) -> None:
        if self._why_unchangeable():
            self.vault.change_keys(lambda entries: entries.update({name: value}))
            self._changed({**self.keys, name: value})

    @rule(which=st.integers(0, 9))
    def remove(self, which: int) -> None:
        """Remove an existing entry; it may be the last."""
        if self._why_unchangeable() and self.keys:
            name = sorted(self.keys)[which % len(self.keys)]
            self.vault.change_keys(lambda entries: entries.pop(name, None))
            self._changed({key: value for key, value in self.keys.items() if key != name})

    @rule(name=NAMES, value=VALUES)
    def cache(self, name: str, value: Entries) -> None:
        if self.open:
            self.vault.change_sessions(lambda entries: entries.update({name: value}))
            self.sessions = {**self.sessions, name: value}

    @rule()
    def lock(self) -> None:
        self.vault.forget()
        self.open = False

    @rule(by_keyring=st.booleans())
    def unlock(self, *, by_keyring: bool) -> None:
        self.vault = self._other_process()
        self.vault.unlock(recovery_key=None if by_keyring else self.recovery_key)
        self.open = True

    @rule(name=NAMES, value=VALUES, number=st.integers(1, 25))
    def kill_during_put(self, name: str, value: Entries, number: int) -> None:
        if not self._why_unchangeable():
            return
        new = {**self.keys, name: value}
        _run_killed(number, lambda: self.vault.change_keys(lambda entries: entries.update({name: value})))
        self.vault = self._other_process()
        self.vault.unlock(recovery_key=self.recovery_key)
        names = {found: self.vault.key(found) for found in self.vault.key_names()}
        assert names in (self.keys, new)
        generation = self.vault.generation()
        assert generation - self.known == (names == new and new != self.keys)
        if generation > self.known:
            self._changed(new)
        else:
            # A killed write may have left a second copy of the present generation among the older ones.
            self.old_copies = self._on_disk()

    def _on_disk(self) -> list[Entries]:
        from keyturn.vault import age

        identity = age.identity_from(self.recovery_key)
        found = [document for _, document in files.readable_generations(self.home / "vault", identity)]
        return [document.entries for document in sorted(found, key=lambda document: document.generation)]

    @rule(cut=st.integers(0, 60), more=st.integers(0, 3))
    def damage(self, cut: int, more: int) -> None:
        """Remove a byte from the present generation, after some changes, so that older ones exist."""
        if not self.open:
            self.unlock(by_keyring=True)
        for number in range(more):
            self.put("key/ci", {"n": f"{self.known} {number}"})
        path = self.home / "vault" / "keys.age"
        if not self.damaged:
            whole = path.read_bytes()
            path.write_bytes(whole[:cut] + whole[cut + 1 :])
            self.damaged = True
            self.old_copies = self.old_copies[:-1]
        if more % 2:
            self.restore()

    @rule()
    def roll_back(self) -> None:
        """Put an old copy in place of the present one, then revert that."""
        folder = self.home / "vault"
        if self.damaged or not self.open or not files.generation_path(folder, 2).exists():
            return
        whole = (folder / "keys.age").read_bytes()
        shutil.copy(files.generation_path(folder, 2), folder / "keys.age")
        self.vault = self._other_process()
        self.vault.unlock(recovery_key=self.recovery_key)
        with pytest.raises(VaultCorrupt, match="old copy"):
            self.vault.key_names()
        (folder / "keys.age").write_bytes(whole)

    @rule()
    def restore(self) -> None:
        if not self.open:
            return
        if not self.damaged:
            assert self.vault.restore_newest_good() is None
            return
        if not self.old_copies:
            with pytest.raises(VaultCorrupt):
                self.vault.restore_newest_good()
            return
        self.vault = self._other_process()
        self.vault.unlock(recovery_key=self.recovery_key)
        restored = self.vault.restore_newest_good()
        assert restored is not None
        assert restored.generation == self.known + 1
        self.keys = self.old_copies[-1]
        self.known = restored.generation
        self.old_copies = self._on_disk()
        self.damaged = False

    @invariant()
    def it_holds_what_the_dictionary_holds(self) -> None:
        if not self.open or not hasattr(self, "vault"):
            return
        assert {name: self.vault.session(name) for name in session_names(self.vault)} == self.sessions
        if self.damaged:
            with pytest.raises(VaultCorrupt):
                self.vault.key_names()
            return
        assert {name: self.vault.key(name) for name in self.vault.key_names()} == self.keys
        assert self.vault.generation() == self.known


def _memory_folder() -> str | None:
    """Return a folder in memory if possible, because only processes are killed here, not the machine."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108  # a folder of its own is made in it


def _run_killed(number: int, operation: Callable[[], object]) -> None:
    """Run `operation` in a child that is killed before its `number`th call, if it makes that many."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            left = iter(range(number - 1))
            for name in CALLS:
                setattr(os, name, _counted(getattr(os, name), left))
            operation()
            code = 0
        finally:
            os._exit(code)
    status = os.waitpid(pid, 0)[1]
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0


def _counted(real: Callable[..., Any], left: Any) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)

    return call


def _run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        VaultMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_vault_holds_what_a_dictionary_holds() -> None:
    _run(20, 30)


@pytest.mark.campaign
@pytest.mark.timeout(1200)
def test_the_vault_holds_what_a_dictionary_holds_over_long_histories(
    record_property: Callable[[str, object], None],
) -> None:
    _run(400, 50)
    record_property("vault: histories of 50 steps against a dictionary", 400)
