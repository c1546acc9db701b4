"""Sessions passed on: to a program by an endpoint, to another machine by a forwarded socket, to roles by one
MFA code. The sessions go only to their destination, and all other output is searched."""

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

#: Profiles in `config.toml`: one that is given, one that has only a long-term key, one that does not exist.
FORWARDED = ("ci-release", "acme-build", "nothing-like-it")
#: Names requested over the forwarded socket and never given.
KEPT = ("ci-audit", "acme-alice", *FORWARDED[1:], "../x", "\0mfa\0x", "\x1b]52;c;x\x07", "x" * 5000)


def by_endpoint(one: Flow, *options: str, locks: bool = False) -> None:
    """Run a program with an endpoint and search its valid request, invalid ones with secrets in them, its
    files and its processes.

    :param locks: True to send another request while the vault is locked.
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
    """Send requests that get nothing, with the token, the path and long-term secrets where an answer might
    repeat them."""
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
    """Return the names of values in the search."""
    one.learn()
    return {one.search.needles[value.encode()][0] for value in values}


class Line:
    """Carries a forwarded socket as SSH would, and keeps the data that passes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[bytes] = []
        self.answered: list[bytes] = []

    def ask(self, raw: bytes) -> dict[str, Any]:
        """Return the local agent's answer to a line that keyturn itself would not write."""
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
    """Send every request over a forwarded socket and search the answers: they hold the session of one
    profile, and nothing else.

    :param verbs: verbs that keyturn at the remote end runs besides `credential-process`.
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
    """Return True if an answer contains a session. It may hold temporary credentials and nothing else, not
    even their source."""
    result = json.loads(answer).get("result", {})
    lends = "SecretAccessKey" in result
    lent = _names(one, result["SecretAccessKey"], result["SessionToken"]) if lends else set()
    one.hits += one.search.look(f"answer {number} over the line", answer, but=lent)
    assert not lends or result["Expiration"]
    return lends


def _far(one: Flow, line: Line) -> dict[str, str]:
    """Return the environment of an empty machine inside the sandbox, so that its files are searched."""
    home = one.sandbox.folder / "far"
    home.mkdir(exist_ok=True)
    return {
        "HOME": str(home), "KEYTURN_HOME": str(home / "keyturn"), "KEYTURN_FORWARDED": str(line.path), "KEYTURN_SANDBOX": "",
        "AWS_CONFIG_FILE": str(home / "config"), "AWS_SHARED_CREDENTIALS_FILE": str(home / "credentials"), "AWS_REGION": "eu-west-1",
    }  # fmt: skip


def device_sessions(one: Flow) -> int:
    """Add the sessions made with MFA codes to the search, and return their number."""
    index = json.loads((paths_for(one.person.environ).state_dir / "index.json").read_bytes())
    found = [each["session"] for device in index["devices"].values() for each in device["held"].values()]
    for key_id in found:
        session = one.sandbox.state.session(key_id)
        assert session is not None
        _names(one, session.secret.reveal(), session.token.reveal())
    return len(found)


def by_device(one: Flow) -> None:
    """Use one code for a role, then none. Its session is in the vault alone: while it is valid, after the
    user has ended it, and while the vault is locked."""
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
    """Run one of each, as the ordinary suite does."""
    assert device_sessions(one) == 1
    to_another_machine(one)
    by_endpoint(one)


def lending(one: Flow) -> None:
    """Run everything in this module, and the lines that the agent prints for other programs."""
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
