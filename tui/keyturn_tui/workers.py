"""Threads between screens and service. Commands run in a bounded number of threads, which only post messages.

A coroutine awaits :meth:`WorkerPool.run`; the thread posts one `Answer`; the app passes it to
:meth:`WorkerPool.resolve`, which resumes the coroutine. No thread touches a widget.
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

from textual.message import Message

from keyturn.model.profile import Plan, Refreshed, Snapshot
from keyturn.model.secret import Secret
from keyturn.model.steps import Step, Steps
from keyturn.operations.credentials.refresh_many import RefreshOutcome
from keyturn.operations.rotation.delete_key import DeletionFacts, Obstacle
from keyturn.operations.rotation.progress import Progress
from keyturn.storage.paths import Paths
from keyturn_tui.messages import Answer, StepReported

T = TypeVar("T")

#: Seconds between two steps that are shown.
STEP_SECONDS = 0.1


class RotationPort(Protocol):
    """Rotation methods that the app uses. Implemented by
    `keyturn.operations.rotation.rotation_client.RotationClient`."""

    def start(self, name: str, code: str | None = None) -> Progress: ...
    def advance(self, name: str, code: str | None = None) -> Progress: ...
    def undo(self, name: str, code: str | None = None) -> Progress: ...
    def deletion_facts(self, name: str, code: str | None = None) -> DeletionFacts: ...
    def finish(
        self, name: str, last_four: str | None, code: str | None = None, force: tuple[Obstacle, ...] = ()
    ) -> Progress: ...
    def delete_other_key(self, name: str, last_four: str, code: str | None = None) -> str: ...
    def status(self, name: str, code: str | None = None) -> dict[str, Any]: ...


class ServicePort(Protocol):
    """Service methods that the app uses. Implemented by `keyturn.service.CredentialService`, and in memory by
    the tests."""

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
    def unlock(
        self,
        passphrase: Secret | None = None,
        recovery_key: Secret | None = None,
        *,
        cancelled: threading.Event | None = None,
    ) -> None: ...
    def lock(self) -> None: ...
    def pause(self, *, paused: bool) -> None: ...
    def watched(self, steps: Steps) -> ServicePort: ...
    def refresh(self, name: str, mfa_code: str | None = None) -> Refreshed: ...
    def refresh_many(self, names: Sequence[str]) -> tuple[RefreshOutcome, ...]: ...
    def due_profiles(self) -> tuple[str, ...]: ...
    def unused_profiles(self) -> tuple[str, ...]: ...
    def stop(self, name: str) -> str: ...
    def plan_adopt(self, names: Sequence[str], *, session_none: bool = False) -> Plan: ...
    def adopt(self, plan: Plan) -> tuple[str, ...]: ...
    def plan_release(self, names: Sequence[str], *, with_dependents: bool = False) -> Plan: ...
    def release(
        self, plan: Plan, passphrase: Secret | None = None, words: str | None = None
    ) -> tuple[str, ...]: ...


class Queue(Enum):
    """Thread groups; the value is the maximum number of threads."""

    AWS = 8
    """Commands that may wait for AWS; as many as a refresh of all may run. Exit does not wait for them,
    because a session whose answer comes later is requested again."""
    WRITE = 4
    """Commands that change files or vault; exit waits for them."""
    READ = 1
    """Snapshots and stat polls. One at a time, so that an older one never replaces a newer."""
    DIALOG = 2
    """Commands that a dialog waits for; they are not queued behind slow refreshes."""


class Watch:
    """The steps of one command on many profiles: posted as messages, at most ten a second, until the user
    stops the command.
    """

    def __init__(self, post: Callable[[Message], bool]) -> None:
        self._post = post
        self._stop = threading.Event()
        self._next_post = 0.0

    @property
    def steps(self) -> Steps:
        """The front end that the command reports to, in its thread."""
        return Steps(self._report, self._stop.is_set)

    @property
    def is_stopped(self) -> bool:
        """True if the user has stopped the command."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Stop the command between two profiles."""
        self._stop.set()

    def _report(self, step: Step) -> None:
        now = time.monotonic()
        if now >= self._next_post:
            self._next_post = now + STEP_SECONDS
            self._post(StepReported(step))


class WorkerPool:
    """Runs commands in daemon threads, which are started when needed.

    :param post: posts a message to the event loop from any thread; returns False if the app has ended.
    """

    def __init__(self, post: Callable[[Message], bool]) -> None:
        self._post = post
        self._tickets = itertools.count(1)
        self._pending: dict[int, asyncio.Future[object]] = {}
        self._labels: dict[int, str] = {}
        self._queues: dict[Queue, SimpleQueue[tuple[int, Callable[[], object]]]] = {
            queue: SimpleQueue() for queue in Queue
        }
        self._threads: dict[Queue, int] = dict.fromkeys(Queue, 0)
        self._busy: dict[Queue, int] = dict.fromkeys(Queue, 0)
        self._idle = threading.Condition()

    async def run(self, command: Callable[[], T], queue: Queue = Queue.WRITE, label: str = "") -> T:
        """Run a command in a thread and return its result or raise its error. Call on the event loop only.

        :param label: name of the operation, for :meth:`unanswered`.
        """
        ticket = next(self._tickets)
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._pending[ticket] = future
        if label:
            self._labels[ticket] = label
        with self._idle:
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

    def watch(self) -> Watch:
        """Return the watch for a command on many profiles."""
        return Watch(self._post)

    def resolve(self, answer: Answer) -> None:
        """Resume the coroutine that awaits an answer. Call on the event loop only."""
        future = self._pending.pop(answer.ticket, None)
        if future is None or future.done():
            return
        if answer.error is not None:
            future.set_exception(answer.error)
        else:
            future.set_result(answer.result)

    @property
    def pending(self) -> int:
        """Number of commands without an answer."""
        return len(self._pending)

    def unanswered(self) -> tuple[str, ...]:
        """Return the labels of commands without an answer, after the app ended."""
        return tuple(self._labels.values())

    def drain(self, seconds: float) -> bool:
        """Wait until no command changes files or vault, so that a running change completes. Called after the
        app ended. Return False after `seconds`."""
        end = time.monotonic() + seconds
        with self._idle:
            while self._busy[Queue.WRITE] or self._busy[Queue.DIALOG]:
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self._idle.wait(left)
        return True

    def _work(self, queue: Queue) -> None:
        while True:
            ticket, command = self._queues[queue].get()
            try:
                answer = Answer(ticket, result=command())
            except Exception as error:  # noqa: BLE001  # worker boundary: every error goes to the awaiting coroutine
                answer = Answer(ticket, error=error)
            finally:
                with self._idle:
                    self._busy[queue] -= 1
                    self._idle.notify_all()
            del command
            self._post(answer)
            del answer
