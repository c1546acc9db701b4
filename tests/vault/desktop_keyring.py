"""Uses the real system keyring, in a session that a test has made for it.

`python desktop_keyring.py CASE FOLDER` prints what came out, one JSON document.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from keyturn.errors import KeyturnError
from keyturn.vault.slots import SystemKeyring
from keyturn.vault.vault import Vault
from tests.vault.keyring_contract import CONTRACT


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
    """Locks the default collection, as a person does by their desktop."""
    del folder
    import secretstorage

    with closing(secretstorage.dbus_init()) as bus:
        collection = secretstorage.Collection(bus)
        collection.lock()
        return collection.is_locked()


def _items(folder: Path) -> object:
    """The labels of all that the default collection holds."""
    del folder
    import secretstorage

    with closing(secretstorage.dbus_init()) as bus:
        return sorted(item.get_label() for item in secretstorage.Collection(bus).get_all_items())


CASES: dict[str, Callable[[Path], object]] = {
    "contract": _contract,
    "probe": _probe,
    "create": _create,
    "unlock": _unlock,
    "lock": _lock,
    "items": _items,
}


def main() -> None:
    """One line per case of the command line."""
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
