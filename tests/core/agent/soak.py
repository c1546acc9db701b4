"""An agent asked without a pause, by several clients at once: what it answers, and what is left in it afterwards."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from keyturn.agent import client
from keyturn.model.errors import KeyturnError, NotFound

CLIENTS = 4
#: Three standard ones, lock, socket, and what wakes the loop.
_AT_REST = 8


@dataclass
class Soaked:
    """What a soak showed."""

    requests: int
    errors: int
    """Answers that were not the one expected."""
    documents: int
    """Different documents that were given for one profile, at most."""
    before: int
    """KiB resident, once it was warm."""
    after: int
    descriptors: int | None
    """How many more are open than before; None where the system does not show another's."""

    @property
    def growth(self) -> float:
        """In percent."""
        return 100 * (self.after - self.before) / self.before


def resident(pid: int) -> int:
    """KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


def descriptors(pid: int) -> int | None:
    """How many a process has open; None where that may not be seen: an agent is closed even to its own user."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - names only
    except PermissionError:
        return None


class _Client:
    """Asks for what clients ask for: mostly documents, now and then the status, a name that is not there, or a plan."""

    def __init__(self, socket: Path, names: tuple[str, ...]) -> None:
        self.socket = socket
        self.names = names
        self.errors = 0
        self.documents: dict[str, set[str]] = {name: set() for name in names}

    def asks(self, count: int) -> None:
        for number in range(count):
            try:
                self.errors += not self._asked(number)
            except (KeyturnError, OSError):
                self.errors += 1

    def _asked(self, number: int) -> bool:
        if number % 100 == 99:
            plan = client.run(self.socket, "plan-release", {"names": [self.names[0]]})
            return bool(plan["digest"])
        if number % 20 == 19:
            return "pid" in client.call(self.socket, {"op": "status"})
        if number % 20 == 18:
            try:
                client.document(self.socket, "nobody")
            except NotFound:
                return True
            return False
        name = self.names[number % len(self.names)]
        document = client.document(self.socket, name)
        self.documents[name].add(document)
        return "SessionToken" in json.loads(document)


def soak(socket: Path, names: tuple[str, ...], requests: int) -> Soaked:
    """Asks the agent at `socket` so many times for sessions of `names`, after a fifth as many requests, 1,000 at least,
    that do not count: its threads come one by one, and each makes the allocator take more."""
    pid = int(client.call(socket, {"op": "status"})["pid"])
    _together(socket, names, max(1000, requests // 5))
    open_before = _calm(pid, _AT_REST)
    before = resident(pid)
    clients = _together(socket, names, requests)
    open_after = _calm(pid, open_before or _AT_REST)
    return Soaked(
        requests=requests // CLIENTS * CLIENTS,
        errors=sum(one.errors for one in clients),
        documents=max(len(set().union(*(one.documents[name] for one in clients))) for name in names),
        before=before,
        after=resident(pid),
        descriptors=None if open_before is None or open_after is None else open_after - open_before,
    )


def _together(socket: Path, names: tuple[str, ...], requests: int) -> list[_Client]:
    clients = [_Client(socket, names) for _ in range(CLIENTS)]
    threads = [threading.Thread(target=one.asks, args=(requests // CLIENTS,)) for one in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return clients


def _calm(pid: int, most: int) -> int | None:
    """How many descriptors are open once the last answer has been let go: `most`, or the fewest of some seconds."""
    end = time.monotonic() + 3
    fewest = descriptors(pid)
    while fewest is not None and fewest > most and time.monotonic() < end:
        time.sleep(0.02)
        fewest = min(fewest, descriptors(pid) or fewest)
    return fewest
