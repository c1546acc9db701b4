"""A program started by the real `keyturn exec --endpoint`, and requests that other processes send to its
endpoint."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.end_to_end.person import BIN, Person

#: Prints its environment, then waits until its standard input ends.
PRINT_ENVIRON = "import json, os, sys; print(json.dumps(dict(os.environ)), flush=True); sys.stdin.read()"
Record = Callable[[str, object], None]


@dataclass
class Program:
    """A running program."""

    process: subprocess.Popen[str]
    environ: Mapping[str, str]

    @property
    def url(self) -> str:
        return self.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"]

    @property
    def port(self) -> int:
        return int(urlsplit(self.url).port or 0)

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def token_file(self) -> Path:
        return Path(self.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"])

    @property
    def token(self) -> str:
        return self.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN") or self.token_file.read_text()

    def request(
        self, *fields: str, line: str = "", host: str | None = None, token: str | None = None
    ) -> bytes:
        """Return the right request with the given parts replaced; an empty host or token is left out."""
        host = f"127.0.0.1:{self.port}" if host is None else host
        token = self.token if token is None else token
        lines = [
            line or f"GET {self.path} HTTP/1.1",
            *([f"Host: {host}"] if host else []),
            *([f"Authorization: {token}"] if token else []),
            *fields,
        ]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def send(self, raw: bytes, address: str = "127.0.0.1") -> bytes:
        """Return the endpoint's reply to raw bytes; empty if it hangs up."""
        with socket.create_connection((address, self.port), timeout=20) as sock:
            with suppress(OSError):
                sock.sendall(raw)
            return read_reply(sock)

    def key_id(self) -> str:
        """Return the key ID of the credentials that the right request gets."""
        answer = self.send(self.request())
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer
        return str(json.loads(answer.partition(b"\r\n\r\n")[2])["AccessKeyId"])

    def is_listening(self) -> bool:
        """Return True if anything listens on the port."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        except ConnectionRefusedError:
            return False
        return True

    def is_cleaned_up(self) -> bool:
        """Return True if endpoint and token file are gone within two seconds."""
        end = time.monotonic() + 2
        while time.monotonic() < end:
            if not self.is_listening() and not token_files(self.token_file.parent):
                return True
            time.sleep(0.01)
        return False

    def server(self) -> int:
        """Return the endpoint's process. Only root can identify it."""
        inode = next(
            line.split()[9]
            for line in tcp_tables()
            if line.split()[1].endswith(f":{self.port:04X}") and line.split()[3] == "0A"
        )
        for folder in Path("/proc").glob("[0-9]*/fd"):
            with suppress(OSError):
                if any(os.readlink(entry) == f"socket:[{inode}]" for entry in folder.iterdir()):  # noqa: PTH115  # no file
                    return int(folder.parent.name)
        raise AssertionError("nobody holds the port")


def read_reply(sock: socket.socket) -> bytes:
    got = b""
    with suppress(OSError):
        while part := sock.recv(65536):
            got += part
    return got


def tcp_tables() -> list[str]:
    """Return the lines of the kernel's tables of TCP connections."""
    return [line for name in ("tcp", "tcp6") for line in _lines(Path("/proc/net") / name)]


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()[1:] if path.exists() else []


def token_files(folder: Path) -> list[str]:
    """Return the token files in a folder."""
    return sorted(path.name for path in folder.glob("endpoint-*"))


@contextmanager
def start_program(
    person: Person, *options: str, profile: str = "ci-release", **extra: str
) -> Iterator[Program]:
    """Run a program with an endpoint until the end of the block."""
    process = subprocess.Popen(
        [str(BIN / "keyturn"), "exec", profile, "--endpoint", *options, "--", sys.executable, "-c",
        PRINT_ENVIRON],
        env={**person.environ, **extra}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        try:
            yield Program(process, json.loads(process.stdout.readline()))
        finally:
            process.kill()


#: Run by any user: sends the same request repeatedly, and prints all replies.
_OTHER = """
import json, socket, sys
port, count = int(sys.argv[1]), int(sys.argv[3])
raw = sys.argv[2].encode("latin-1").decode("unicode_escape").encode("latin-1")
answers = []
for _ in range(count):
    got = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as one:
        try:
            one.sendall(raw)
            while part := one.recv(65536):
                got += part
        except OSError:
            pass
    answers.append(got.decode("latin-1"))
print(json.dumps(answers))
"""


def replies_to(target: Program, *python: str, count: int) -> list[str]:
    """Return the replies that an interpreter, run as any user, gets for `count` right requests."""
    raw = target.request().decode("latin-1").encode("unicode_escape").decode("ascii")
    done = subprocess.run(
        [*python, "-I", "-c", _OTHER, str(target.port), raw, str(count)],
        capture_output=True, text=True, check=True, cwd="/", timeout=60,
    )  # fmt: skip
    found: list[str] = json.loads(done.stdout)
    return found
