"""Child process of the system keyring: selects a trusted backend and runs one operation on it.

`keyring` itself takes any backend of the highest priority, including plaintext files. Here a backend is used
only if its class is in :data:`ALLOWED`. The backend that the user configured for `keyring` is used if it is
in that list; otherwise there is no keyring. Excluded on purpose: `keyrings.alt` and other third-party
backends, `fail`, `null`, the chainer (it passes a secret on to the next backend if the first refuses), and
libsecret, which uses the same Secret Service but opens a prompt if it is locked.
"""

from __future__ import annotations

import configparser
import contextlib
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
    """The operation was not carried out.

    :param kind: `locked`, `denied`, `absent`, or `corrupt` (the entry is not text).
    :param why: the cause, for display.
    """

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(kind, why)
        self.kind = kind
        self.why = why


class Backend(Protocol):
    """The part of a `keyring` backend that is used."""

    def get_password(self, service: str, username: str) -> str | None: ...
    def set_password(self, service: str, username: str, password: str) -> None: ...
    def delete_password(self, service: str, username: str) -> None: ...


def _secret_service() -> Backend:
    """Return the default collection of the Secret Service. It is never unlocked or created, because that
    opens a window.

    The library leaks its connection if it raises; this class closes it.
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
                raise Refusal("absent", "no session bus at DBUS_SESSION_BUS_ADDRESS") from None
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
    """Return KWallet, only if its wallet is open, because opening it prompts in a window."""
    from keyring.backends import kwallet

    _require_viable(kwallet.DBusKeyring)

    class NoPromptKeyring(kwallet.DBusKeyring):
        appid = APP_ID

        def connected(self, service: str) -> bool:
            dbus: Any = import_module("dbus")
            bus = dbus.SessionBus()
            wallet = dbus.Interface(bus.get_object(self.bus_name, self.object_path), "org.kde.KWallet")
            if not wallet.isOpen(wallet.networkWallet()):
                raise Refusal("locked", "the wallet is locked")
            connect: Any = super().connected
            return bool(connect(service))

    return _instantiate(NoPromptKeyring)


def _keychain() -> Backend:
    """Return the macOS Keychain."""
    from keyring.backends import macOS

    _require_viable(macOS.Keyring)
    return _instantiate(macOS.Keyring)


def _instantiate(backend: Any) -> Backend:
    """Return an instance with a type; the library's constructors have none."""
    instance: Backend = backend()
    return instance


def _require_viable(backend: Any) -> None:
    """Raise `Refusal` if the backend cannot work here; its `priority` raises then, as `keyring` expects."""
    try:
        _ = backend.priority
    except RuntimeError as error:
        raise Refusal("absent", str(error)) from None


#: By class name in `keyring`: display name, and the function that opens it.
ALLOWED: dict[str, tuple[str, Callable[[], Backend]]] = {
    "keyring.backends.macOS.Keyring": ("macOS Keychain", _keychain),
    "keyring.backends.SecretService.Keyring": ("Secret Service", _secret_service),
    "keyring.backends.kwallet.DBusKeyring": ("KWallet", _kwallet),
}
_LINUX = ("keyring.backends.SecretService.Keyring", "keyring.backends.kwallet.DBusKeyring")
_MAC = ("keyring.backends.macOS.Keyring",)


def candidates() -> tuple[str, ...]:
    """Return the class names to try, best first: the one configured for `keyring`, otherwise those of the
    platform.

    Decided by name, so that nothing of a rejected backend is imported.

    :raises Refusal: if the configured one is not in :data:`ALLOWED`.
    """
    configured = os.environ.get("PYTHON_KEYRING_BACKEND") or _from_config()
    if not configured:
        return _MAC if sys.platform == "darwin" else _LINUX
    if configured not in ALLOWED:
        raise Refusal("absent", f"keyring is configured to use {configured}, which keyturn does not trust")
    return (configured,)


def _from_config() -> str:
    """Return `default-keyring` of the file that `keyring` reads; empty if there is none."""
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
    """Run one operation (`probe`, `get`, `set` or `delete`) on the first available candidate.

    :raises Refusal: if no candidate is available, or it refused.
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
    raise first_refusal or Refusal("absent", "no supported keyring on this system")


def _operate(backend: Backend, request: dict[str, Any]) -> dict[str, Any]:
    op, entry = request["op"], request["entry"]
    if op == "get":
        value = backend.get_password(SERVICE, entry)
        if value is not None and type(value) is not str:
            raise Refusal("corrupt", "its entry for this vault is not text")
        return {"value": value}
    if op == "delete":
        if backend.get_password(SERVICE, entry) is not None:
            backend.delete_password(SERVICE, entry)
        return {}
    _probe(backend)
    if op == "set":
        backend.set_password(SERVICE, entry, request["value"])
        if backend.get_password(SERVICE, entry) != request["value"]:
            raise Refusal("denied", "it returned another value than was stored")
    return {}


def _probe(backend: Backend) -> None:
    """Write, read back and delete a temporary entry; its value is as long as an identity."""
    entry, value = f"probe-{secrets.token_hex(8)}", secrets.token_hex(37)
    backend.set_password(SERVICE, entry, value)
    try:
        if backend.get_password(SERVICE, entry) != value:
            raise Refusal("denied", "it returned another value than was stored")
    finally:
        backend.delete_password(SERVICE, entry)
    if backend.get_password(SERVICE, entry) is not None:
        raise Refusal("denied", "it did not delete the stored value")


def _translate_errors(open_backend: Callable[[], Backend], request: dict[str, Any]) -> dict[str, Any]:
    """Run the operation and translate the libraries' errors to `Refusal`."""
    from keyring import errors

    try:
        return _operate(open_backend(), request)
    except errors.KeyringLocked as error:
        # macOS: -128 means that the user denied access; any other error means that the keychain is locked.
        status = getattr(error.__cause__, "args", (None,))[0]
        raise Refusal("denied" if status == -128 else "locked", str(error)) from None
    except (errors.InitError, errors.NoKeyringError) as error:
        raise Refusal("absent", str(error)) from None
    except errors.KeyringError as error:
        raise Refusal("denied", str(error)) from None
    except UnicodeDecodeError:
        raise Refusal("corrupt", "its entry for this vault is not text") from None
    except OSError as error:
        raise Refusal(
            "absent", f"no response from the session bus ({error or type(error).__name__})"
        ) from None
    except _secret_service_errors() as error:
        raise Refusal(_KINDS.get(type(error).__name__, "denied"), str(error)) from None


#: By class name in `secretstorage`; any other error of the service means that it refused.
_KINDS = {
    "LockedException": "locked",
    "SecretServiceNotAvailableException": "absent",
    # Another program removed the keyring or the entry between two requests.
    "ItemNotFoundException": "absent",
}


def _secret_service_errors() -> tuple[type[Exception], ...]:
    """Return the error classes of the Secret Service libraries, if they are loaded."""
    if "secretstorage" not in sys.modules:
        return ()
    import secretstorage

    jeepney: Any = import_module("jeepney")
    return (secretstorage.SecretStorageException, jeepney.DBusErrorResponse)


def _load_libraries() -> None:
    """Import what the candidates need. It takes most of the CPU time of an operation, and a busy machine may
    take longer for it than the limit that ends a keyring with a prompt."""
    import_module("keyring.errors")
    with contextlib.suppress(Refusal):
        for name in candidates():
            with contextlib.suppress(ImportError):
                import_module(name.rpartition(".")[0])


def child_main() -> None:
    """Read one request as JSON and write one answer as JSON. Runs in the child."""
    request = json.loads(child_process.read_request())
    _load_libraries()
    child_process.limit(seconds=request["seconds"])
    try:
        reply = perform(request)
    except Refusal as refusal:
        reply = {"refused": refusal.kind, "why": refusal.why}
    except Exception as error:  # noqa: BLE001  # the boundary of the process; what a keyring answers has no limits
        reply = {"refused": "denied", "why": f"unexpected response ({type(error).__name__})"}
    child_process.answer(json.dumps(reply).encode())
