"""An exception at a chosen moment while a secret is in memory.

A moment is the entry of a function of keyturn, or of one that keyturn's code called, while that function or
one of its callers holds a secret. One run records its moments; another run of the same operation raises at
one of them. Only the recording looks at variables. Raising compares the names of a function and its caller
and nothing else, so it costs next to nothing.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

from keyturn.model.secret import Secret
from tests.support.own_code import is_ours

#: Screens of the app after which any widget may hold a secret.
_SECRET_SCREENS = tuple(f"dialogs{os.sep}{name}.py" for name in ("unlock", "create_vault", "mfa"))
_DEPTH = 2
_CALLERS = 8
#: Number of calls of one function by another that are recorded; later calls add nothing new.
_FIRST_TIMES = 6

#: `interrupt` is for verbs only, because on the app's terminal Ctrl-C is an ordinary key.
KINDS = ("runtime", "memory", "os", "key", "unicode", "value", "interrupt")


def make_exception(kind: str, secret: str) -> BaseException:
    """Return an exception of `kind` with the secret in the place where such exceptions carry their subject. A
    system error carries a path, which may be shown."""
    made: dict[str, BaseException] = {
        "runtime": RuntimeError(f"unforeseen: secret_access_key={secret!r}"),
        "memory": MemoryError(),
        "interrupt": KeyboardInterrupt(),
        "os": OSError(errno.EIO, os.strerror(errno.EIO), "/nowhere/file"),
        "key": KeyError(secret),
        "unicode": UnicodeDecodeError("utf-8", secret.encode(), 0, 1, "invalid start byte"),
        "value": ValueError(f"bad value {secret!r}", {"SecretAccessKey": secret}),
    }
    return made[kind]


class Moment(NamedTuple):
    """A position in a run: a function, its caller, and the number of earlier calls between them."""

    caller: str
    called: str
    nth: int
    thread: str


def _place(code: CodeType) -> str:
    folder, _, file = code.co_filename.rpartition(os.sep)
    return f"{folder.rpartition(os.sep)[2]}{os.sep}{file}:{code.co_firstlineno} {code.co_name}"


Trace = Callable[[FrameType, str, Any], None]


def begin(trace: Trace) -> None:
    """Trace every thread that starts or runs Python code from now on."""
    threading.settrace(trace)
    sys.settrace(trace)


def end() -> None:
    sys.settrace(None)
    threading.settrace(None)


class Bursting:
    """Raises at one moment.

    :param kind: one of `KINDS`.
    :param mark: a file that is created just before.
    """

    def __init__(self, moment: Moment, kind: str, secret: str, mark: Path) -> None:
        self._moment = moment
        self._kind = kind
        self._secret = secret
        self._mark = os.fspath(mark)
        place, _, self._name = moment.called.rpartition(" ")
        self._line = int(place.rpartition(":")[2])
        self._lock = threading.Lock()
        self._seen = 0

    def trace(self, frame: FrameType, _event: str, _arg: object) -> None:
        code = frame.f_code
        if code.co_firstlineno != self._line or code.co_name != self._name:
            return
        caller = frame.f_back
        if (
            caller is None
            or _place(code) != self._moment.called
            or _place(caller.f_code) != self._moment.caller
        ):
            return
        with self._lock:
            nth, self._seen = self._seen, self._seen + 1
        if nth == self._moment.nth:
            os.close(os.open(self._mark, os.O_CREAT | os.O_WRONLY, 0o600))
            raise make_exception(self._kind, self._secret)


class Recording:
    """Records every moment of a run.

    :param secrets: the values to look for.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = tuple(secrets)
        self._bytes = tuple(secret.encode() for secret in self._secrets)
        self._lock = threading.Lock()
        self._seen: dict[tuple[int, int], int] = {}
        self._kept: list[CodeType] = []
        self.moments: list[Moment] = []

    def trace(self, frame: FrameType, _event: str, _arg: object) -> None:
        code, caller = frame.f_code, frame.f_back
        if caller is None or not (is_ours(code.co_filename) or is_ours(caller.f_code.co_filename)):
            return
        # Code is identified by its location, because comparing code objects costs more than everything else
        # here.
        pair = id(caller.f_code), id(code)
        with self._lock:
            nth = self._seen.get(pair, 0)
            self._seen[pair] = nth + 1
            if nth == 0:
                self._kept += [caller.f_code, code]
        if nth < _FIRST_TIMES and self.is_recorded(frame):
            here = Moment(_place(caller.f_code), _place(code), nth, threading.current_thread().name)
            self.moments.append(here)

    def is_recorded(self, frame: FrameType) -> bool:
        """Return True if a variable of this call or of a caller holds a secret."""
        one: FrameType | None = frame
        for _ in range(_CALLERS):
            if one is None:
                return False
            if is_ours(one.f_code.co_filename) and any(
                self._holds(value, _DEPTH) for value in one.f_locals.values()
            ):
                return True
            one = one.f_back
        return False

    def _holds(self, value: Any, depth: int) -> bool:
        if isinstance(value, Secret):
            value = _attribute(value, "_value")
        if isinstance(value, str):
            return any(secret in value for secret in self._secrets)
        if isinstance(value, bytes | bytearray):
            return any(secret in value for secret in self._bytes)
        return depth > 0 and any(self._holds(part, depth - 1) for part in _parts(value))


class ScreenRecording(Recording):
    """Recording for the app: counts every call from the first one of a screen on which a secret is typed or
    shown."""

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__(secrets)
        self._begun = False

    def is_recorded(self, frame: FrameType) -> bool:
        code = frame.f_code
        self._begun = self._begun or (
            code.co_filename.endswith(_SECRET_SCREENS) and code.co_name == "__init__"
        )
        return self._begun


def _parts(value: Any) -> Sequence[Any]:
    """Return the contents of a container or of an object of keyturn."""
    if isinstance(value, dict):
        return list(value.values())[:50]
    if isinstance(value, list | tuple):
        return value[:50]
    if not type(value).__module__.startswith("keyturn"):
        return ()
    names = getattr(type(value), "__slots__", None) or getattr(value, "__dict__", None) or ()
    # Attributes are read directly, because properties would run code of their own.
    return [_attribute(value, str(name)) for name in list(names)[:20]]


def _attribute(value: object, name: str) -> object:
    try:
        return object.__getattribute__(value, name)
    except Exception:  # noqa: BLE001 - an unreadable attribute holds nothing
        return None
