"""A time limit for a call that cannot be interrupted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Answer = TypeVar("Answer")


class DeadlineExceeded(Exception):
    """No response within the deadline."""


def run_with_timeout(seconds: float, function: Callable[[], Answer]) -> Answer:
    """Return or raise the outcome of `function` within `seconds`.

    After the timeout the call continues in a daemon thread and its outcome is discarded.

    :raises DeadlineExceeded: if it took longer, or `seconds` is not positive.
    """
    if seconds <= 0:
        raise DeadlineExceeded
    outcome: Future[Answer] = Future()

    def run() -> None:
        try:
            outcome.set_result(function())
        except BaseException as error:  # noqa: BLE001 - thread boundary: the caller raises it again
            outcome.set_exception(error)

    thread = threading.Thread(target=run, name="keyturn-aws", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise DeadlineExceeded
    return outcome.result()
