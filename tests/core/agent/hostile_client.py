"""Messages of a broken or hostile program of the same user to the agent, and a good client beside it."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from keyturn.operations.registry import OPERATIONS

#: Values of every type, and some that break naive readers. None names an existing profile.
ODD_VALUES: tuple[object, ...] = (
    None, True, False, 0, -1, 1e308, 10**400, 2**63, "", "nobody", "../../etc/x", "/etc/passwd", "\0", "a\0b",
    "\n", "%s%n",
    "\u202e\x1b[2J", "\ud800", "-", "--all", "x" * 500, [], [[]], ["nobody"], [None, 1], [["nobody"]], {},
    {"a": {}},
    {"names": []}, "NaN", ["../x"] * 50,
)  # fmt: skip
FIELDS = (
    "name", "names", "code", "to", "as", "digest", "session_none", "least_seconds", "passphrase",
    "recovery_key",
    "words", "files",
)  # fmt: skip
_WHOLE = (
    b'{"v":1,"op":"status"}\n',
    b'{"v":1,"op":"credential-process","profile":"nobody"}\n',
    b'{"v":1,"op":"run","act":"refresh","args":{"name":"nobody","code":null}}\n',
    b'{"v":1,"op":"run","act":"plan-release","args":{"names":["nobody"]}}\n',
)


def requests(random_: random.Random) -> Iterator[bytes]:
    """Yield requests without end; none of them locks the agent."""
    ways = (_mutated, _odd_operation, _odd_request, _noise, _deep, _cut, _many_lines)
    while True:
        raw = random_.choice(ways)(random_)
        if b"lock" not in raw:
            yield raw


def _mutated(random_: random.Random) -> bytes:
    line = bytearray(random_.choice(_WHOLE))
    for _ in range(random_.randint(1, 6)):
        at = random_.randrange(len(line))
        match random_.randrange(3):
            case 0:
                line[at] = random_.randrange(256)
            case 1:
                del line[at : at + random_.randint(1, 5)]
            case _:
                line[at:at] = random_.randbytes(random_.randint(1, 5))
        line = line or bytearray(b"{")
    return bytes(line) + b"\n"


def _odd_operation(random_: random.Random) -> bytes:
    args = {field: random_.choice(ODD_VALUES) for field in random_.sample(FIELDS, random_.randint(0, 5))}
    operation = random_.choice((*OPERATIONS, *OPERATIONS, "unheard of", ""))
    return json.dumps({"v": 1, "op": "run", "act": operation, "args": args}).encode() + b"\n"


def _odd_request(random_: random.Random) -> bytes:
    record = {"v": 1, "op": random_.choice(("status", "run", "credential-process"))}
    for part in random_.sample(("v", "op", "act", "args", "profile", "more"), random_.randint(1, 4)):
        record[part] = random_.choice(ODD_VALUES)  # type: ignore[assignment]  # that is the point
    return json.dumps(record).encode() + b"\n"


def _noise(random_: random.Random) -> bytes:
    return random_.randbytes(random_.randint(1, 300)) + b"\n"


def _deep(random_: random.Random) -> bytes:
    depth = random_.choice((10,) * 20 + (900, 5000))
    opening, closing = random_.choice(((b"[", b"]"), (b'{"a":', b"}")))
    deep = opening * depth + b"1" + closing * depth
    return b'{"v":1,"op":"run","act":"refresh","args":{"name":' + deep + b"}}\n"


def _cut(random_: random.Random) -> bytes:
    """Yield requests without an end of line, some of them cut inside a character."""
    line = random_.choice(_WHOLE).replace(b"nobody", "näḃ😀y".encode())
    return line[: random_.randrange(1, len(line) - 1)]


def _many_lines(random_: random.Random) -> bytes:
    return random_.choice((b"\n", b"\r\n", *_WHOLE)) * random_.randint(2, 10)


def send(path: Path, request: bytes) -> bytes:
    """Return the agent's reply to a client that sends only `request`; empty if the agent hung up."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(30)
        sock.connect(str(path))
        answer = b""
        with contextlib.suppress(ConnectionError, BrokenPipeError):
            sock.sendall(request)
            sock.shutdown(socket.SHUT_WR)
            while part := sock.recv(65536):
                answer += part
        return answer


def _connected(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(30)
    sock.connect(str(path))
    return sock


@contextmanager
def hostile_clients(path: Path, count: int) -> Iterator[None]:
    """Keep `held` connections open in mid-request. Some clients never read their reply, and some send their
    request byte by byte. Connections that the agent drops are opened again."""
    over = threading.Event()
    threads = [
        threading.Thread(target=operation, args=(path, over, count))
        for operation in (_hold_open, _read_nothing, _speak_slowly, _speak_slowly)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _hold_open(path: Path, over: threading.Event, count: int) -> None:
    while not over.is_set():
        many: list[socket.socket] = []
        with contextlib.suppress(OSError):
            for _ in range(count):
                many.append(_connected(path))
                many[-1].sendall(b'{"v":1,')
        over.wait(2)
        for sock in many:
            sock.close()


def _read_nothing(path: Path, over: threading.Event, _held: int) -> None:
    while not over.is_set():
        many: list[socket.socket] = []
        with contextlib.suppress(OSError):
            for _ in range(10):
                many.append(_connected(path))
                many[-1].sendall(_WHOLE[3])
        over.wait(1)
        for sock in many:
            sock.close()


def _speak_slowly(path: Path, over: threading.Event, _held: int) -> None:
    while not over.is_set():
        with contextlib.suppress(OSError), _connected(path) as sock:
            for byte in _WHOLE[1]:
                sock.sendall(bytes([byte]))
                if over.wait(0.05):
                    break


@dataclass
class ClientStats:
    """Observations of a client process that requested a document throughout."""

    seconds: list[float] = field(default_factory=list)
    """Seconds, for each reply."""
    documents: list[str] = field(default_factory=list)
    """The distinct documents."""
    failed: list[str] = field(default_factory=list)


@contextmanager
def good_client(path: Path, profile: str) -> Iterator[ClientStats]:
    """Request the document of `profile` in a loop during the block; the observations are complete then."""
    stats = ClientStats()
    words = [sys.executable, str(Path(__file__).with_name("good_client.py")), str(path), profile]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield stats
        finally:
            printed, _ = process.communicate()
    for name, value in json.loads(printed).items():
        setattr(stats, name, value)
