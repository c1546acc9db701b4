"""Between the screen and the keeper: commands run in a bounded number of threads, which only post messages.

A conversation awaits :meth:`Bridge.ask`; the thread that runs the command posts one `Answer`; the app's one handler of
that message gives it to :meth:`Bridge.settle`, which wakes the conversation. No thread touches a widget.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import Enum
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar, cast

from keyturn.model.profile import Delivery, Plan, Refreshed, Snapshot
from keyturn.model.secret import Secret
from keyturn.operations.rotation.delete_key import DeletionFacts
from keyturn.operations.rotation.progress import Progress
from keyturn.storage.paths import Paths
from keyturn_tui.messages import Answer

T = TypeVar("T")


class RotationPort(Protocol):
    """What the app asks of rotations: `keyturn.operations.rotation.client.RotationClient`, or the one in memory."""

    def start(self, name: str, code: str | None = None) -> Progress: ...
    def advance(self, name: str, code: str | None = None) -> Progress: ...
    def undo(self, name: str, code: str | None = None) -> Progress: ...
    def deletion_facts(self, name: str, code: str | None = None) -> DeletionFacts: ...
    def finish(self, name: str, last_four: str | None, code: str | None = None) -> Progress: ...
    def delete_other_key(self, name: str, last_four: str, code: str | None = None) -> str: ...
    def status(self, name: str, code: str | None = None) -> dict[str, Any]: ...


class ServicePort(Protocol):
    """What the app asks of the keeper: `keyturn.service.CredentialService`, or the honest one in memory that tests use."""

    @property
    def paths(self) -> Paths: ...
    @property
    def rotation(self) -> RotationPort: ...
    def now(self) -> datetime: ...
    def snapshot(self) -> Snapshot: ...
    def has_changed(self) -> bool: ...
    def withdraw_expired(self) -> tuple[str, ...]: ...
    def keyring_backend(self) -> str | None: ...
    def create_vault(self, slot: str, passphrase: Secret | None = None) -> Secret: ...
    def confirm_recovery_key(self) -> None: ...
    def unlock(self, passphrase: Secret | None = None, recovery_key: Secret | None = None) -> None: ...
    def lock(self) -> None: ...
    def pause(self, *, paused: bool) -> None: ...
    def refresh(self, name: str, mfa_code: str | None = None) -> Refreshed: ...
    def due_profiles(self) -> tuple[str, ...]: ...
    def deliver(self, name: str, to: Delivery, as_name: str | None = None) -> str: ...
    def stop(self, name: str) -> str: ...
    def plan_adopt(self, names: Sequence[str], *, session_none: bool = False) -> Plan: ...
    def adopt(self, plan: Plan) -> tuple[str, ...]: ...
    def plan_release(self, names: Sequence[str]) -> Plan: ...
    def release(
        self, plan: Plan, passphrase: Secret | None = None, words: str | None = None
    ) -> tuple[str, ...]: ...


class Queue(Enum):
    """Which threads run a command; the value is how many there are."""

    AWS = 8
    """What may wait for AWS: as many at once as a refresh of all is allowed. It can be left at any moment: what AWS
    still answers is stored by the agent, or by nobody."""
    WRITE = 4
    """What changes files or vault; leaving waits for it."""
    READ = 1
    """Snapshots and stat polls, one after another, so that an older one never overtakes a newer."""
    DIALOG = 2
    """What a person waits for in a dialog: never behind eight hanging refreshes."""


class WorkerPool:
    """Runs commands in daemon threads that start when first needed.

    :param post: delivers an answer to the event loop from any thread; False where nobody listens any more.
    """

    def __init__(self, post: Callable[[Answer], bool]) -> None:
        self._post = post
        self._tickets = itertools.count(1)
        self._pending: dict[int, asyncio.Future[object]] = {}
        self._labels: dict[int, str] = {}
        self._queues: dict[Queue, SimpleQueue[tuple[int, Callable[[], object]]]] = {
            queue: SimpleQueue() for queue in Queue
        }
        self._threads: dict[Queue, int] = dict.fromkeys(Queue, 0)
        self._busy: dict[Queue, int] = dict.fromkeys(Queue, 0)
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)

    async def run(self, command: Callable[[], T], queue: Queue = Queue.WRITE, label: str = "") -> T:
        """Run a command in a thread of its lane; gives its result or raises its error. On the event loop only.

        :param about: what a person calls it, for :meth:`abandoned`.
        """
        ticket = next(self._tickets)
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._pending[ticket] = future
        if label:
            self._labels[ticket] = label
        with self._lock:
            self._busy[queue] += 1
            start = self._threads[queue] < min(queue.value, self._busy[queue])
            self._threads[queue] += start
            nth = self._threads[queue]
        self._queues[queue].put((ticket, command))
        if start:
            name = f"keyturn-{queue.name.lower()}-{nth}"
            threading.Thread(target=self._work, args=(queue,), name=name, daemon=True).start()
        try:
            return cast("T", await future)
        finally:
            self._pending.pop(ticket, None)
            if future.done() and not future.cancelled():
                self._labels.pop(ticket, None)

    def resolve(self, answer: Answer) -> None:
        """Hand an answer to whoever awaits it. On the event loop only."""
        future = self._pending.pop(answer.ticket, None)
        if future is None or future.done():
            return
        if answer.error is not None:
            future.set_exception(answer.error)
        else:
            future.set_result(answer.result)

    @property
    def pending(self) -> int:
        """How many commands have not been answered yet."""
        return len(self._pending)

    def unanswered(self) -> tuple[str, ...]:
        """What was asked and has not been answered: called after the screen is gone."""
        return tuple(self._labels.values())

    def drain(self, seconds: float) -> bool:
        """Wait until nothing that changes files or vault is running, at most `seconds`: called after the screen is gone, so that a change of files
        that has begun ends in order. True if all is quiet."""
        end = time.monotonic() + seconds
        with self._idle:
            while self._busy[Queue.WRITE] or self._busy[Queue.DIALOG]:
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self._idle.wait(left)
        return True

    def _work(self, queue: Queue) -> None:
        take = self._queues[queue].get
        while True:
            ticket, command = take()
            try:
                answer = Answer(ticket, result=command())
            except Exception as error:  # noqa: BLE001  # the worker boundary: every error goes to whoever asked
                answer = Answer(ticket, error=error)
            finally:
                with self._idle:
                    self._busy[queue] -= 1
                    self._idle.notify_all()
            del command
            self._post(answer)
            del answer
