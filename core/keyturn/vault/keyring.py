"""The keyring slot: the port to the system keyring, and its implementation.

The other ways to open the vault need no port: a passphrase opens `identity.age`
(:mod:`keyturn.vault.passphrase`), and the recovery key is the identity itself, stored by the user.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any, Protocol

from keyturn.model.errors import (
    KeyringAbsent,
    KeyringDenied,
    KeyringLocked,
    Parts,
    Remedy,
    VaultCorrupt,
    VaultError,
)
from keyturn.model.secret import Secret
from keyturn.system import child_process

#: Timeout in seconds. A working keyring answers in a twentieth of it. It ends a keyring that prompts in a
#: window that no user sees.
SECONDS = 3.0
#: Timeout on macOS in seconds, where the system asks the user once per program for access to the entry.
MAC_SECONDS = 60.0

_NAME = "System keyring"
_OTHER_SLOTS: Parts = ("`", Remedy("vault unlock"), "` also accepts the passphrase or the recovery key")
_ERRORS: dict[str, tuple[type[VaultError], str]] = {
    "locked": (
        KeyringLocked,
        "Unlock it (log in to the desktop, or `gnome-keyring-daemon --unlock`), then try again; ",
    ),
    "denied": (KeyringDenied, "Allow keyturn to use it, then try again; "),
    "absent": (KeyringAbsent, "A passphrase works without a keyring; "),
    "corrupt": (VaultCorrupt, "The entry was changed; "),
}


class KeyringPort(Protocol):
    """A keyring that stores one short secret per entry name.

    Every method may take seconds and raises `KeyringAbsent` (there is no trusted keyring), `KeyringLocked`,
    or `KeyringDenied` (the keyring or the user refused). :meth:`get` raises `VaultCorrupt` for an entry that
    is not text.
    """

    def backend(self) -> str:
        """Return the keyring's display name ("Secret Service"), after a probe was written, read back and
        deleted."""

    def get(self, entry: str) -> Secret | None:
        """Return the secret of `entry`; None only if the keyring is unlocked and has no such entry."""

    def set(self, entry: str, secret: Secret) -> None:
        """Store `secret` after a probe as in :meth:`backend`, and read it back."""

    def delete(self, entry: str) -> None:
        """Delete `entry`; do nothing if it does not exist."""


class SystemKeyring:
    """The desktop keyring, through the `keyring` library in a child process.

    The child cannot block this process, its connection ends with it, and it never opens a window: a locked
    keyring raises `KeyringLocked` instead of a prompt.

    :param environ: the environment that leads to the keyring (session bus, home); by default that of this
        process.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = environ

    def backend(self) -> str:
        """See :class:`KeyringPort`. Takes about 0.3 s."""
        return str(self._run_child("probe")["backend"])

    def get(self, entry: str) -> Secret | None:
        """See :class:`KeyringPort`."""
        value = self._run_child("get", entry)["value"]
        return None if value is None else Secret(value)

    def set(self, entry: str, secret: Secret) -> None:
        """See :class:`KeyringPort`."""
        self._run_child("set", entry, secret)

    def delete(self, entry: str) -> None:
        """See :class:`KeyringPort`."""
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
            raise _error("absent", str(failure)) from None
        try:
            answer: dict[str, Any] = json.loads(reply)
        except ValueError:
            # Some desktop library printed to standard output.
            raise _error("denied", "unexpected response") from None
        if "refused" in answer:
            raise _error(answer["refused"], answer["why"])
        return answer


def _error(kind: str, why: str) -> VaultError:
    error, advice = _ERRORS[kind]
    return error(_NAME, why, (advice, *_OTHER_SLOTS))
