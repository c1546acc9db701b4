"""The child's side of the system keyring: which backend is trusted, and one operation on it.

`keyring` itself takes whatever backend has the highest priority, plaintext files included. Here a backend is used only
if it is on the list below, by its class; what the person configured for `keyring` is respected if it is on the list,
and means that there is no keyring if it is not. Left out on purpose: `keyrings.alt` and whatever else others install,
`fail`, `null`, the chainer (it passes a secret on to the next backend when the first refuses), and libsecret, which
speaks to the same Secret Service but opens a prompt where it is locked.
"""

from __future__ import annotations

import configparser
import json
import os
import secrets
import sys
from collections.abc import Callable
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from keyturn.system import child_process

SERVICE = "keyturn"
APP_ID = "keyturn"


class Refusal(Exception):
    """No operation took place.

    :param kind: `locked`, `denied`, `absent`, or `corrupt`: what it holds is no text.
    :param why: the cause, for a person.
    """

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(kind, why)
        self.kind = kind
        self.why = why


class Backend(Protocol):
    """What is used of a backend of `keyring`."""

    def get_password(self, service: str, username: str) -> str | None: ...
    def set_password(self, service: str, username: str, password: str) -> None: ...
    def delete_password(self, service: str, username: str) -> None: ...


def _secret_service() -> Backend:
    """The Secret Service by its default collection, as it is: never unlocked or created, which would ask in a window.

    The library's own way leaks the connection where it raises; this one closes it.
    """
    import secretstorage
    from keyring import errors
    from keyring.backends import SecretService

    class NoPromptKeyring(SecretService.Keyring):
        appid = APP_ID

        def get_preferred_collection(self) -> Any:
            try:
                bus = secretstorage.dbus_init()
            except (RuntimeError, ValueError):
                raise Refusal("absent", "DBUS_SESSION_BUS_ADDRESS leads to no session bus") from None
            try:
                if not secretstorage.check_service_availability(bus):
                    raise Refusal("absent", "no Secret Service runs on the session bus")
                try:
                    collection = secretstorage.Collection(bus)
                except secretstorage.ItemNotFoundException:
                    raise Refusal("absent", "the Secret Service has no default keyring") from None
                if collection.is_locked():
                    raise Refusal("locked", "the Secret Service's default keyring is locked")
            except BaseException:
                bus.close()
                raise
            return collection

        def unlock(self, item: Any) -> None:
            if item.is_locked():
                raise errors.KeyringLocked("the entry is locked")

        def set_password(self, service: str, username: str, password: str) -> None:
            collection = self.get_preferred_collection()
            with closing(collection.connection):
                attributes = self._query(service, username, application=self.appid)
                collection.create_item("keyturn vault identity", attributes, password.encode(), replace=True)

    return _instantiate(NoPromptKeyring)


def _kwallet() -> Backend:
    """KWallet, only where its wallet is open already: opening it would ask in a window."""
    from keyring.backends import kwallet

    _require_viable(kwallet.DBusKeyring)

    class NoPromptKeyring(kwallet.DBusKeyring):
        appid = APP_ID

        def connected(self, service: str) -> bool:
            dbus: Any = import_module("dbus")
            bus = dbus.SessionBus()
            wallet = dbus.Interface(bus.get_object(self.bus_name, self.object_path), "org.kde.KWallet")
            if not wallet.isOpen(wallet.networkWallet()):
                raise Refusal("locked", "the wallet is closed")
            connect: Any = super().connected
            return bool(connect(service))

    return _instantiate(NoPromptKeyring)


def _keychain() -> Backend:
    """The macOS Keychain."""
    from keyring.backends import macOS

    _require_viable(macOS.Keyring)
    return _instantiate(macOS.Keyring)


def _instantiate(backend: Any) -> Backend:
    """An instance; the library's own constructors have no types."""
    instance: Backend = backend()
    return instance


def _require_viable(backend: Any) -> None:
    """A backend's `priority` raises where it cannot work, which is how `keyring` asks."""
    try:
        _ = backend.priority
    except RuntimeError as error:
        raise Refusal("absent", str(error)) from None


#: By the name of the class in `keyring`: what a person calls it, and how it is opened.
ALLOWED: dict[str, tuple[str, Callable[[], Backend]]] = {
    "keyring.backends.macOS.Keyring": ("macOS Keychain", _keychain),
    "keyring.backends.SecretService.Keyring": ("Secret Service", _secret_service),
    "keyring.backends.kwallet.DBusKeyring": ("KWallet", _kwallet),
}
_LINUX = ("keyring.backends.SecretService.Keyring", "keyring.backends.kwallet.DBusKeyring")
_MAC = ("keyring.backends.macOS.Keyring",)


def candidates() -> tuple[str, ...]:
    """Class names to try, best first: the one that the person configured for `keyring`, else the platform's.

    Decided by name, before anything of a refused backend is imported.

    :raises Refusal: the configured one is not on the list.
    """
    configured = os.environ.get("PYTHON_KEYRING_BACKEND") or _from_config()
    if not configured:
        return _MAC if sys.platform == "darwin" else _LINUX
    if configured not in ALLOWED:
        raise Refusal("absent", f"keyring is configured to use {configured}, which keyturn does not trust")
    return (configured,)


def _from_config() -> str:
    """`default-keyring` of the file that `keyring` reads; empty where there is none."""
    from keyring.util import platform_

    config = configparser.RawConfigParser()
    path = Path(platform_.config_root()) / "keyringrc.cfg"
    try:
        config.read_string(path.read_text("utf-8"))
        return config.get("backend", "default-keyring", fallback="").strip()
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, configparser.Error):
        raise Refusal("absent", f"{path} cannot be read") from None


def perform(request: dict[str, Any]) -> dict[str, Any]:
    """One operation: `probe`, `get`, `set` or `delete`, on the first candidate that is there.

    :raises Refusal: no candidate is there, or it refused.
    """
    first_refusal: Refusal | None = None
    for name in candidates():
        display_name, open_backend = ALLOWED[name]
        try:
            return _translate_errors(open_backend, request) | {"backend": display_name}
        except Refusal as refusal:
            if refusal.kind != "absent":
                raise
            first_refusal = first_refusal or refusal
    raise first_refusal or Refusal("absent", "this system has none that keyturn knows")


def _operate(backend: Backend, request: dict[str, Any]) -> dict[str, Any]:
    op, entry = request["op"], request["entry"]
    if op == "get":
        value = backend.get_password(SERVICE, entry)
        if value is not None and type(value) is not str:
            raise Refusal("corrupt", "its entry for this vault is no text")
        return {"value": value}
    if op == "delete":
        if backend.get_password(SERVICE, entry) is not None:
            backend.delete_password(SERVICE, entry)
        return {}
    _probe(backend)
    if op == "set":
        backend.set_password(SERVICE, entry, request["value"])
        if backend.get_password(SERVICE, entry) != request["value"]:
            raise Refusal("denied", "it did not give back what was stored")
    return {}


def _probe(backend: Backend) -> None:
    """Writes, reads back and deletes an entry of its own; the value is as long as an identity."""
    entry, value = f"probe-{secrets.token_hex(8)}", secrets.token_hex(37)
    backend.set_password(SERVICE, entry, value)
    try:
        if backend.get_password(SERVICE, entry) != value:
            raise Refusal("denied", "it did not give back what was stored")
    finally:
        backend.delete_password(SERVICE, entry)
    if backend.get_password(SERVICE, entry) is not None:
        raise Refusal("denied", "it did not delete what was stored")


def _translate_errors(open_backend: Callable[[], Backend], request: dict[str, Any]) -> dict[str, Any]:
    """The operation, with the libraries' errors told apart."""
    from keyring import errors

    try:
        return _operate(open_backend(), request)
    except errors.KeyringLocked as error:
        # macOS: -128 is the person's own "deny"; every other refusal means that the keychain is closed to us.
        status = getattr(error.__cause__, "args", (None,))[0]
        raise Refusal("denied" if status == -128 else "locked", str(error)) from None
    except (errors.InitError, errors.NoKeyringError) as error:
        raise Refusal("absent", str(error)) from None
    except errors.KeyringError as error:
        raise Refusal("denied", str(error)) from None
    except UnicodeDecodeError:
        raise Refusal("corrupt", "its entry for this vault is no text") from None
    except OSError as error:
        raise Refusal(
            "absent", f"the session bus does not answer ({error or type(error).__name__})"
        ) from None
    except _secret_service_errors() as error:
        raise Refusal(_KINDS.get(type(error).__name__, "denied"), str(error)) from None


#: By the name of the class in `secretstorage`; all other errors of the service mean that it refused.
_KINDS = {
    "LockedException": "locked",
    "SecretServiceNotAvailableException": "absent",
    # Somebody else took the keyring or the entry away between two of our questions.
    "ItemNotFoundException": "absent",
}


def _secret_service_errors() -> tuple[type[Exception], ...]:
    """The error classes of the Secret Service's libraries, if they are loaded at all."""
    if "secretstorage" not in sys.modules:
        return ()
    import secretstorage

    jeepney: Any = import_module("jeepney")
    return (secretstorage.SecretStorageException, jeepney.DBusErrorResponse)


def child_main() -> None:
    """One request as JSON, one answer as JSON. Runs in the child."""
    request = json.loads(child_process.read_request())
    from keyring import errors  # noqa: F401  # its import is not to count against the limit

    child_process.limit(request["seconds"])
    try:
        reply = perform(request)
    except Refusal as refusal:
        reply = {"refused": refusal.kind, "why": refusal.why}
    except Exception as error:  # noqa: BLE001  # the boundary of the process; what a keyring answers has no limits
        reply = {
            "refused": "denied",
            "why": f"it answers in a way that nobody understands ({type(error).__name__})",
        }
    child_process.answer(json.dumps(reply).encode())
