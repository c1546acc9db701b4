"""A secret goes to a newly started program only after it has hardened itself, and to no impostor."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyturn.system import secret_channel

CONNECT_SCRIPT = """
import ctypes, os, sys
from keyturn.system import prctl, secret_channel
prctl.disable_dumps()
secret_channel.connect()
line = sys.stdin.buffer.readline()
os.write(1, b"%d %s" % (ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), line))
"""


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = secret_channel.create()
    ours.settimeout(20)
    with ours, theirs:
        yield ours, theirs


def start_child(theirs: socket.socket, program: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-c", program], stdin=theirs.fileno(), stderr=subprocess.PIPE
    )


def test_a_program_that_closed_itself_hears_and_answers(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    with start_child(theirs, CONNECT_SCRIPT) as process:
        theirs.close()
        channel = secret_channel.accept(ours, process.pid)
        assert channel is not None
        with channel:
            channel.settimeout(20)
            channel.sendall(b"secret\n")
            assert channel.recv(100) == b"0 secret\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says which process sent a message")
def test_somebody_else_who_took_its_end_is_not_met(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    with start_child(theirs, "input()") as process:
        stolen, given = socket.socketpair()
        with stolen, given:
            socket.send_fds(theirs, [b"."], [given.fileno()])
            assert secret_channel.accept(ours, process.pid) is None
        theirs.close()
        ours.close()


@pytest.mark.parametrize("program", ["pass", "import os; os.write(0, b'.')"])
def test_a_program_that_ends_or_says_something_else_is_not_met(
    ends: tuple[socket.socket, socket.socket], program: str
) -> None:
    ours, theirs = ends
    with start_child(theirs, program) as process:
        theirs.close()
        assert secret_channel.accept(ours, process.pid) is None


def test_one_that_does_not_come_is_a_time_out(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = ends
    ours.settimeout(0.01)
    with pytest.raises(TimeoutError):
        secret_channel.accept(ours, os.getpid())


def test_the_first_socket_cannot_be_opened_by_its_name(ends: tuple[socket.socket, socket.socket]) -> None:
    _, theirs = ends
    with pytest.raises(OSError, match="No such device"):
        Path(f"/proc/self/fd/{theirs.fileno()}").read_bytes()


def test_a_ctrl_c_that_does_not_interrupt_the_wait_ends_it_soon(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """A signal that another thread gets is noted, but the wait of the main thread goes on."""
    ours, _ = ends
    timer = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
    deadline = time.monotonic() + 20

    def wait() -> None:
        timer.start()  # in here, because on a busy machine the signal may come before the wait
        secret_channel.wait_readable(ours, deadline, None)

    # As in a program of its own, whatever ran in this process before.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        with pytest.raises(KeyboardInterrupt):
            wait()
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    assert time.monotonic() < deadline, "only the deadline ended it"
