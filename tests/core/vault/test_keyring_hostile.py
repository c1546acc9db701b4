"""A Secret Service that refuses, hangs, lies or disappears: a typed error with the next step, in time, and no
partial result."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keyturn.model.errors import KeyringAbsent, KeyringDenied, KeyringLocked, VaultCorrupt, VaultError
from keyturn.model.profile import VaultState
from keyturn.model.secret import Secret
from keyturn.vault import age
from keyturn.vault.keyring import SystemKeyring
from keyturn.vault.vault import Vault
from tests.core.vault.fake_secret_service import FAULTS, HANGS, FakeSecretService, bus
from tests.support.campaign import campaign

ENTRY = "age1entry.0"
VALUE = Secret("AGE-SECRET-KEY-1" + "Q" * 58)
Op = Callable[[SystemKeyring], object]
OPS: dict[str, Op] = {
    "get": lambda port: port.get(ENTRY),
    "set": lambda port: port.set(ENTRY, VALUE),
    "delete": lambda port: port.delete(ENTRY),
}
#: The imports of a child on a busy machine, added to its own 3 s.
SECONDS = 20.0


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with bus(tmp_path_factory.mktemp("bus")) as found:
        yield found


def environ(address: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "DBUS_SESSION_BUS_ADDRESS": address}


def _run_op(service: FakeSecretService, op: str) -> tuple[VaultError | None, object]:
    """Return the outcome of `op`: a keyturn error or a value."""
    start = time.monotonic()
    error, value = _outcome(lambda: OPS[op](SystemKeyring(environ(service.address))))
    assert time.monotonic() - start < SECONDS
    return error, value


def _outcome(operation: Callable[[], object]) -> tuple[VaultError | None, object]:
    excinfo: VaultError
    try:
        return None, operation()
    except (KeyringAbsent, KeyringDenied, KeyringLocked, VaultCorrupt) as error:
        excinfo = error
    assert excinfo.hint
    assert excinfo.line().isprintable()
    assert VALUE.reveal() not in excinfo.line()
    return excinfo, None


def _run_with_fault(address: str, op: str, fault: str, number: int) -> bool:
    """Run one operation with one fault; return True if the fault occurred."""
    service = FakeSecretService(address)
    with service.serve():
        if op != "set":
            SystemKeyring(environ(address)).set(ENTRY, VALUE)
        service.reset(fault, number)
        error, value = _run_op(service, op)
        if error is None:
            assert op != "get" or value == VALUE
            stored = [secret for _, secret in service.items.values()]
            assert op != "set" or stored == [VALUE.reveal().encode()]
            assert op != "delete" or stored == []
        return len(service.calls) >= number


def _run_every_fault(address: str, op: str, fault: str, every: int, start: int = 1) -> int:
    """Inject the fault at every `every`th call of an operation; return the number of runs."""
    number, runs = start, 0
    while _run_with_fault(address, op, fault, number):
        number += every
        runs += 1
    return runs


def test_the_fake_keeps_what_it_is_given(address: str) -> None:
    """Control: without a fault, all operations succeed."""
    service = FakeSecretService(address)
    with service.serve():
        for op in ("set", "get", "delete"):
            assert _run_op(service, op)[0] is None
        assert service.items == {}
        assert _run_op(service, "get") == (None, None)
        assert {call.split()[0] for call in service.calls} >= {
            "CreateItem",
            "GetSecret",
            "Delete",
            "SearchItems",
        }


@pytest.mark.parametrize(("op", "start"), [("get", 4), ("set", 9), *campaign(("delete", 5))])
@pytest.mark.parametrize("fault", [*campaign("deny"), "die", "garbage"])
def test_a_service_that_fails_in_the_middle_is_one_typed_error(
    address: str, op: str, fault: str, start: int
) -> None:
    _run_with_fault(address, op, fault, start)


@pytest.mark.campaign
@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_service_that_fails_at_any_call_is_one_typed_error(
    address: str, fault: str, record_property: Callable[[str, object], None]
) -> None:
    runs = sum(_run_every_fault(address, op, fault, 1) for op in OPS)
    assert runs > 40
    record_property(f"vault: Secret Service faults ({fault})", runs)


def test_a_service_that_refuses_is_denied_and_one_that_is_gone_is_absent(address: str) -> None:
    for fault, kind in (("deny", KeyringDenied), ("die", KeyringAbsent)):
        service = FakeSecretService(address)
        with service.serve():
            SystemKeyring(environ(address)).set(ENTRY, VALUE)
            service.reset(fault, len(_calls_of_get(service)))
            assert type(_run_op(service, "get")[0]) is kind


def _calls_of_get(service: FakeSecretService) -> list[str]:
    service.reset()
    assert _run_op(service, "get") == (None, VALUE)
    return list(service.calls)


def test_a_dismissed_prompt_is_denied_and_one_that_nobody_sees_ends(address: str) -> None:
    for fault, kind in (("dismiss", KeyringDenied), ("prompt", KeyringAbsent)):
        service = FakeSecretService(address)
        with service.serve():
            assert _run_op(service, "set")[0] is None
            service.reset(fault, service.calls.index("CreateItem") + 1)
            assert type(_run_op(service, "set")[0]) is kind


@pytest.mark.campaign
@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", HANGS)
def test_a_service_that_hangs_at_any_call_ends(
    address: str, fault: str, record_property: Callable[[str, object], None]
) -> None:
    runs = sum(
        _run_every_fault(address, op, fault, 5, start)
        for op, start in (("get", 1), ("set", 2), ("delete", 3))
    )
    record_property(f"vault: Secret Service faults ({fault})", runs)


def test_a_locked_keyring_and_a_locked_entry_are_locked_and_not_absent(address: str) -> None:
    service = FakeSecretService(address)
    with service.serve():
        SystemKeyring(environ(address)).set(ENTRY, VALUE)
        service.locked = True
        for op in OPS:
            assert type(_run_op(service, op)[0]) is KeyringLocked
        service.locked, service.locked_items = False, True
        for op in ("get", "delete"):
            assert type(_run_op(service, op)[0]) is KeyringLocked


def test_a_bus_that_forbids_it_is_denied(tmp_path: Path) -> None:
    with bus(tmp_path, f'<deny send_destination="{"org.freedesktop.secrets"}"/>') as closed:
        service = FakeSecretService(closed)
        with service.serve():
            for op in OPS:
                assert type(_run_op(service, op)[0]) is KeyringDenied


def test_no_service_and_no_bus_are_absent(address: str, tmp_path: Path) -> None:
    for leading in (address, f"unix:path={tmp_path / 'none'}", "garbage", "tcp:host=127.0.0.1,port=1"):
        for op in ("get", "set"):
            with pytest.raises(KeyringAbsent) as excinfo:
                OPS[op](SystemKeyring(environ(leading)))
            assert excinfo.value.hint


# The vault's errors.

WRONG_SECRETS: dict[str, Callable[[bytes], bytes]] = {
    "another's": lambda _: age.Identity.generate().reveal().reveal().encode(),
    "cut off": lambda secret: secret[:-1],
    "empty": lambda _: b"",
    "no text": lambda _: b"\xff\xfe\x00",
    "hostile text": lambda _: b"\x1b]0;x\x07" * 9,
    "megabytes": lambda secret: secret * 20_000,
}


def test_a_spoiled_entry_opens_nothing_and_is_corrupt(address: str, tmp_path: Path) -> None:
    service = FakeSecretService(address)
    with service.serve():
        vault = Vault(tmp_path / "vault", SystemKeyring(environ(address)))
        recovery_key = vault.create("keyring")
        vault.forget()
        for spoil in WRONG_SECRETS.values():
            service.spoil = spoil
            with pytest.raises(VaultCorrupt) as excinfo:
                vault.unlock()
            assert excinfo.value.line().isprintable()
            assert excinfo.value.hint
            assert recovery_key.reveal() not in excinfo.value.line()
        service.spoil = bytes
        vault.unlock()


@pytest.mark.parametrize("case", ["another's", "no text"])
def test_no_vault_is_made_on_a_service_that_gives_back_something_else(
    address: str, tmp_path: Path, case: str
) -> None:
    service = FakeSecretService(address, spoil=WRONG_SECRETS[case])
    with service.serve():
        vault = Vault(tmp_path / "new" / "vault", SystemKeyring(environ(address)))
        with pytest.raises(VaultError):
            vault.create("keyring")
        assert vault.state() is VaultState.ABSENT
        assert list((tmp_path / "new").iterdir()) == []


def _create_with_fault(address: str, folder: Path, fault: str, number: int) -> bool:
    """Create a vault while the service fails: it is complete or absent; return True if the fault occurred."""
    service = FakeSecretService(address, fault, number)
    vault = Vault(folder / f"{fault}-{number}" / "vault", SystemKeyring(environ(address)))
    with service.serve():
        error, recovery_key = _outcome(lambda: vault.create("keyring"))
        occurred = len(service.calls) >= number
    if error is not None:
        assert vault.state() is VaultState.ABSENT
        assert [path.name for path in vault.folder.parent.glob("*")] == []
        return occurred
    again = FakeSecretService(address, items=service.items)
    with again.serve():
        opened = Vault(vault.folder, SystemKeyring(environ(address)))
        opened.unlock()
        assert opened.recovery_key() == recovery_key
    return occurred


@pytest.mark.parametrize(("fault", "number"), [("die", 41), ("deny", 33), ("garbage", 27)])
def test_a_vault_over_a_service_that_fails_is_whole_or_not_there(
    address: str, tmp_path: Path, fault: str, number: int
) -> None:
    assert _create_with_fault(address, tmp_path, fault, number)


@pytest.mark.campaign
@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", ["die", "deny"])
def test_a_vault_over_a_service_that_fails_at_any_call_is_whole_or_not_there(
    address: str, tmp_path: Path, fault: str, record_property: Callable[[str, object], None]
) -> None:
    number = 1
    while _create_with_fault(address, tmp_path, fault, number):
        number += 1
    assert number > 40
    record_property(f"vault: made over a failing keyring ({fault})", number - 1)
