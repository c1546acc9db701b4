"""Hostile texts in requests to endpoints and forwarded sockets, and in the answers that keyturn gets
there."""

from __future__ import annotations

import json
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import tomli_w

from keyturn.agent.protocol import _error_types
from keyturn.delivery.endpoint import http
from keyturn.model.errors import KeyturnError
from keyturn.storage.raw_paths import forward_path
from tests.adversarial.hostile_input.corpus import as_argument, as_text
from tests.adversarial.hostile_input.harmless_output import foreign
from tests.adversarial.hostile_input.verbs import VerbRunner
from tests.core.delivery.endpoint.exec_program import PRINT_ENVIRON, Program, read_reply

BIN = Path(sys.executable).parent
ROLE = (
    "\n[profile {0}]\nrole_arn = arn:aws:iam::123456789012:role/Deploy\nsource_profile = ci\nregion = "
    "eu-west-1\n"
)
LOOT = (b"ASIA", b"wJalrX", b"SecretAccessKey")
#: Credentials in the form that a remote client accepts.
DOCUMENT = {
    "Version": 1, "AccessKeyId": "ASIAQQQQQQQQQQQQQQQQ",
    "SecretAccessKey": "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY01",
    "SessionToken": "FwoGZXIvYXdzEXAMPLETOKEN", "Expiration": "2036-01-01T00:00:00Z",
    "AccountId": "123456789012",
}  # fmt: skip
ODD: tuple[object, ...] = (None, True, 5, -1, 1e308, [], ["x"], {}, {"x": 1}, "")
SHELLS = ("sh", "bash", "fish", "powershell", "cmd", "json")


def raw_of(text: str) -> bytes:
    """Return a text as bytes, which need not be UTF-8."""
    return text.encode("utf-8", "surrogatepass")


# -- the endpoint: its own program, or any process that finds the port


@contextmanager
def program(machine: VerbRunner) -> Iterator[Program]:
    """Start a program with `exec role --endpoint`."""
    words = (
        str(BIN / "keyturn"),
        "exec",
        "role",
        "--endpoint",
        "--",
        sys.executable,
        "-I",
        "-c",
        PRINT_ENVIRON,
    )
    with subprocess.Popen(
        words, env=machine.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield Program(process, json.loads(process.stdout.readline()))
        finally:
            process.kill()


def requests(machine: VerbRunner, texts: tuple[str, ...]) -> None:
    """Send each of `texts` as path, host, token, header and method of an otherwise valid request, and as the
    whole request. The answer is one of three refusals, or none."""
    refusals = {http.refusal_response(verdict) for verdict in list(http.RequestStatus)[1:]}
    with program(machine) as target:
        holes = (
            target.request(line="GET /HOLE HTTP/1.1"), target.request(host="HOLE"),
            target.request(token="HOLE"),
            target.request("X-Forwarded-HOLE: HOLE"), target.request(line=f"HOLE {target.path} HTTP/1.1"),
            b"HOLE\r\n\r\n",
        )  # fmt: skip
        for text in texts:
            for hole in holes:
                answer = target.send(hole.replace(b"HOLE", raw_of(text)))
                machine.outputs += 1
                machine.check(
                    wrong=answer not in (*refusals, b""), what=f"{text[:50]!a} got {answer[:200]!r}"
                )
        assert target.key_id(), "it still serves"
    for refusal in refusals:
        machine.foreign += foreign(refusal.replace(b"\r\n", b"\n"))


def check_endpoint_texts(machine: VerbRunner, texts: tuple[str, ...]) -> None:
    """Send each of `texts` to the program in an error and in credentials."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for text in texts:
        fields = dict.fromkeys(("AccessKeyId", "SecretAccessKey", "SessionToken", "AccountId"), text or "x")
        given = http.credentials_response(
            text, json.dumps({**fields, "Expiration": "2036-01-01T00:00:00Z"}), now
        )
        for answer in (http.failure_response(KeyturnError(text, text, text)), given):
            head, _, body = answer.partition(http.HEAD_END)
            machine.outputs += 1
            machine.foreign += foreign(head.replace(b"\r\n", b"\n") + body)
            machine.foreign += foreign(json.loads(body).get("Message", ""))
            machine.check(wrong=f"Content-Length: {len(body)}".encode() not in head, what="a wrong length")


def programs(machine: VerbRunner, texts: tuple[str, ...]) -> None:
    """Use each of `texts` as the name of a profile with an endpoint, and as a program that does not exist."""
    config, ran = machine.config.read_text(), 0
    for text in as_argument(texts):
        machine.call_checked("exec", "role", "--endpoint", "--", f"no-such-folder/{text}")
        with suppress(UnicodeEncodeError):
            machine.config.write_text(config + ROLE.replace("{0}", text), newline="")
            result = machine.call_checked("exec", "--endpoint", "--", text, "/bin/sh", "-c", "echo ran")
            machine.check(
                wrong=(result.code == 0) != (result.out == b"ran\n"), what=f"{text[:50]!a}: {result.out!r}"
            )
            ran += result.code == 0
    machine.config.write_text(config, newline="")
    assert ran, "some names are names"


# -- the remote end of an SSH connection


def check_remote_requests(machine: VerbRunner, texts: tuple[str, ...]) -> None:
    """Request each of `texts` over the forwarded socket, every second one named in `config.toml`, and send
    each as a whole line."""
    # The file is read again for each request, so the names in it have ordinary lengths.
    configured = [text for text in as_text(texts[::2]) if 0 < len(text) < 10_000]
    _forward(machine, configured)
    for text in texts:
        requested = json.dumps({"v": 1, "op": "credential-process", "profile": text}).encode()
        for line in (requested, json.dumps({"v": 1, "op": text, "profile": text}).encode(), raw_of(text)):
            with socket.socket(socket.AF_UNIX) as remote:
                remote.connect(forward_path(machine.environ))
                with suppress(OSError):
                    remote.sendall(line + b"\n")
                answer = read_reply(remote)
            machine.outputs += 1
            machine.foreign += foreign(answer)
            machine.check(wrong=not _is_refusal(answer), what=f"{text[:50]!a} got {answer[:200]!r}")
    machine.call_checked("agent", "pause")
    assert b"paused" in machine.call_checked("agent", "status").out, "it still answers at home"
    machine.call_checked("agent", "resume")


def _forward(machine: VerbRunner, names: list[str]) -> None:
    path = machine.own / "config" / "config.toml"
    path.write_text(tomli_w.dumps({"forward": names}), "utf-8", newline="")
    path.chmod(0o600)


def _is_refusal(answer: bytes) -> bool:
    """Return True if an answer is one error in one line, harmless in everything that is shown. No answer is
    accepted for a line that is too long."""
    if any(word in answer for word in LOOT) or b"unforeseen" in answer:
        return False
    if not answer:
        return True
    answer_object = json.loads(answer)
    return (
        answer.count(b"\n") == 1
        and answer_object["ok"] is False
        and not foreign(answer_object["error"]["line"])
    )


# -- the local end: a remote keyturn must accept nothing from it but credentials


class LocalServer:
    """Server that gives the answer set by the test."""

    def __init__(self) -> None:
        self.answer = b""


@contextmanager
def local_server() -> Iterator[tuple[LocalServer, str]]:
    """Run a server and yield it with the path of its socket at the remote end."""
    server_state = LocalServer()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            with suppress(OSError):
                self.wfile.write(server_state.answer)

    with tempfile.TemporaryDirectory(prefix="kt-") as folder:
        path = Path(folder) / "far.sock"
        with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
            path.chmod(0o600)
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            try:
                yield server_state, str(path)
            finally:
                server.shutdown()
                thread.join()


def check_local_answers(machine: VerbRunner, texts: tuple[str, ...]) -> None:
    """Send each of `texts` as error and as credentials from another machine, well-formed and malformed."""
    remote = {"KEYTURN_HOME": str(machine.folder / "far"), "AWS_CONFIG_FILE": str(machine.folder / "none")}
    with local_server() as (server_state, path):
        environ = {
            **remote,
            "AWS_SHARED_CREDENTIALS_FILE": remote["AWS_CONFIG_FILE"],
            "KEYTURN_FORWARDED": path,
        }
        server_state.answer = _result(DOCUMENT)
        assert machine.call("credential-process", "x", environ=environ).code == 0, "a good one is believed"
        for nth, text in enumerate(texts):
            for number, answer in enumerate(_answers(text, nth)):
                server_state.answer = answer
                shell = SHELLS[(nth + number) % len(SHELLS)]
                words = (
                    ("credential-process", "x"), ("env", "x", "--shell", shell), ("exec", "x", "--",
                    "/bin/sh", "-c", ":"),
                )[(nth + number) % 3]  # fmt: skip
                machine.call_checked(*words, environ=environ, own=b"\r\n" if shell == "cmd" else b"\n")
            if nth % 16 == 0:
                server_state.answer = _result({**DOCUMENT, "AccountId": text, "SessionToken": text or "x"})
                machine.call_checked("exec", "x", "--endpoint", "--", "/bin/sh", "-c", ":", environ=environ)


def _result(document: object) -> bytes:
    return json.dumps({"ok": True, "result": document}).encode() + b"\n"


def _answers(text: str, nth: int) -> Iterator[bytes]:
    kinds = sorted(_error_types())
    for kind in (text, kinds[nth % len(kinds)]):
        error = {"type": kind, "exit": nth * 7 % 300, "line": text, "what": text, "why": text, "hint": text,
            "extra": {text: text, "path": text}}  # fmt: skip
        yield json.dumps({"ok": False, "error": error}).encode() + b"\n"
    fields = tuple(DOCUMENT)[1:]
    yield _result({**DOCUMENT, fields[nth % len(fields)]: text})
    yield _result({**DOCUMENT, "AccountId": text, text: text})
    yield _result({**DOCUMENT, fields[nth % len(fields)]: ODD[nth // len(fields) % len(ODD)]})
    yield raw_of(text) + b"\n"
    yield b'{"ok":true,"result":' + raw_of(text) + b"}\n"


# -- output that other programs read


def check_printed_lines(machine: VerbRunner, texts: tuple[str, ...]) -> None:
    """Print ssh configuration lines with each of `texts` as forwarded name, host and path: one block of two
    lines, the rest comments. Then use each as the whole `config.toml`."""
    for text in as_text(texts):
        _forward(machine, [text or "x"])
        _is_a_block(machine, "box", "agent", "ssh-config", "box")
        with suppress(UnicodeEncodeError):
            (machine.own / "config" / "config.toml").write_text(text, "utf-8", newline="")
            machine.call_checked("agent", "ssh-config", "box")
            machine.call_checked("list")
    _forward(machine, ["x"])
    for text in as_argument(texts):
        _is_a_block(machine, text, "agent", "ssh-config", "--", text)
        _is_a_block(machine, "box", "agent", "ssh-config", "box", f"--at=/{text}")
    for words in ((), ("--launchd",)):
        assert machine.call_checked("agent", "unit", *words, own=b"\t").code == 0


def _is_a_block(machine: VerbRunner, host: str, *words: str) -> None:
    result = machine.call_checked(*words)
    lines = [line for line in result.out.decode().splitlines() if not line.startswith("#")]
    is_one = len(lines) == 2 and lines[0] == f"Host {host}" and lines[1].startswith('    RemoteForward "/')
    quoted = len(lines) == 2 and lines[1].count('"') == 4 and lines[1].endswith('"')
    machine.check(wrong=result.code == 0 and not (is_one and quoted), what=f"{words[-1][:50]!a}: {lines}")
    machine.check(wrong=result.code != 0 and bool(result.out), what=f"{words[-1][:50]!a} was refused in part")
