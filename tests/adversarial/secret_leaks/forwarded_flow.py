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
from keyturn.operations.credentials import session_cache
from keyturn.service import CredentialService
from keyturn.storage.paths import paths_for
from keyturn.storage.raw_paths import forward_path
from tests.adversarial.secret_leaks.verb_flow import Flow, without_lent
from tests.core.delivery.endpoint.exec_program import PRINT_ENVIRON, Program, read_reply
from tests.core.vault.vault_user import session_names
from tests.end_to_end.person import BIN

#: Profiles in `config.toml`: one that is given, one that has only a long-term key, one that does not exist.
FORWARDED = ("ci-release", "acme-build", "nothing-like-it")
#: Names requested over the forwarded socket and never given.
REFUSED = ("ci-audit", "acme-alice", *FORWARDED[1:], "../x", "\0mfa\0x", "\x1b]52;c;x\x07", "x" * 5000)


def search_endpoint(user: Flow, *options: str, locks: bool = False) -> None:
    """Run a program with an endpoint and search its valid request, invalid ones with secrets in them, its
    files and its processes.

    :param locks: True to send another request while the vault is locked.
    """
    with _program(user, *options) as program:
        user.search.add("the endpoint's token", program.token)
        user.search.add("the endpoint's path", program.path)
        environ_bytes = "\0".join(f"{name}={value}" for name, value in program.environ.items()).encode()
        user.hits += user.search.search("the program's environment", without_lent(environ_bytes))
        valid_answer = program.send(program.request())
        document = json.loads(valid_answer.partition(b"\r\n\r\n")[2])
        session_names = _names(user, document["SecretAccessKey"], document["Token"])
        user.hits += user.search.search("the endpoint's answer", valid_answer, but=session_names)
        for number, raw in enumerate(_invalid_requests(user, program)):
            answer = program.send(raw)
            assert answer.startswith(b"HTTP/1.1 40"), answer
            user.hits += user.search.search(f"refusal {number}", answer)
        if locks:
            user.does("vault", "lock")
            answer = program.send(program.request())
            assert answer.startswith(b"HTTP/1.1 503 "), answer
            user.hits += user.search.search("the endpoint's answer while all is locked", answer)
            user.does("vault", "unlock", fds={"--passphrase-fd": user.passphrase})
        user.search_files(*([] if "--token-env" in options else [program.token_file]))
    user.hits += user.search.search_file(user.sandbox.folder / "program.err")


@contextmanager
def _program(user: Flow, *options: str) -> Iterator[Program]:
    words = ("exec", "ci-release", "--endpoint", *options, "--", sys.executable, "-I", "-c", PRINT_ENVIRON)
    with (
        (user.sandbox.folder / "program.err").open("wb") as err,
        subprocess.Popen(
            [str(BIN / "keyturn"), *words], env=user.person.environ,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err, text=True,
        ) as process,
    ):  # fmt: skip
        assert process.stdout is not None
        try:
            yield Program(process, json.loads(process.stdout.readline()))
        finally:
            process.kill()
    user.commands += 1
    user.add_made_secrets()


def _invalid_requests(user: Flow, program: Program) -> Iterator[bytes]:
    """Send requests that get nothing, with the token, the path and long-term secrets where an answer might
    repeat them."""
    secret = user.secrets[0].reveal()
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


def _names(user: Flow, *values: str) -> set[str]:
    """Return the names of values in the search."""
    user.add_made_secrets()
    return {user.search.needles[value.encode()][0] for value in values}


class Forwarding:
    """Carries a forwarded socket as SSH would, and keeps the data that passes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.requests: list[bytes] = []
        self.answered: list[bytes] = []

    def ask(self, raw: bytes) -> dict[str, Any]:
        """Return the local agent's answer to a line that keyturn itself would not write."""
        with socket.socket(socket.AF_UNIX) as remote:
            remote.connect(str(self.path))
            remote.sendall(raw)
            answer: dict[str, Any] = json.loads(read_reply(remote))
        return answer


@contextmanager
def _forward(near: str) -> Iterator[Forwarding]:
    class Relay(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            request = self.rfile.readline()
            with socket.socket(socket.AF_UNIX) as agent:
                agent.connect(near)
                agent.sendall(request)
                answer = read_reply(agent)
            forwarding.requests.append(request)
            forwarding.answered.append(answer)
            self.wfile.write(answer)

    with tempfile.TemporaryDirectory(prefix="kt-") as folder:
        forwarding = Forwarding(Path(folder) / "far.sock")
        with socketserver.ThreadingUnixStreamServer(str(forwarding.path), Relay) as server:
            forwarding.path.chmod(0o600)
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            try:
                yield forwarding
            finally:
                server.shutdown()
                thread.join()


def search_forwarding(user: Flow, *verbs: tuple[str, ...]) -> None:
    """Send every request over a forwarded socket and search the answers: they hold the session of one
    profile, and nothing else.

    :param verbs: verbs that keyturn at the remote end runs besides `credential-process`.
    """
    places = paths_for(user.person.environ)
    places.config_file.write_text(f"forward = {json.dumps(FORWARDED)}\n")
    places.config_file.chmod(0o600)
    with _forward(forward_path(user.person.environ)) as forwarding:
        for name in REFUSED:
            answer = forwarding.ask(request_line("credential-process", profile=name))
            assert answer["ok"] is False, answer
        for op in ("status", "lock", "pause", "run"):
            forwarding.ask(request_line(op, act="refresh", args={"name": "ci-release"}))
        remote = _remote_environ(user, forwarding)
        user.does("credential-process", "ci-release", gives=True, extra=remote)
        for words in verbs:
            gives = words[0] in ("env", "credential-process")
            user.does(*words, gives=gives, code=None if REFUSED[0] in words else 0, extra=remote)
    for number, request in enumerate(forwarding.requests):
        user.hits += user.search.search(f"question {number} over the line", request)
    given = [_search_answer(user, number, answer) for number, answer in enumerate(forwarding.answered)]
    assert any(given), "one profile is given"
    assert not any(given[: len(REFUSED)])


def _search_answer(user: Flow, number: int, answer: bytes) -> bool:
    """Return True if an answer contains a session. It may hold temporary credentials and nothing else, not
    even their source."""
    result = json.loads(answer).get("result", {})
    is_session = "SecretAccessKey" in result
    session_names = _names(user, result["SecretAccessKey"], result["SessionToken"]) if is_session else set()
    user.hits += user.search.search(f"answer {number} over the line", answer, but=session_names)
    assert not is_session or result["Expiration"]
    return is_session


def _remote_environ(user: Flow, forwarding: Forwarding) -> dict[str, str]:
    """Return the environment of an empty machine inside the sandbox, so that its files are searched."""
    home = user.sandbox.folder / "far"
    home.mkdir(exist_ok=True)
    return {
        "HOME": str(home), "KEYTURN_HOME": str(home / "keyturn"), "KEYTURN_FORWARDED": str(forwarding.path),
        "KEYTURN_SANDBOX": "",
        "AWS_CONFIG_FILE": str(home / "config"), "AWS_SHARED_CREDENTIALS_FILE": str(home / "credentials"),
        "AWS_REGION": "eu-west-1",
    }  # fmt: skip


def device_sessions(user: Flow) -> int:
    """Add the sessions made with MFA codes to the search, and return their number."""
    index = json.loads((paths_for(user.person.environ).state_dir / "index.json").read_bytes())
    key_ids = [each["session"] for device in index["devices"].values() for each in device["held"].values()]
    for key_id in key_ids:
        session = user.sandbox.state.session(key_id)
        assert session is not None
        _names(user, session.secret.reveal(), session.token.reveal())
    return len(key_ids)


def search_mfa_sessions(user: Flow) -> None:
    """Use one code for a role, then none. Its session is in the vault alone: while it is valid, after the
    user has ended it, and while the vault is locked."""
    user.does("refresh", "prod-admin", "--mfa-code", user.code("alice"))
    assert device_sessions(user) == 1
    service = CredentialService.from_environ(user.person.environ, use_agent=False)
    service.unlock_here(passphrase=Secret(user.passphrase))
    names = [
        name for name in session_names(service.context.vault) if name.startswith(session_cache.MFA_PREFIX)
    ]
    assert len(names) == 1
    service.lock()
    user.does("show", "prod-admin", "--json")
    user.search_files()
    user.does("stop", "prod-admin")
    assert device_sessions(user) == 0
    user.search_files()
    user.does("refresh", "prod-admin", code=4)
    user.does("vault", "lock")
    user.search_files()
    user.does("vault", "unlock", fds={"--passphrase-fd": user.passphrase})


def forward_sample(user: Flow) -> None:
    """Run one of each, as the ordinary suite does."""
    assert device_sessions(user) == 1
    search_forwarding(user)
    search_endpoint(user)


def forward_sessions(user: Flow) -> None:
    """Run everything in this module, and the lines that the agent prints for other programs."""
    for words in (
        ("pause",),
        ("status",),
        ("resume",),
        ("unit",),
        ("unit", "--launchd"),
        ("ssh-config", "box", "--at", "/f"),
    ):
        user.does("agent", *words)
    search_endpoint(user, locks=True)
    search_endpoint(user, "--token-env")
    search_mfa_sessions(user)
    user.does("set", "acme-build", "session=none", "--yes")
    search_forwarding(
        user, ("env", "ci-release", "--shell", "json"), ("exec", "ci-release", "--", "true"), ("exec",
        "ci-audit", "--", "true"),
        ("exec", "ci-release", "--endpoint", "--", "true"), ("list",), ("credential-process", "ci-audit"),
    )  # fmt: skip
    user.does("set", "acme-build", "session=temporary", "--yes")
    user.does("agent", "ssh-config", "box")
    user.search_files()
