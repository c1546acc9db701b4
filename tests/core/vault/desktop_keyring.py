"""Program that uses the real system keyring, in a session made by a test.

`python desktop_keyring.py CASE FOLDER` prints the result as one JSON document.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from keyturn.model.errors import KeyturnError
from keyturn.vault.keyring import SystemKeyring
from keyturn.vault.vault import Vault
from tests.core.vault.keyring_contract import CONTRACT


def _contract(folder: Path) -> object:
    del folder
    for promise in CONTRACT:
        promise(SystemKeyring())
    return [promise.__name__ for promise in CONTRACT]


def _probe(folder: Path) -> object:
    del folder
    return SystemKeyring().backend()


def _create(folder: Path) -> object:
    vault = Vault(folder, SystemKeyring())
    vault.create("keyring")
    vault.change_keys(lambda entries: entries.update(deploy={"n": 1}))
    return vault.state()


def _unlock(folder: Path) -> object:
    vault = Vault(folder, SystemKeyring())
    vault.unlock()
    return vault.key("deploy")


def _lock(folder: Path) -> object:
    """Lock the default collection, as a user does on the desktop."""
    del folder
    import secretstorage

    with closing(secretstorage.dbus_init()) as bus:
        collection = secretstorage.Collection(bus)
        collection.lock()
        return collection.is_locked()


def _items(folder: Path) -> object:
    """Return the labels of all items in the default collection."""
    del folder
    import secretstorage

    with closing(secretstorage.dbus_init()) as bus:
        return sorted(item.get_label() for item in secretstorage.Collection(bus).get_all_items())


def _create_second(folder: Path) -> object:
    """Make another vault beside the first."""
    vault = Vault(folder.with_name("second"), SystemKeyring())
    vault.create("keyring")
    return vault.state()


def _kill(folder: Path) -> object:
    """Kill the daemon, as a crash or an update of the desktop does."""
    del folder
    import os
    import signal
    from importlib import import_module

    import secretstorage

    jeepney: Any = import_module("jeepney")
    with closing(secretstorage.dbus_init()) as bus:
        message = jeepney.DBus().GetConnectionUnixProcessID("org.freedesktop.secrets")
        (pid,) = bus.send_and_get_reply(message).body
        os.kill(pid, signal.SIGKILL)
        owner = jeepney.DBus().NameHasOwner("org.freedesktop.secrets")
        while bus.send_and_get_reply(owner).body[0]:
            pass
    return True


def _entries() -> Any:
    """Return the vault's entries, each with its connection open until the process ends."""
    import secretstorage

    bus = secretstorage.dbus_init()
    return list(secretstorage.Collection(bus).search_items({"service": "keyturn"}))


def _delete_entry(folder: Path) -> object:
    """Delete the vault's entry, as a user does with the desktop's key program."""
    del folder
    for item in _entries():
        item.delete()
    return True


def _alter_entry(folder: Path) -> object:
    """Replace the contents of the vault's entry."""
    del folder
    for item in _entries():
        item.set_secret(b"\xff\x00 not what it was")
    return True


def _delete_collection(folder: Path) -> object:
    """Delete the whole keyring."""
    del folder
    import secretstorage

    with closing(secretstorage.dbus_init()) as bus:
        secretstorage.Collection(bus).delete()
    return True


CASES: dict[str, Callable[[Path], object]] = {
    "contract": _contract,
    "probe": _probe,
    "create": _create,
    "unlock": _unlock,
    "lock": _lock,
    "items": _items,
    "second": _create_second,
    "kill": _kill,
    "delete-entry": _delete_entry,
    "alter-entry": _alter_entry,
    "delete-collection": _delete_collection,
}


def main() -> None:
    """Run one case of the command line."""
    cases, folder = sys.argv[1].split(","), Path(sys.argv[2])
    for case in cases:
        outcome: dict[str, Any]
        try:
            outcome = {"value": CASES[case](folder)}
        except KeyturnError as error:
            outcome = {"error": type(error).__name__, "line": error.line()}
        sys.stdout.write(json.dumps(outcome) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
