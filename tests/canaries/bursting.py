"""An exception at a chosen moment while a secret lies in a local variable somewhere on the stack.

A moment is the entry of a function of keyturn's, or of one that keyturn's code called, while that function or one of its
callers holds a secret. The moments of a run are counted; a second run of the same raises at one of them.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Iterable
from functools import cache
from types import CodeType, FrameType
from typing import Any

from keyturn.secret import Secret

_OURS = (f"{os.sep}keyturn{os.sep}", f"{os.sep}keyturn_tui{os.sep}")
_DEPTH = 2
_CALLERS = 8

KINDS = ("runtime", "memory", "interrupt", "os", "key", "unicode", "value")


def raised(kind: str, secret: str) -> BaseException:
    """An exception of `kind`, with the secret where such exceptions carry what they are about."""
    made: dict[str, BaseException] = {
        "runtime": RuntimeError(f"unforeseen: secret_access_key={secret!r}"),
        "memory": MemoryError(),
        "interrupt": KeyboardInterrupt(),
        "os": OSError(errno.EIO, os.strerror(errno.EIO), secret),
        "key": KeyError(secret),
        "unicode": UnicodeDecodeError("utf-8", secret.encode(), 0, 1, "invalid start byte"),
        "value": ValueError(f"bad value {secret!r}", {"SecretAccessKey": secret}),
    }
    return made[kind]


class Burster:
    """Counts moments, and raises at one of them.

    :param secrets: the values to look for.
    :param at: the moment; -1 to count them only, -2 for neither.
    :param kind: one of `KINDS`.
    """

    def __init__(self, secrets: Iterable[str], at: int = -1, kind: str = "runtime") -> None:
        self._secrets = tuple(secrets)
        self._at = at
        self._kind = kind
        self._bytes = tuple(secret.encode() for secret in self._secrets)
        self._lock = threading.Lock()
        self.moments: list[str] = []

    def begin(self) -> None:
        """From now on, in every thread that starts or runs Python code here."""
        if self._at < -1:
            return
        threading.settrace(self._trace)
        sys.settrace(self._trace)

    def end(self) -> None:
        sys.settrace(None)
        threading.settrace(None)

    def _trace(self, frame: FrameType, event: str, _arg: object) -> None:
        code, caller = frame.f_code, frame.f_back
        if (
            code not in _OUR_CODE
            and (caller is None or caller.f_code not in _OUR_CODE)
            and _is_foreign(frame)
        ):
            return
        if event != "call" or not self._counts(frame):
            return
        with self._lock:
            number = len(self.moments)
            place = f"{_name(caller)} > {_name(frame)}" if caller else _name(frame)
            self.moments.append(place)
        if number == self._at:
            raise raised(self._kind, self._secrets[0])

    def _counts(self, frame: FrameType) -> bool:
        one: FrameType | None = frame
        for _ in range(_CALLERS):
            if one is None:
                return False
            if _is_ours(one) and any(self._holds(value, _DEPTH) for value in one.f_locals.values()):
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


def _parts(value: Any) -> list[Any]:
    """What lies in a container or in an object of keyturn's."""
    if isinstance(value, dict):
        return list(value.values())[:50]
    if isinstance(value, list | tuple):
        return list(value[:50])
    if not type(value).__module__.startswith("keyturn"):
        return []
    names = getattr(type(value), "__slots__", None) or getattr(value, "__dict__", None) or ()
    # A plain look: properties of a widget would run code of their own.
    return [_attribute(value, str(name)) for name in list(names)[:20]]


def _attribute(value: object, name: str) -> object:
    try:
        return object.__getattribute__(value, name)
    except Exception:  # noqa: BLE001 - what cannot be read holds nothing
        return None


def _is_ours(frame: FrameType) -> bool:
    return _is_our_file(frame.f_code.co_filename)


#: Known by now to be of keyturn's; looked at for every call that Python makes.
_OUR_CODE: set[CodeType] = set()


def _is_foreign(frame: FrameType) -> bool:
    """Whether neither the function nor its caller is keyturn's; remembers those that are."""
    found = [one.f_code for one in (frame, frame.f_back) if one is not None and _is_ours(one)]
    _OUR_CODE.update(found)
    return not found


@cache
def _is_our_file(name: str) -> bool:
    return any(part in name for part in _OURS)


def _name(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename.rsplit(os.sep, 1)[-1]}:{frame.f_code.co_name}"
