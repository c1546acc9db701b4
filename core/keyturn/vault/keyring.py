"""What can hold the vault's identity: the port to the system keyring, and the real one.

The other two slots need no port: a passphrase seals `identity.age` (:mod:`keyturn.vault.passphrase`), and the recovery key
is the identity itself, kept by the person.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any, Protocol

from keyturn.model.errors import KeyringAbsent, KeyringDenied, KeyringLocked, VaultCorrupt, VaultError
from keyturn.model.secret import Secret
from keyturn.system import child_process

#: A working keyring answers in a twentieth of this; where it would ask by a window that nobody sees, this ends it.
SECONDS = 3.0
#: macOS asks the person itself, once per program, whether it may read the entry.
MAC_SECONDS = 60.0

_NAME = "system keyring"
_OTHER_SLOTS_HINT = "`keyturn vault unlock` also takes the passphrase or the recovery key"
_DENIED_HINT = f"Allow keyturn to use it, then try again; {_OTHER_SLOTS_HINT}"
_ERRORS: dict[str, tuple[type[VaultError], str]] = {
    "locked": (
        KeyringLocked,
        f"Unlock it (log in to the desktop, or `gnome-keyring-daemon --unlock`), then try again; {_OTHER_SLOTS_HINT}",
    ),
    "denied": (KeyringDenied, _DENIED_HINT),
    "absent": (KeyringAbsent, f"A passphrase does without one; {_OTHER_SLOTS_HINT}"),
    "corrupt": (VaultCorrupt, f"Somebody changed it; {_OTHER_SLOTS_HINT}"),
}


class KeyringPort(Protocol):
    """A keyring that keeps one short secret per entry name.

    Every method raises `KeyringAbsent` (there is none that can be trusted), `KeyringLocked` (there is, but closed) or
    `KeyringDenied` (it, or its owner, said no), and may take seconds; :meth:`get` raises `VaultCorrupt` for an entry that
    is no text.
    """

    def backend(self) -> str:
        """Its name for a person ("Secret Service"), after a probe was written, read back and deleted."""
        ...

    def get(self, entry: str) -> Secret | None:
        """The secret of `entry`; None only if the keyring is open and has no such entry."""
        ...

    def set(self, entry: str, secret: Secret) -> None:
        """Stores `secret` after a probe as in :meth:`backend`, and reads it back."""
        ...

    def delete(self, entry: str) -> None:
        """Removes `entry`; nothing happens where there is none."""
        ...


class SystemKeyring:
    """The keyring of the person's desktop, through the `keyring` library in a child process.

    The child cannot hang this process, its connection ends with it, and it never opens a window: a locked keyring is
    `KeyringLocked`, not a prompt.

    :param environ: the environment that leads to the keyring (session bus, home); the process's own by default.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = environ

    def backend(self) -> str:
        """As in :class:`KeyringPort`; about 0.3 s."""
        return str(self._run_child("probe")["backend"])

    def get(self, entry: str) -> Secret | None:
        """As in :class:`KeyringPort`."""
        value = self._run_child("get", entry)["value"]
        return None if value is None else Secret(value)

    def set(self, entry: str, secret: Secret) -> None:
        """As in :class:`KeyringPort`."""
        self._run_child("set", entry, secret)

    def delete(self, entry: str) -> None:
        """As in :class:`KeyringPort`."""
        self._run_child("delete", entry)

    def _run_child(self, op: str, entry: str = "", secret: Secret | None = None) -> dict[str, Any]:
        seconds = MAC_SECONDS if sys.platform == "darwin" and op != "probe" else SECONDS
        request = {"op": op, "entry": entry, "seconds": seconds}
        if secret is not None:
            request["value"] = secret.reveal()
        environ = os.environ if self._environ is None else self._environ
        child_environ = {name: value for name, value in environ.items() if not name.startswith("AWS_")}
        try:
            reply = child_process.run(
                "keyturn.vault.keyring_child", json.dumps(request).encode(), seconds, child_environ
            )
        except child_process.ChildFailed as failure:
            raise KeyringAbsent(_NAME, failure.why, _ERRORS["absent"][1]) from None
        try:
            answer: dict[str, Any] = json.loads(reply)
        except ValueError:
            # A library of the desktop that prints what it thinks of its keyring.
            raise KeyringDenied(_NAME, "it answers in a way that nobody understands", _DENIED_HINT) from None
        if "refused" in answer:
            error, hint = _ERRORS[answer["refused"]]
            raise error(_NAME, answer["why"], hint)
        return answer
