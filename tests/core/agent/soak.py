"""An agent under constant requests from several clients: its replies, and its resources afterwards."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from keyturn.agent import rpc_client
from keyturn.model.errors import KeyturnError, NotFound

CLIENTS = 4
#: Three standard descriptors, the lock, the socket, and the loop's wake-up descriptors.
_IDLE_DESCRIPTORS = 8


@dataclass
class SoakResult:
    """Result of a soak run."""

    requests: int
    errors: int
    """Replies that differ from the expected one."""
    documents: int
    """Highest number of different documents returned for one profile."""
    before: int
    """Resident memory in KiB, after warm-up."""
    after: int
    descriptors: int | None
    """Open descriptors added during the run; None if the system does not show another process's descriptors.
    """

    @property
    def growth(self) -> float:
        """Growth of the resident memory, in percent."""
        return 100 * (self.after - self.before) / self.before


def resident_kib(pid: int) -> int:
    """Return the resident memory of a process in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


def count_descriptors(pid: int) -> int | None:
    """Return the number of open descriptors of a process, or None if not visible: an agent is closed even to
    its own user."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - names only
    except PermissionError:
        return None


class _Client:
    """Client with the usual mix of requests: documents, and some status requests, unknown names and plans."""

    def __init__(self, socket: Path, names: tuple[str, ...]) -> None:
        self.socket = socket
        self.names = names
        self.errors = 0
        self.documents: dict[str, set[str]] = {name: set() for name in names}

    def run(self, count: int) -> None:
        for number in range(count):
            try:
                self.errors += not self._request(number)
            except (KeyturnError, OSError):
                self.errors += 1

    def _request(self, number: int) -> bool:
        if number % 100 == 99:
            plan = rpc_client.run(self.socket, "plan-release", {"names": [self.names[0]]})
            return bool(plan["digest"])
        if number % 20 == 19:
            return "pid" in rpc_client.call(self.socket, {"op": "status"})
        if number % 20 == 18:
            try:
                rpc_client.document(self.socket, "nobody")
            except NotFound:
                return True
            return False
        name = self.names[number % len(self.names)]
        document = rpc_client.document(self.socket, name)
        self.documents[name].add(document)
        return "SessionToken" in json.loads(document)


def soak(socket: Path, names: tuple[str, ...], requests: int) -> SoakResult:
    """Send `count` requests for sessions of `names` to the agent at `socket`. Before that, send a fifth as
    many, at least 1,000, as a warm-up that does not count, because each new thread makes the allocator take
    more memory."""
    pid = int(rpc_client.call(socket, {"op": "status"})["pid"])
    _run_clients(socket, names, max(1000, requests // 5))
    open_before = _idle_descriptors(pid, _IDLE_DESCRIPTORS)
    before = resident_kib(pid)
    clients = _run_clients(socket, names, requests)
    open_after = _idle_descriptors(pid, open_before or _IDLE_DESCRIPTORS)
    return SoakResult(
        requests=requests // CLIENTS * CLIENTS,
        errors=sum(each.errors for each in clients),
        documents=max(len(set().union(*(each.documents[name] for each in clients))) for name in names),
        before=before,
        after=resident_kib(pid),
        descriptors=None if open_before is None or open_after is None else open_after - open_before,
    )


def _run_clients(socket: Path, names: tuple[str, ...], requests: int) -> list[_Client]:
    clients = [_Client(socket, names) for _ in range(CLIENTS)]
    threads = [threading.Thread(target=client.run, args=(requests // CLIENTS,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return clients


def _idle_descriptors(pid: int, most: int) -> int | None:
    """Return the number of open descriptors after the last reply: `most`, or the minimum of some seconds."""
    end = time.monotonic() + 3
    fewest = count_descriptors(pid)
    while fewest is not None and fewest > most and time.monotonic() < end:
        time.sleep(0.02)
        fewest = min(fewest, count_descriptors(pid) or fewest)
    return fewest
