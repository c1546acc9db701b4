"""Traffic on the agent's sockets: raw request lines with their answers, and the lines that keyturn itself
sends."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.golden.recording import Recording, run_text

_PAGE = "wire.txt"
_TIMEOUT = 60.0


class Line:
    """Speaks to one socket of the agent's.

    :param title: how a recording calls it.
    """

    def __init__(self, recording: Recording, path: Path, title: str) -> None:
        self._recording = recording
        self._path = path
        self._title = title

    def raw(self, request: bytes, shown: str = "") -> Any:
        """Send bytes, record them with what comes back, and give that as JSON."""
        answer = b""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_TIMEOUT)
            connection.connect(str(self._path))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(request)
            with contextlib.suppress(ConnectionResetError):
                while part := connection.recv(65536):
                    answer += part
        sent = shown or request.decode("utf-8", "replace").rstrip("\n")
        got = answer.decode("utf-8", "replace")
        ending = "" if got.endswith("\n") else " (no line end)"
        self._recording.add(_PAGE, f"{self._title}> {sent}\n< {got.removesuffix(chr(10))}{ending}")
        with contextlib.suppress(ValueError):
            return json.loads(got)
        return None

    def ask(self, **record: object) -> Any:
        """Send a request of the protocol's version."""
        return self.raw(json.dumps({"v": 1, **record}).encode() + b"\n")

    def run(self, act: str, /, **args: object) -> Any:
        """Run an operation at the beginning of the next minute."""
        self._recording.home.wait_for_next_minute()
        return self.ask(op="run", act=act, args=args)

    def query(self, act: str, /, **args: object) -> Any:
        """Run an operation in the middle of the minute, where no displayed duration changes."""
        self._recording.home.wait_for_mid_minute()
        return self.ask(op="run", act=act, args=args)


def record(recording: Recording) -> None:
    """Record every operation on both sockets, and then what keyturn sends for its verbs."""
    home = recording.home
    (home.own / "config" / "config.toml").write_text('forward = ["ci-release", "personal"]\n')
    run = home.own / "run"
    home.wait_for_mid_minute()
    near, far = Line(recording, run / "agent.sock", ""), Line(recording, run / "forward.sock", "forwarded ")
    _shapes(near)
    _documents(near)
    _forwarded(far)
    _bad_arguments(near, recording)
    _good_arguments(near, recording)
    near.ask(op="lock")
    _sent_by_keyturn(recording, run / "agent.sock")


def _shapes(line: Line) -> None:
    line.ask(op="status")
    line.ask(op="pause")
    line.ask(op="status")
    line.ask(op="resume")
    line.ask(op="pause")
    for request in (b"\n", b"noise\n", b"[]\n", b"{}\n", b'{"v":2,"op":"status"}\n', b'{"v":1}\n', b"\xff\n"):
        line.raw(request)
    line.raw(b'{"v":1,"op":"' + b"x" * (1 << 20) + b'"}\n', "(a request longer than 1 MiB)")
    line.ask(op="frobnicate")
    line.ask(op="credential-process")
    line.ask(op="credential-process", profile="")
    line.ask(op="credential-process", profile=7)
    line.ask(op="credential-process", profile="x" * 1025)
    line.ask(op="credential-process", profile="ci-release", least="soon")
    line.ask(op="run")
    line.ask(op="run", act="refresh")
    line.ask(op="run", act="", args={})
    line.ask(op="run", act="frobnicate", args={})
    line.ask(op="run", act="refresh", args=[])


def _documents(line: Line) -> None:
    for name in (
        "ci-release",
        "personal",
        "contractor",
        "nobody",
        "old-cluster",
        "acme-alice",
        "stale",
        "denied",
    ):
        line.ask(op="credential-process", profile=name)
    line.ask(op="credential-process", profile="ci-release", least=600)


def _forwarded(line: Line) -> None:
    line.ask(op="status")
    for name in ("ci-release", "personal", "ci-audit", "nobody"):
        line.ask(op="credential-process", profile=name)
    for least in (600, 0, -1, True, "soon", 129601, 129600):
        line.ask(op="credential-process", profile="ci-release", least=least)
    line.ask(op="pause")
    line.ask(op="lock")
    line.ask(op="run", act="refresh", args={"name": "ci-release"})
    line.raw(b"noise\n")


_OPERATIONS = (
    "refresh", "document", "hand", "deliver", "stop", "adopt", "plan-release", "release", "mfa-devices",
    "rotate-begin", "rotate-step", "rotate-undo", "rotate-ending", "rotate-finish", "rotate-drop",
    "rotate-status",
)  # fmt: skip


def _bad_arguments(line: Line, recording: Recording) -> None:
    files = [str(recording.home.config), str(recording.home.credentials)]
    for act in _OPERATIONS:
        line.ask(op="run", act=act, args={})
        line.ask(
            op="run",
            act=act,
            args={"name": "nobody", "names": ["nobody"], "to": "nowhere", "last_four": "AAAA", "digest": ""},
        )
        line.ask(
            op="run",
            act=act,
            args={
                "name": "contractor",
                "names": ["contractor"],
                "to": "nowhere",
                "last_four": "AAAA",
                "digest": "x",
            },
        )
        line.ask(
            op="run", act=act, args={"name": "ci-release", "files": ["/other/config", "/other/credentials"]}
        )
    line.ask(op="run", act="refresh", args={"name": None, "files": files})
    line.ask(op="run", act="deliver", args={"name": "ci-release", "to": "elsewhere", "files": files})
    line.ask(op="run", act="hand", args={"name": "ci-release", "least_seconds": "soon"})
    line.ask(op="run", act="hand", args={"name": "ci-release", "least_seconds": 10**400})
    line.ask(op="run", act="adopt", args={"names": 7, "digest": ""})
    line.ask(op="run", act="adopt", args={"names": ["denied"], "digest": "another"})
    line.ask(op="run", act="release", args={"names": ["ci-deploy"], "digest": "another"})
    line.ask(op="run", act="refresh", args={"name": "acme-alice", "code": "000000"})


def _good_arguments(line: Line, recording: Recording) -> None:
    home = recording.home
    files = [str(home.config), str(home.credentials)]
    line.run("refresh", name="ci-release", files=files)
    line.run("refresh", name="ci-deploy", code=None)
    line.run("document", name="ci-release")
    line.run("hand", name="ci-release", least_seconds=600, code=None, files=files)
    line.run("hand", name="ci-release", least_seconds=3590)
    line.run("hand", name="ci-release", least_seconds=90000)
    line.run("deliver", name="ci-release", to="credentials-file", **{"as": "by-wire"})
    line.run("deliver", name="ci-release", to="credential-process")
    line.run("stop", name="acme-hub")
    line.run("mfa-devices", name="acme-build")
    line.run("mfa-devices", name="personal")
    plan = line.run("plan-release", names=["acme-batch"])
    line.run("release", names=["acme-batch"], digest=plan["result"]["digest"])
    plan = line.run("plan-release", names=["stale"])
    digest = plan["result"]["digest"]
    line.run("release", names=["stale"], digest=digest)
    line.run("release", names=["stale"], digest=digest, passphrase="wrong")
    line.run("release", names=["stale"], digest=digest, words="release stale")
    line.run(
        "release", names=["stale"], digest=digest, recovery_key=(home.said / "recovery").read_text().strip()
    )
    line.query("rotate-status", name="gov-ops")
    line.run("rotate-begin", name="gov-ops", code=None)
    line.run("rotate-begin", name="gov-ops")
    line.run("rotate-step", name="gov-ops")
    line.query("rotate-ending", name="gov-ops")
    line.query("rotate-finish", name="gov-ops", last_four="AAAA")
    line.query("rotate-status", name="gov-ops")
    line.query("rotate-ending", name="ci-deploy")
    line.query("rotate-finish", name="ci-deploy", last_four=None)
    line.run("rotate-begin", name="acme-build")
    line.run("rotate-undo", name="acme-build")
    line.run("rotate-drop", name="acme-build", last_four="AAAA")
    line.query("rotate-status", name="acme-build")


class Impostor:
    """Listens where the agent would, notes every line, and answers `status` as the agent does and all else by
    one error.

    :param answers: what it answers to operations other than `status`.
    """

    _ERROR: Mapping[str, object] = {
        "type": "NotFound", "exit": 3, "line": "the impostor: it knows nothing. Ask another",
        "what": "the impostor",
        "why": "it knows nothing", "hint": "Ask another", "extra": {},
    }  # fmt: skip

    def __init__(self, path: Path, version: str) -> None:
        self.heard: list[str] = []
        self._version = version
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        path.unlink(missing_ok=True)
        self._socket.bind(str(path))
        path.chmod(0o600)
        self._socket.listen(16)
        self._path = path
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                line = lines.readline().decode("utf-8", "replace").rstrip("\n")
                if line:
                    self.heard.append(line)
                    with contextlib.suppress(OSError):
                        connection.sendall(self._answer(line))

    def _answer(self, line: str) -> bytes:
        status = {"pid": 4711, "version": self._version, "open_since": None, "open_until": None}
        result = {**status, "generation": 1, "paused": False}
        is_status = '"op":"status"' in line
        table = {"ok": True, "result": result} if is_status else {"ok": False, "error": self._ERROR}
        return json.dumps(table, separators=(",", ":")).encode() + b"\n"

    def close(self) -> None:
        self._socket.close()
        self._path.unlink(missing_ok=True)


def _sent_by_keyturn(recording: Recording, path: Path) -> None:
    """Record the lines that verbs send, by an impostor in the agent's place; they are asked one after the
    other."""
    home = recording.home
    home.wait_for_mid_minute()
    version = home.run("--version").out.split()[-1]
    impostor = Impostor(path, version)
    try:
        for words, fds in (
            (("list",), {}), (("vault", "status"), {}), (("agent", "status"), {}), (("agent", "pause"), {}),
            (("agent", "resume"), {}), (("credential-process", "ci-release"), {}), (("credential-process",
            'mün"ch'), {}),
            (("refresh", "ci-deploy", "--mfa-code", "123456"), {}), (("refresh", "ci-release"), {}),
            (("deliver", "ci-audit", "--to", "credentials-file", "--as", "x"), {}), (("stop", "ci-release"),
            {}),
            (("adopt", "denied", "--yes"), {}), (("adopt", "stale", "--session-none", "--yes"), {}),
            (("release", "ci-deploy", "--yes", "--passphrase-fd", "3"), {3: "passphrase"}),
            (("exec", "ci-release", "--min-left", "45m", "--", "true"), {}), (("env", "ci-release"), {}),
            (("set", "ci-audit", "mfa_serial=choose"), {}), (("rotate", "gov-ops", "--status"), {}),
            (("rotate", "gov-ops", "--resume"), {}), (("rotate", "gov-ops", "--undo", "--yes"), {}),
            (("rotate", "acme-build", "--yes"), {}), (("rotate", "ci-deploy", "--finish", "--confirm",
            "AAAA"), {}),
            (("rotate", "ci-deploy", "--drop", "AAAA"), {}), (("agent", "start"), {}),
        ):  # fmt: skip
            impostor.heard.clear()
            done = home.run(*words, fds=fds)
            sent = "".join(f"sent: {line}\n" for line in impostor.heard)
            recording.add("wire-sent.txt", run_text(words, done, fds=fds) + sent)
    finally:
        impostor.close()
