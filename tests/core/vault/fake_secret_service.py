"""A Secret Service on its own session bus: honest, except for one fault at one of its calls.

It speaks the Secret Service protocol (https://specifications.freedesktop.org/secret-service/) as far as a
client of one default collection needs it, with plaintext sessions.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.support.needs import needs

NAME = "org.freedesktop.secrets"
_PREFIX = "org.freedesktop.Secret."
_COLLECTION = "/org/freedesktop/secrets/aliases/default"
_ITEM = "/org/freedesktop/secrets/collection/login/"
_PROMPT = "/org/freedesktop/secrets/prompt/1"
_DENIED = "org.freedesktop.DBus.Error.AccessDenied"
_UNKNOWN = "org.freedesktop.DBus.Error.UnknownObject"
_UNSUPPORTED = "org.freedesktop.DBus.Error.NotSupported"

_BUS = """<busconfig><type>session</type><listen>unix:path={path}</listen><policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>{more}</policy>
</busconfig>"""

#: Faults of a call; `dismiss` and `prompt` need a prompt in the protocol, at other calls they deny.
FAULTS = ("deny", "gone", "garbage", "die", "dismiss")
HANGS = ("hang", "prompt")


@contextmanager
def bus(folder: Path, more: str = "") -> Iterator[str]:
    """Start a session bus that starts no services; yield its address.

    :param more: further rules of its policy.
    """
    config = folder / "bus.conf"
    config.write_text(_BUS.format(path=folder / "bus", more=more))
    command = [needs("dbus-daemon"), "--nofork", "--print-address=1", f"--config-file={config}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as daemon:
        assert daemon.stdout is not None
        try:
            yield daemon.stdout.readline().strip()
        finally:
            daemon.kill()


@dataclass
class FakeSecretService:
    """The service.

    :param fault: one of `FAULTS` or `HANGS`, injected at the `number`th call, counted from 1.
    :param spoil: sent to a client in place of each secret.
    """

    address: str
    fault: str = ""
    number: int = 0
    spoil: Callable[[bytes], bytes] = bytes
    locked: bool = False
    locked_items: bool = False
    items: dict[str, tuple[dict[str, str], bytes]] = field(default_factory=dict, repr=False)
    calls: list[str] = field(default_factory=list)

    @contextmanager
    def serve(self) -> Iterator[FakeSecretService]:
        """Serve in a thread until the end of the block."""
        self._jeepney: Any = import_module("jeepney")
        connection = import_module("jeepney.io.blocking").open_dbus_connection(bus=self.address)
        owned = connection.send_and_get_reply(self._jeepney.DBus().RequestName(NAME))
        assert owned.body == (1,)
        ended = threading.Event()
        thread = threading.Thread(target=self._serve, args=(connection, ended))
        thread.start()
        try:
            yield self
        finally:
            ended.set()
            thread.join()

    def reset(self, fault: str = "", number: int = 0) -> None:
        """Restart the count of calls, with another fault."""
        self.calls.clear()
        self.fault, self.number = fault, number

    def _serve(self, connection: Any, ended: threading.Event) -> None:
        call = self._jeepney.MessageType.method_call
        try:
            while not ended.is_set():
                try:
                    message = connection.receive(timeout=0.02)
                except TimeoutError:
                    continue
                if message.header.message_type is call and not self._answer(connection, message):
                    return
        finally:
            connection.close()

    def _answer(self, connection: Any, message: Any) -> bool:
        """Answer one call; return True if the service continues."""
        fields, names = message.header.fields, self._jeepney.HeaderFields
        member, path = fields[names.member], fields.get(names.path, "")
        body = tuple(message.body)
        shown = f"{member} {body[1]}" if member == "Get" else member
        self.calls.append(shown)
        fault = self.fault if len(self.calls) == self.number else ""
        if fault == "die":
            return False
        if fault == "hang":
            return True
        if fault in ("dismiss", "prompt") and member in ("CreateItem", "Delete"):
            signature, reply = ("oo", ("/", _PROMPT)) if member == "CreateItem" else ("o", (_PROMPT,))
            self._prompting = fault
            connection.send(self._jeepney.new_method_return(message, signature, reply))
            return True
        if fault:
            connection.send(self._faulty(fault, message))
            return True
        if member == "Prompt":
            connection.send(self._jeepney.new_method_return(message))
            if self._prompting == "dismiss":
                self._complete(connection, path)
            return True
        connection.send(self._honest(member, path, body, message))
        return True

    def _complete(self, connection: Any, path: str) -> None:
        source = self._jeepney.DBusAddress(path, interface=f"{_PREFIX}Prompt")
        signal = self._jeepney.new_signal(source, "Completed", "bv", (True, ("s", "")))
        connection.send(signal)

    def _faulty(self, fault: str, message: Any) -> Any:
        if fault == "garbage":
            return self._jeepney.new_method_return(message, "s", ("garbage",))
        name = _UNKNOWN if fault == "gone" else _DENIED
        return self._jeepney.new_error(message, name, "s", ("so it is",))

    def _honest(self, member: str, path: str, body: tuple[Any, ...], message: Any) -> Any:
        reply: tuple[str, tuple[Any, ...]] | None = None
        match member, body:
            case "OpenSession", ("plain", _):
                reply = "vo", (("s", ""), "/org/freedesktop/secrets/session/1")
            case "OpenSession", _:
                return self._jeepney.new_error(message, _UNSUPPORTED, "s", ("in clear only",))
            case "Get", (_, "Locked"):
                reply = "v", (("b", self.locked if path == _COLLECTION else self.locked_items),)
            case "Get", (_, "Label"):
                reply = "v", (("s", "Login"),)
            case "SearchItems", (wanted,):
                reply = "ao", ([at for at in self.items if self._has(at, wanted)],)
            case "CreateItem", (properties, (_, _, secret, _), _):
                reply = "oo", (self._create(properties, secret), "/")
            case ("GetSecret", _) if path in self.items:
                reply = "(oayays)", (("/s", b"", self.spoil(self.items[path][1]), "text/plain"),)
            case ("Delete", _) if path in self.items:
                del self.items[path]
                reply = "o", ("/",)
        if reply is None:
            return self._jeepney.new_error(message, _UNKNOWN, "s", ("no such thing",))
        return self._jeepney.new_method_return(message, *reply)

    def _create(self, properties: dict[str, Any], secret: bytes) -> str:
        attributes = dict(properties[f"{_PREFIX}Item.Attributes"][1])
        for at in [at for at in self.items if self._has(at, attributes)]:
            del self.items[at]
        path = f"{_ITEM}{len(self.calls)}"
        self.items[path] = (attributes, bytes(secret))
        return path

    def _has(self, path: str, wanted: dict[str, str]) -> bool:
        return wanted.items() <= self.items[path][0].items()
