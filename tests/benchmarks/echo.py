"""A server that does nothing but answer: what the machine itself costs a round trip over a socket at this moment."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path


def serve(path: str, size: int) -> None:
    """Takes a line, gives `size` bytes and hangs up, each by a thread of a pool, until it is killed."""
    answer = b"x" * size

    def act(caller: socket.socket) -> None:
        with caller:
            caller.recv(65536)
            caller.sendall(answer)

    with socket.socket(socket.AF_UNIX) as listener, ThreadPoolExecutor(8) as pool:
        listener.bind(path)
        listener.listen()
        print(flush=True)  # noqa: T201 - the word to begin
        while True:
            pool.submit(act, listener.accept()[0])


@contextmanager
def echo(folder: Path, size: int) -> Iterator[Callable[[], None]]:
    """A server of its own process beside the one that is measured; gives what makes one round trip to it."""
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
