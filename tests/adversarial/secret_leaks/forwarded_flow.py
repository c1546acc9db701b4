"""Sessions lent on: to a program by an endpoint, to another machine by a forwarded socket, to roles by one MFA code. What is
lent goes where it is meant for, and everything else beside it is looked through."""

from __future__ import annotations

import json
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keyturn.agent.protocol import request_line
from keyturn.model.secret import Secret
from keyturn.operations.credentials import mfa_sessions
from keyturn.service import CredentialService
from keyturn.storage.paths import paths_for
from keyturn.storage.socket_paths import forward_path
from tests.adversarial.secret_leaks.verb_flow import Flow, without_lent
from tests.core.delivery.endpoint.exec_program import PRINT_ENVIRON, Program, read_reply
from tests.end_to_end.person import BIN

#: Named in `config.toml`: one that is given, one that has a long-term key to give and nothing else, one that is none.
FORWARDED = ("ci-release", "acme-build", "nothing-like-it")
#: Asked for over the forwarded socket, and never given.
KEPT = ("ci-audit", "acme-alice", *FORWARDED[1:], "../x", "\0mfa\0x", "\x1b]52;c;x\x07", "x" * 5000)


def by_endpoint(one: Flow, *options: str, locks: bool = False) -> None:
    """A program with an endpoint: its right request, wrong ones with secrets in them, its files and its processes.

    :param locks: whether it is asked once more while the vault is locked.
    """
    with _program(one, *options) as program:
        one.search.add("the endpoint's token", program.token)
        one.search.add("the endpoint's path", program.path)
        told = "\0".join(f"{name}={value}" for name, value in program.environ.items()).encode()
        one.hits += one.search.look("the program's environment", without_lent(told))
        good = program.send(program.request())
        document = json.loads(good.partition(b"\r\n\r\n")[2])
        lent = _names(one, document["SecretAccessKey"], document["Token"])
        one.hits += one.search.look("the endpoint's answer", good, but=lent)
        for number, raw in enumerate(_wrong(one, program)):
            answer = program.send(raw)
            assert answer.startswith(b"HTTP/1.1 40"), answer
            one.hits += one.search.look(f"refusal {number}", answer)
        if locks:
            one.does("vault", "lock")
            answer = program.send(program.request())
            assert answer.startswith(b"HTTP/1.1 503 "), answer
            one.hits += one.search.look("the endpoint's answer while all is locked", answer)
            one.does("vault", "unlock", fds={"--passphrase-fd": one.passphrase})
        one.checks_files(*([] if "--token-env" in options else [program.token_file]))
    one.hits += one.search.look_in_file(one.sandbox.folder / "program.err")


@contextmanager
def _program(one: Flow, *options: str) -> Iterator[Program]:
    words = ("exec", "ci-release", "--endpoint", *options, "--", sys.executable, "-I", "-c", PRINT_ENVIRON)
    with (
        (one.sandbox.folder / "program.err").open("wb") as err,
        subprocess.Popen(
            [str(BIN / "keyturn"), *words], env=one.person.environ,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err, text=True,
        ) as process,
    ):  # fmt: skip
        assert process.stdout is not None
        try:
            yield Program(process, json.loads(process.stdout.readline()))
        finally:
            process.kill()
    one.commands += 1
    one.learn()


def _wrong(one: Flow, program: Program) -> Iterator[bytes]:
    """Requests that get nothing, in which the token, the path and long-term secrets stand where an answer might repeat them."""
    secret = one.made[0].reveal()
    for text in (program.token, secret):
        yield program.request(line=f"GET /{text} HTTP/1.1")
        yield program.request(line=f"{text} {program.path} HTTP/1.1")
        yield program.request(line=f"GET {program.path} HTTP/{text}")
        yield program.request(host=text)
        yield program.request(f"Origin: https://{text}.example")
        yield program.request(f"{text}: x\x1b[31m")
    yield program.request(token=program.token[:-1])
    yield program.request(token=secret)
    yield program.request(line=f"POST {program.path} HTTP/1.1")
    yield program.request(line=f"GET {program.path}/.. HTTP/1.1")


def _names(one: Flow, *values: str) -> set[str]:
    """What values are called in the search."""
    one.learn()
    return {one.search.needles[value.encode()][0] for value in values}


class Line:
    """Carries a forwarded socket as SSH would, and keeps what goes over it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[bytes] = []
        self.answered: list[bytes] = []

    def ask(self, raw: bytes) -> dict[str, Any]:
        """What the near agent answers to a line that no keyturn need have written."""
        with socket.socket(socket.AF_UNIX) as far:
            far.connect(str(self.path))
            far.sendall(raw)
            found: dict[str, Any] = json.loads(read_reply(far))
        return found


@contextmanager
def _carried(near: str) -> Iterator[Line]:
    class Carrying(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            asked = self.rfile.readline()
            with socket.socket(socket.AF_UNIX) as agent:
                agent.connect(near)
                agent.sendall(asked)
                answer = read_reply(agent)
            line.asked.append(asked)
            line.answered.append(answer)
            self.wfile.write(answer)

    with tempfile.TemporaryDirectory(prefix="kt-") as folder:
        line = Line(Path(folder) / "far.sock")
        with socketserver.ThreadingUnixStreamServer(str(line.path), Carrying) as server:
            line.path.chmod(0o600)
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            try:
                yield line
            finally:
                server.shutdown()
                thread.join()


def to_another_machine(one: Flow, *verbs: tuple[str, ...]) -> None:
    """All that is asked for over a forwarded socket, and what comes back: the session of one profile, and no more.

    :param verbs: what keyturn at the far end is asked to do besides `credential-process`.
    """
    places = paths_for(one.person.environ)
    places.config_file.write_text(f"forward = {json.dumps(FORWARDED)}\n")
    places.config_file.chmod(0o600)
    with _carried(forward_path(one.person.environ)) as line:
        for name in KEPT:
            answer = line.ask(request_line("credential-process", profile=name))
            assert answer["ok"] is False, answer
        for op in ("status", "lock", "pause", "run"):
            line.ask(request_line(op, act="refresh", args={"name": "ci-release"}))
        far = _far(one, line)
        one.does("credential-process", "ci-release", gives=True, extra=far)
        for words in verbs:
            gives = words[0] in ("env", "credential-process")
            one.does(*words, gives=gives, code=None if KEPT[0] in words else 0, extra=far)
    for number, asked in enumerate(line.asked):
        one.hits += one.search.look(f"question {number} over the line", asked)
    given = [_looked_through(one, number, answer) for number, answer in enumerate(line.answered)]
    assert any(given), "one profile is given"
    assert not any(given[: len(KEPT)])


def _looked_through(one: Flow, number: int, answer: bytes) -> bool:
    """Whether an answer lends something. A session with an end may be in it, and nothing else, its own source included."""
    result = json.loads(answer).get("result", {})
    lends = "SecretAccessKey" in result
    lent = _names(one, result["SecretAccessKey"], result["SessionToken"]) if lends else set()
    one.hits += one.search.look(f"answer {number} over the line", answer, but=lent)
    assert not lends or result["Expiration"]
    return lends


def _far(one: Flow, line: Line) -> dict[str, str]:
    """The environment of a machine with nothing in it, which lies in the sandbox so that its files are looked through."""
    home = one.sandbox.folder / "far"
    home.mkdir(exist_ok=True)
    return {
        "HOME": str(home), "KEYTURN_HOME": str(home / "keyturn"), "KEYTURN_FORWARDED": str(line.path), "KEYTURN_SANDBOX": "",
        "AWS_CONFIG_FILE": str(home / "config"), "AWS_SHARED_CREDENTIALS_FILE": str(home / "credentials"), "AWS_REGION": "eu-west-1",
    }  # fmt: skip


def device_sessions(one: Flow) -> int:
    """Makes sure that the sessions which codes were given for are searched for, and gives how many there are."""
    index = json.loads((paths_for(one.person.environ).state_dir / "index.json").read_bytes())
    found = [each["session"] for device in index["devices"].values() for each in device["held"].values()]
    for key_id in found:
        session = one.sandbox.state.session(key_id)
        assert session is not None
        _names(one, session.secret.reveal(), session.token.reveal())
    return len(found)


def by_device(one: Flow) -> None:
    """One code for a role, then no more: what it was given for lies in the vault alone, while it counts, when a person has
    ended it, and when the vault is locked."""
    one.does("refresh", "prod-admin", "--mfa-code", one.code("alice"))
    assert device_sessions(one) == 1
    front = CredentialService.from_environ(one.person.environ, use_agent=False)
    front.unlock_here(passphrase=Secret(one.passphrase))
    names = [name for name in front.context.vault.session_names() if name.startswith(mfa_sessions._PREFIX)]
    assert len(names) == 1
    front.lock()
    one.does("show", "prod-admin", "--json")
    one.checks_files()
    one.does("stop", "prod-admin")
    assert device_sessions(one) == 0
    one.checks_files()
    one.does("refresh", "prod-admin", code=4)
    one.does("vault", "lock")
    one.checks_files()
    one.does("vault", "unlock", fds={"--passphrase-fd": one.passphrase})


def briefly(one: Flow) -> None:
    """One of each, for every day."""
    assert device_sessions(one) == 1
    to_another_machine(one)
    by_endpoint(one)


def lending(one: Flow) -> None:
    """Everything of this module, and what the agent prints for others to read."""
    for words in (
        ("pause",),
        ("status",),
        ("resume",),
        ("unit",),
        ("unit", "--launchd"),
        ("ssh-config", "box", "--at", "/f"),
    ):
        one.does("agent", *words)
    by_endpoint(one, locks=True)
    by_endpoint(one, "--token-env")
    by_device(one)
    one.does("set", "acme-build", "session=none", "--yes")
    to_another_machine(
        one, ("env", "ci-release", "--shell", "json"), ("exec", "ci-release", "--", "true"), ("exec", "ci-audit", "--", "true"),
        ("exec", "ci-release", "--endpoint", "--", "true"), ("list",), ("credential-process", "ci-audit"),
    )  # fmt: skip
    one.does("set", "acme-build", "session=temporary", "--yes")
    one.does("agent", "ssh-config", "box")
    one.checks_files()
