"""An agent of the first release, as a small server that speaks its protocol.

It sends no `build`, which the first release did not know, answers one recorded document, and exits on `lock`
when its last answer is sent. It owns the socket and the lock file as that release does.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import threading
from pathlib import Path

#: Lines that the first release sent.
STATUS = (
    '{"ok":true,"result":{"pid":PID,"version":"0.1.0","open_since":"2026-11-23T12:00:00Z",'
    '"open_until":"2026-11-24T00:00:00Z","generation":0,"paused":true}}\n'
)
DOCUMENT = (
    '{"ok":true,"result":{"Version": 1, "AccessKeyId": "ASIAOLDAGENT", "SecretAccessKey": "s", '
    '"SessionToken": "t", "Expiration": "2099-01-01T00:00:00Z"}}\n'
)
LOCKED = '{"ok":true,"result":{"pid":PID}}\n'


class OldAgent:
    """Serves in threads until it is locked, or its socket is replaced.

    :param slow: seconds that a document takes.
    :param late: seconds that the status takes.
    """

    def __init__(self, path: Path, *, slow: float = 0.0, late: float = 0.0) -> None:
        self.asked: list[str] = []
        self.locked = threading.Event()
        self._slow = slow
        self._late = late
        path.parent.mkdir(mode=0o700, exist_ok=True)
        self._lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        previous = os.umask(0o177)
        self._socket.bind(str(path))
        os.umask(previous)
        self._socket.listen(128)
        self._socket.settimeout(0.05)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        answering: list[threading.Thread] = []
        while not self.locked.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = self._socket.accept()
                answering.append(threading.Thread(target=self._answer, args=(connection,)))
                answering[-1].start()
        self._socket.close()
        for thread in answering:
            thread.join()
        os.close(self._lock)

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        with connection, contextlib.suppress(OSError):
            line = connection.makefile("rb").readline()
            if not line:
                return
            op = json.loads(line)["op"]
            self.asked.append(op)
            if op == "credential-process":
                self.locked.wait(self._slow)
            if op == "status":
                self.locked.wait(self._late)
            answers = {"status": STATUS, "credential-process": DOCUMENT, "lock": LOCKED}
            connection.sendall(answers[op].replace("PID", str(os.getpid())).encode())
            if op == "lock":
                self.locked.set()

    def end(self) -> None:
        """Stop it."""
        self.locked.set()
        self._thread.join(20)
