"""Slots that open a vault; and the keyrings that are trusted with one."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keyturn.model.errors import (
    KeyringAbsent,
    KeyringDenied,
    KeyringLocked,
    NeedsUnlock,
    VaultError,
    WrongPassphrase,
)
from keyturn.model.secret import Secret
from keyturn.vault import age, documents, keyring_child, passphrase
from keyturn.vault.create import Export
from keyturn.vault.documents import Document
from keyturn.vault.keyring import KeyringPort, SystemKeyring
from keyturn.vault.vault import Vault
from tests.core.vault import weak_age
from tests.core.vault.conftest import PASSPHRASE, MemoryKeyring, Sample
from tests.core.vault.desktop_session import Desktop, busless_environ
from tests.core.vault.keyring_contract import CONTRACT
from tests.support.campaign import campaign


@pytest.mark.parametrize("promise", CONTRACT)
def test_the_keyring_in_memory_keeps_the_contract(
    keyring: MemoryKeyring, promise: Callable[[KeyringPort], None]
) -> None:
    promise(keyring)


# The vault's slots.


def test_a_second_slot_opens_it_too(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passphrase, "seal", weak_age.seal)
    vault = sample.open_vault()
    assert vault.slots() == ("keyring",)
    vault.set_passphrase(Secret(PASSPHRASE))
    assert vault.slots() == ("keyring", "passphrase")
    again = Vault(sample.folder, sample.keyring)
    again.unlock()
    again.forget()
    again.unlock(passphrase=Secret(PASSPHRASE))


def test_slots_are_changed_only_by_who_holds_the_identity(guarded: Sample) -> None:
    with pytest.raises(NeedsUnlock):
        Vault(guarded.folder).set_passphrase(Secret("x"))
    assert Vault(guarded.folder).slots() == ("passphrase",)


@pytest.mark.parametrize("error", [KeyringLocked, KeyringDenied, KeyringAbsent])
def test_what_the_keyring_says_is_passed_on(sample: Sample, error: type[VaultError]) -> None:
    assert sample.keyring is not None
    sample.keyring.refusal = error("system keyring", "so it is")
    with pytest.raises(error):
        Vault(sample.folder, sample.keyring).unlock()


def test_an_open_keyring_without_the_entry_is_absent_and_not_a_wrong_passphrase(sample: Sample) -> None:
    with pytest.raises(KeyringAbsent, match="no entry for this vault") as excinfo:
        Vault(sample.folder, MemoryKeyring()).unlock()
    assert not isinstance(excinfo.value, WrongPassphrase)
    with pytest.raises(KeyringAbsent):
        Vault(sample.folder).unlock()


class _PerConnectionKeyring(MemoryKeyring):
    """Keeps an entry only as long as the connection that stored it, like a service that dies right after."""

    def set(self, entry: str, secret: Secret) -> None:
        super().set(entry, secret)
        assert super().get(entry) == secret
        self.entries.clear()


def test_nothing_rests_on_a_keyring_that_keeps_an_entry_for_one_connection(tmp_path: Path) -> None:
    with pytest.raises(KeyringDenied, match="returned another value"):
        Vault(tmp_path / "new" / "vault", _PerConnectionKeyring()).create("keyring")
    assert list((tmp_path / "new").iterdir()) == []


def test_two_folders_with_the_same_identity_keep_separate_entries(
    sample: Sample, tmp_path: Path, keyring: MemoryKeyring
) -> None:
    own_entry = next(iter(keyring.entries))
    second = Vault(tmp_path / "second" / "vault", keyring)
    exported = Export(
        age.identity_from(sample.recovery_key), Document(documents.KEYS, 1, {"deploy": {}}), None
    )
    second.import_export(exported, "keyring")
    assert len(keyring.entries) == 2
    keyring.delete(own_entry)
    again = Vault(second.folder, keyring)
    again.unlock()
    assert again.key_names() == ("deploy",)


def test_a_moved_folder_finds_its_entry(sample: Sample, tmp_path: Path) -> None:
    moved = sample.folder.rename(tmp_path / "moved")
    Vault(moved, sample.keyring).unlock()


# Trusted keyrings.


def test_without_a_session_bus_it_is_absent() -> None:
    with pytest.raises(KeyringAbsent) as excinfo:
        SystemKeyring(busless_environ()).backend()
    assert excinfo.value.hint


HOSTILE = """
from pathlib import Path
from keyring.backend import KeyringBackend

class PlaintextKeyring(KeyringBackend):
    priority = 100
    def get_password(self, service, username):
        return None
    def set_password(self, service, username, password):
        Path({target!r}).write_text(password)
    def delete_password(self, service, username):
        pass
Path({loaded!r}).touch()
"""


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a backend that stores in plaintext and announces itself to `keyring` with the highest
    priority."""
    source = HOSTILE.format(target=str(tmp_path / "in-clear"), loaded=str(tmp_path / "loaded"))
    (tmp_path / "plainfile.py").write_text(source)
    (tmp_path / "plainfile-1.dist-info").mkdir()
    (tmp_path / "plainfile-1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: plainfile\nVersion: 1\n"
    )
    (tmp_path / "plainfile-1.dist-info" / "entry_points.txt").write_text(
        "[keyring.backends]\nplain = plainfile\n"
    )
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    return tmp_path


def test_the_automatic_choice_of_the_library_would_store_in_clear(hostile: Path) -> None:
    """Control: without a bus, `keyring` itself chooses the plaintext backend."""
    code = "import sys, keyring; sys.path.append(sys.argv[1]); keyring.set_password('s', 'u', 'canary')"
    subprocess.run([sys.executable, "-c", code, hostile], env=busless_environ(HOME=str(hostile)), check=True)
    assert (hostile / "in-clear").read_text() == "canary"


@pytest.mark.parametrize(
    "configured",
    [
        "",
        "plainfile.PlaintextKeyring",
        *campaign(
            "keyrings.alt.file.PlaintextKeyring",
            "keyring.backends.null.Keyring",
            "keyring.backends.fail.Keyring",
            "keyring.backends.chainer.ChainerBackend",
            "keyring.backends.libsecret.Keyring",
            "keyring.backends.SecretService.Keyring",
            "no.such.Backend",
            "\x1b]0;x\x07",
        ),
    ],
)
@pytest.mark.parametrize("by", ["variable", "file"])
def test_a_backend_that_is_not_on_the_list_is_absent_and_never_loaded(
    hostile: Path, configured: str, by: str
) -> None:
    environ = busless_environ(HOME=str(hostile))
    if by == "variable":
        environ["PYTHON_KEYRING_BACKEND"] = configured
    else:
        (hostile / ".config" / "python_keyring").mkdir(parents=True)
        config = f"[backend]\ndefault-keyring={configured}\nkeyring-path={hostile}\n"
        (hostile / ".config" / "python_keyring" / "keyringrc.cfg").write_text(config)
    vault = Vault(hostile / "data" / "vault", SystemKeyring(environ))
    with pytest.raises(KeyringAbsent) as excinfo:
        vault.create("keyring")
    assert excinfo.value.line().isprintable()
    assert not (hostile / "loaded").exists()
    assert not (hostile / "in-clear").exists()
    assert not vault.folder.exists()


class _FaultyBackend:
    """A backend in memory with one defect."""

    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.entries: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        value = self.entries.get((service, username))
        return value[:10] if value and self.fault == "truncates" else value

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.fault != "forgets":
            self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if self.fault != "keeps":
            self.entries.pop((service, username), None)


@pytest.mark.parametrize("fault", ["truncates", "forgets", "keeps"])
def test_a_backend_that_fails_the_probe_is_not_trusted(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = _FaultyBackend(fault)
    monkeypatch.delenv("PYTHON_KEYRING_BACKEND", raising=False)
    monkeypatch.setattr(keyring_child, "_LINUX", ("fake",))
    monkeypatch.setattr(keyring_child, "_MAC", ("fake",))
    monkeypatch.setitem(keyring_child.ALLOWED, "fake", ("fake", lambda: fake))
    with pytest.raises(keyring_child.Refusal) as excinfo:
        keyring_child.perform({"op": "set", "entry": "e", "value": "identity"})
    assert excinfo.value.kind == "denied"
    assert "identity" not in fake.entries.values()


def test_the_probe_leaves_nothing_and_every_operation_works(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = _FaultyBackend("none")
    monkeypatch.delenv("PYTHON_KEYRING_BACKEND", raising=False)
    monkeypatch.setattr(keyring_child, "_LINUX", ("fake",))
    monkeypatch.setattr(keyring_child, "_MAC", ("fake",))
    monkeypatch.setitem(keyring_child.ALLOWED, "fake", ("Fake", lambda: fake))
    assert keyring_child.perform({"op": "probe", "entry": ""}) == {"backend": "Fake"}
    assert fake.entries == {}
    keyring_child.perform({"op": "set", "entry": "e", "value": "v"})
    assert fake.entries == {("keyturn", "e"): "v"}
    assert keyring_child.perform({"op": "get", "entry": "e"})["value"] == "v"
    keyring_child.perform({"op": "delete", "entry": "e"})
    assert fake.entries == {}


@contextmanager
def _bus(path: Path, *, greets: bool) -> Iterator[dict[str, str]]:
    """Start a session bus that accepts every client if it `greets`, and then stays silent; yield its
    environment."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            peer, _ = server.accept()
            with peer:
                while data := peer.recv(4096):
                    if greets and b"AUTH" in data:
                        peer.sendall(b"OK 0123456789abcdef0123456789abcdef\r\n")
                    elif greets and b"NEGOTIATE_UNIX_FD" in data:
                        peer.sendall(b"ERROR\r\n")

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield busless_environ(DBUS_SESSION_BUS_ADDRESS=f"unix:path={path}")
    thread.join()


def test_a_bus_that_never_answers_is_given_up_after_three_seconds(tmp_path: Path) -> None:
    with _bus(tmp_path / "bus", greets=True) as environ:
        start = time.monotonic()
        with pytest.raises(KeyringAbsent, match="no answer within 3 s"):
            SystemKeyring(environ).backend()
        assert 2.9 < time.monotonic() - start < 20


def test_a_bus_that_does_not_greet_is_absent(tmp_path: Path) -> None:
    with (
        _bus(tmp_path / "bus", greets=False) as environ,
        pytest.raises(KeyringAbsent, match="no response from the session bus"),
    ):
        SystemKeyring(environ).backend()


# The real backend, in its own session.


@pytest.fixture
def desktop(tmp_path: Path) -> Desktop:
    return Desktop(tmp_path)


def test_gnome_keyring_keeps_the_contract(desktop: Desktop) -> None:
    contract, probe, items = desktop.session("contract,probe,items", "login password")
    assert contract == {"value": [promise.__name__ for promise in CONTRACT]}
    assert probe == {"value": "Secret Service"}
    assert not [label for label in items["value"] if "probe" in label]


def test_gnome_keyring_holds_a_vault_over_logins_and_locked_is_not_absent(desktop: Desktop) -> None:
    create, unlock, lock, refused, probe = desktop.session(
        "create,unlock,lock,unlock,probe", "login password"
    )
    assert create == {"value": "open"}
    assert unlock == {"value": {"n": 1}}
    assert lock == {"value": True}
    assert refused["error"] == probe["error"] == "KeyringLocked"
    assert desktop.session("unlock", "login password") == [{"value": {"n": 1}}]
    assert desktop.session("unlock", "another password")[0]["error"] == "KeyringLocked"
    assert desktop.session("unlock")[0]["error"] == "KeyringLocked"


def test_a_secret_service_without_a_keyring_is_absent_and_asks_for_nothing(desktop: Desktop) -> None:
    probe, create = desktop.session("probe,create")
    assert probe["error"] == create["error"] == "KeyringAbsent"
    assert "no default keyring" in probe["line"]
    assert not (desktop.folder / "data" / "vault").exists()
