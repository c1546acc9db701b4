"""Fault injection: faults for the next calls, ordered by a test or from the command line."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from pathlib import Path

from keyturn.system.clock import read_offset
from keyturn_sandbox import corrupt_responses
from keyturn_sandbox.aws_errors import Refusal, internal_failure, throttled
from keyturn_sandbox.corrupt_responses import Corruption
from keyturn_sandbox.folder import write_private
from keyturn_sandbox.wire import Wire

INBOX = "faults"
"""Subfolder of the sandbox's folder for orders of other processes."""
SKEW_FILE = "server-skew"
"""File with the offset in seconds of the stand-in's clock, which affects everything that it returns and
validates."""
ANY = "*"


class Stage(Enum):
    """Stage of a call at which a fault occurs."""

    NETWORK = "network"
    """Before the signature is verified; nothing is done."""
    SERVICE = "service"
    """After the signature is verified: an error instead of the operation, or only a delay."""
    ANSWER = "answer"
    """After the operation is done, instead of its response. A call that fails does not consume the order."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of one call."""

    stage: Stage
    name: str
    """Name in the list of calls."""
    corruption: Corruption | None = None
    refusal: Refusal | None = None
    wait: float = 0.0
    """Seconds of delay."""


_network = partial(Fault, Stage.NETWORK)
_service = partial(Fault, Stage.SERVICE)
_answer = partial(Fault, Stage.ANSWER)

_PORTAL = ("Location", corrupt_responses.PORTAL_PATH)
_PROXY_AUTH = ("Proxy-Authenticate", 'Basic realm="proxy"')
_TLS_ALERT = b"\x15\x03\x03\x00\x02\x02\x28"

KINDS: Mapping[str, Fault] = {
    fault.name: fault
    for fault in (
        _service("error", refusal=internal_failure()),
        _service("throttle", refusal=throttled(400)),
        _service("throttle-429", refusal=throttled(429)),
        _service("throttle-503", refusal=throttled(503)),
        _service("slow", wait=5.0),
        _network("time-out", corrupt_responses.over_wire(Wire.NEVER)),
        _network("reset", corrupt_responses.over_wire(Wire.RESET)),
        _network("tls", corrupt_responses.raw_bytes(_TLS_ALERT)),
        _network("not-http", corrupt_responses.raw_bytes(b"SSH-2.0-OpenSSH_9.2\r\n")),
        _network("proxy-200", corrupt_responses.html_page(200, "Welcome")),
        _network("proxy-403", corrupt_responses.html_page(403, "Blocked by policy")),
        _network("proxy-407", corrupt_responses.html_page(407, "Proxy Authentication Required", _PROXY_AUTH)),
        _network("proxy-502", corrupt_responses.html_page(502, "Bad Gateway")),
        _network("portal-302", corrupt_responses.html_page(302, "Found", _PORTAL)),
        _network("portal-511", corrupt_responses.html_page(511, "Network Authentication Required")),
        _network("huge-page", corrupt_responses.huge_page),
        _answer("answer-lost", corrupt_responses.over_wire(Wire.RESET)),
        _answer("answer-never", corrupt_responses.over_wire(Wire.NEVER)),
        _answer("answer-502", corrupt_responses.html_page(502, "Bad Gateway")),
        _answer("reset-in-answer", corrupt_responses.over_wire(Wire.RESET_IN_ANSWER)),
        _answer("drip", corrupt_responses.over_wire(Wire.DRIP)),
        _answer("truncated", corrupt_responses.over_wire(Wire.TRUNCATED)),
        _answer("short", corrupt_responses.half_body),
        _answer("not-xml", corrupt_responses.with_body(b"The service is busy, \x1b[31mtry later")),
        _answer(
            "wrong-xml",
            corrupt_responses.with_body(b'<?xml version="1.0"?><rss version="2.0"><channel/></rss>'),
        ),
        _answer("json", corrupt_responses.with_body(b'{"message": "Forbidden"}', "application/json")),
        _answer("empty", corrupt_responses.with_body(b"")),
        _answer("wrong-type", corrupt_responses.with_content_type("application/octet-stream")),
        _answer("missing", corrupt_responses.empty_result),
        _answer("no-token", corrupt_responses.without_element("SessionToken")),
        _answer("no-expiry", corrupt_responses.without_element("Expiration")),
        _answer("nan-date", corrupt_responses.with_text("Expiration", "NaN")),
        _answer("garbage-date", corrupt_responses.with_text("Expiration", "tomorrow, \x9b31m about noon")),
        _answer("naive-date", corrupt_responses.with_text("Expiration", "2031-01-01T00:00:00")),
        _answer("past-expiry", corrupt_responses.with_text("Expiration", "2001-01-01T00:00:00Z")),
        _answer("huge-field", corrupt_responses.huge_field),
    )
}
"""Fault kinds by name."""


@dataclass(slots=True)
class _Order:
    fault: Fault
    remaining: int | None
    """Remaining calls; None until cleared."""


class Faults:
    """Ordered faults by action (`*` for any action). Each applies to the next `times` calls, in order; with
    None to all calls until cleared.

    :param folder: the sandbox's folder, where other processes leave orders (:func:`leave_order`).
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._orders: dict[str, list[_Order]] = {}

    def order(self, action: str, kind: str, *, times: int | None = 1, seconds: float | None = None) -> None:
        """Order a fault of :data:`KINDS` for `action`, with a delay of `seconds` if given.

        :raises KeyError: if there is no such kind.
        """
        fault = KINDS[kind]
        self._add(action, fault if seconds is None else replace(fault, wait=seconds), times)

    def refuse(
        self, action: str, code: str, message: str = "", *, status: int = 400, times: int | None = 1
    ) -> None:
        """Order an error response."""
        self._add(action, _service(code, refusal=Refusal(code, status, message or code)), times)

    def skew(self, seconds: float) -> None:
        """Set the stand-in's clock off by `seconds`; 0 sets it right. The clock validates signatures, expiry
        and MFA codes and is shown in the `Date` header."""
        leave_skew(self._folder, seconds)

    def skewed(self) -> float:
        """Return the offset of the stand-in's clock in seconds."""
        return skew_of(self._folder)

    def clear(self) -> None:
        """Clear all orders and set the clock right."""
        self._collect()
        with self._lock:
            self._orders.clear()
        (self._folder / SKEW_FILE).unlink(missing_ok=True)

    def waiting(self) -> dict[str, int | None]:
        """Return the number of calls that each action still has orders for; None for an order that stays
        until cleared."""
        self._collect()
        with self._lock:
            remaining = {
                action: [order.remaining for order in orders] for action, orders in self._orders.items()
            }
            return {
                action: None if None in counts else sum(count or 0 for count in counts)
                for action, counts in remaining.items()
                if counts
            }

    def take(self, action: str, stage: Stage) -> Fault | None:
        """Return the fault for this call at this stage and consume it. An order for a later stage blocks
        those after it."""
        self._collect()
        with self._lock:
            for name in (action, ANY):
                orders = self._orders.get(name, [])
                if orders and orders[0].fault.stage is stage:
                    return _use(orders)
        return None

    def _add(self, action: str, fault: Fault, times: int | None) -> None:
        with self._lock:
            if times != 0:
                self._orders.setdefault(action, []).append(_Order(fault, times))

    def _collect(self) -> None:
        """Read the orders of other processes, oldest first."""
        for path in sorted((self._folder / INBOX).glob("*.json")):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
                record = json.loads(path.read_text("utf-8"))
                if record.get("clear"):
                    with self._lock:
                        self._orders.clear()
                else:
                    self.order(**record)
            path.unlink(missing_ok=True)


def _use(orders: list[_Order]) -> Fault:
    first = orders[0]
    if first.remaining is not None:
        first.remaining -= 1
        if first.remaining <= 0:
            orders.pop(0)
    return first.fault


def leave_order(
    folder: Path, action: str, kind: str, *, times: int | None = 1, seconds: float | None = None
) -> None:
    """Order a fault in the sandbox at `folder` from another process.

    :raises KeyError: if there is no such kind.
    """
    _leave(folder, {"action": action, "kind": KINDS[kind].name, "times": times, "seconds": seconds})


def leave_clearing(folder: Path) -> None:
    """Clear all orders of the sandbox at `folder` and set its clock right, from another process."""
    _leave(folder, {"clear": True})
    (folder / SKEW_FILE).unlink(missing_ok=True)


def leave_skew(folder: Path, seconds: float) -> None:
    """Set the stand-in's clock at `folder` off by `seconds`."""
    write_private(folder / SKEW_FILE, f"{float(seconds)!r}\n")


def skew_of(folder: Path) -> float:
    """Return the clock offset of the stand-in at `folder`, in seconds."""
    return read_offset(folder / SKEW_FILE)


def _leave(folder: Path, record: Mapping[str, object]) -> None:
    inbox = folder / INBOX
    inbox.mkdir(mode=0o700, exist_ok=True)
    write_private(inbox / f"{time.time_ns():020d}.json", json.dumps(record))
