"""A server that only answers: the cost of a round trip over a socket on this machine at this moment."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path


def serve(path: str, size: int) -> None:
    """Read a line, send `size` bytes and close, each connection in a thread of a pool, until the process is
    killed."""
    answer = b"x" * size

    def answer_caller(caller: socket.socket) -> None:
        with caller:
            caller.recv(65536)
            caller.sendall(answer)

    with socket.socket(socket.AF_UNIX) as listener, ThreadPoolExecutor(8) as pool:
        listener.bind(path)
        listener.listen()
        print(flush=True)  # noqa: T201 - the signal to begin
        while True:
            pool.submit(answer_caller, listener.accept()[0])


@contextmanager
def echo(folder: Path, size: int) -> Iterator[Callable[[], None]]:
    """Run a server in a process beside the measured one and yield the function that makes one round trip to
    it."""
    path = str(folder / "echo")

    def ask() -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            sock.sendall(b"x" * 100 + b"\n")
            while sock.recv(65536):
                pass

    command = (sys.executable, "-m", __spec__.name, path, str(size))
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield ask
        finally:
            process.kill()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
