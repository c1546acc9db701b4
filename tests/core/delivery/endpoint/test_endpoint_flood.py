"""Under a flood of connections, the program's own client is served, and the endpoint stays as small as
before."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median

import pytest

from tests.core.delivery.endpoint.exec_program import Program, Record
from tests.support.needs import skip_or_fail

#: Seconds, of the median.
MAX_SECONDS = 0.1


def median_seconds(program: Program, count: int) -> float:
    """Return the median time of `count` replies, each of which is right."""
    raw, times = program.request(), []
    for _ in range(count):
        began = time.perf_counter()
        answer = program.send(raw)
        times.append(time.perf_counter() - began)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    return median(times)


@contextmanager
def silent_connections(program: Program, count: int) -> Iterator[None]:
    """Open connections that send nothing or half a request."""
    with ExitStack() as stack:
        for number in range(count):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", program.port), timeout=20))
            with suppress(OSError):
                sock.sendall(program.request()[: number % 40])
        yield


@contextmanager
def slow_connections(program: Program, count: int) -> Iterator[None]:
    """Open connections that send a byte now and then, and reconnect after they are dropped."""
    done = threading.Event()

    def drip() -> None:
        while not done.is_set():
            with suppress(OSError), socket.create_connection(("127.0.0.1", program.port), timeout=20) as sock:
                while not done.wait(0.02):
                    sock.sendall(b"G")

    threads = [threading.Thread(target=drip) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()


def test_those_who_say_nothing_or_half_of_it_keep_nobody_waiting(
    program: Program, record_property: Record
) -> None:
    with silent_connections(program, 200), slow_connections(program, 20):
        found = median_seconds(program, 50)
    record_property(
        "endpoint: median answer in ms beside 200 silent and 20 slow clients", round(found * 1000, 1)
    )
    assert found < MAX_SECONDS


def test_who_is_too_slow_is_dropped_after_five_seconds_in_all(program: Program) -> None:
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", program.port), timeout=20) as sock, suppress(OSError):
        while time.monotonic() - began < 15:
            sock.sendall(b"G")
            sock.settimeout(0.2)
            with suppress(TimeoutError):
                if not sock.recv(1):
                    break
    assert 4.5 < time.monotonic() - began < 8


def size(pid: int) -> tuple[int, int]:
    """Return the numbers of descriptors and threads."""
    return len(os.listdir(f"/proc/{pid}/fd")), len(list(Path(f"/proc/{pid}/task").iterdir()))  # noqa: PTH208


def flooded(program: Program, count: int, record: Record) -> None:
    if os.geteuid() != 0:
        skip_or_fail("only root sees the descriptors of a closed process")
    median_seconds(program, 3)
    pid = program.server()
    before = size(pid)
    with silent_connections(program, 30), slow_connections(program, 5):
        found = median_seconds(program, count)
    wrong = program.request(token="x")
    for _ in range(count // 4):
        assert b" 403 " in program.send(wrong)
    end = time.monotonic() + 10
    while size(pid) > before and time.monotonic() < end:
        time.sleep(0.05)
    assert size(pid) <= before
    record(
        f"endpoint: median answer in ms, {count} requests beside half-open and slow ones",
        round(found * 1000, 1),
    )
    assert found < MAX_SECONDS


def test_hundreds_of_requests_leave_it_as_it_was(program: Program, record_property: Record) -> None:
    flooded(program, 300, record_property)


@pytest.mark.campaign
@pytest.mark.timeout(900)
def test_ten_thousand_requests_leave_it_as_it_was(program: Program, record_property: Record) -> None:
    flooded(program, 10_000, record_property)
