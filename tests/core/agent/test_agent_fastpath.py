"""`credential-process` with an agent: the document, one error line, or the full path; few modules are
imported."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from keyturn.agent import rpc_client
from keyturn.agent.server import Limits

if TYPE_CHECKING:
    from tests.core.agent.conftest import Serve

KEYTURN = Path(sys.executable).with_name("keyturn")
HEAVY = {"boto3", "botocore", "click", "keyring", "pyrage", "textual", "rich", "platformdirs"}
NOT_IMPORTED = HEAVY | {
    "json",
    "socket",
    "pathlib",
    "dataclasses",
    "typing",
    "subprocess",
    "logging",
    "datetime",
    "ctypes",
}


@pytest.fixture
def environ(folder: Path) -> dict[str, str]:
    return {"HOME": str(folder), "PATH": os.environ["PATH"], "KEYTURN_HOME": str(folder)}


def run(environ: dict[str, str], *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run the console script's function in a bare interpreter; the last line on stderr lists the loaded
    modules."""
    program = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "from keyturn_tui.main import main\n"
        "code = main()\n"
        "sys.stderr.write('\\n' + ' '.join(set(sys.modules) - before) + '\\n')\n"
        "sys.exit(code)\n"
    )
    return subprocess.run(
        [sys.executable, "-I", "-c", program, *words],
        env=environ,
        capture_output=True,
        check=False,
        timeout=30,
        stdin=subprocess.DEVNULL,
    )


def loaded_modules(done: subprocess.CompletedProcess[bytes]) -> set[str]:
    return set(done.stderr.decode().splitlines()[-1].split())


def test_it_prints_the_document_and_a_newline(serve: Serve, environ: dict[str, str]) -> None:
    agent = serve()
    done = run(environ, "credential-process", "prod")
    assert done.stdout == agent.service.documents["prod"].encode() + b"\n"
    assert done.returncode == 0
    assert done.stderr.startswith(b"\n")


def test_it_imports_the_barest_of_the_standard_library(serve: Serve, environ: dict[str, str]) -> None:
    serve()
    done = run(environ, "credential-process", "prod")
    assert done.returncode == 0
    assert not loaded_modules(done) & NOT_IMPORTED


def test_an_error_is_one_line_its_exit_code_and_no_output(serve: Serve, environ: dict[str, str]) -> None:
    serve()
    done = run(environ, "credential-process", "mfa")
    assert done.stdout == b""
    assert done.returncode == 4
    assert done.stderr.splitlines()[0] == b"keyturn: prod: it wants a code. Run keyturn refresh."
    assert not loaded_modules(done) & HEAVY


@pytest.mark.parametrize("name", ["é\u202e", 'a"b\\', "-x", " ", "a b"])
def test_any_name_reaches_the_agent(
    serve: Serve, environ: dict[str, str], name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    agent = serve()
    agent.service.documents[name] = '{"Version": 1}'
    assert rpc_client.credential_process(["--", name], environ) == 0
    assert capfd.readouterr().out == '{"Version": 1}\n'


@pytest.mark.parametrize(
    "words",
    [[], ["--json"], ["--help"], ["prod", "more"], ["prod", "--passphrase-fd", "3"], ["--", "a", "b"]],
)
def test_anything_but_one_name_is_left_to_the_command_line(
    serve: Serve, environ: dict[str, str], words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    serve()
    assert rpc_client.credential_process(words, environ) is None
    assert capfd.readouterr() == ("", "")


def test_without_an_agent_it_goes_the_long_way(environ: dict[str, str]) -> None:
    assert rpc_client.credential_process(["prod"], environ) is None


def test_a_busy_agent_sends_it_the_long_way(serve: Serve, environ: dict[str, str]) -> None:
    agent = serve(Limits(operations=1))
    busy = threading.Thread(target=lambda: rpc_client.run(agent.path, "wait", {}, 30))
    busy.start()
    assert agent.service.blocked.acquire(timeout=10)
    assert rpc_client.credential_process(["prod"], environ) is None
    agent.service.gate.set()
    busy.join()


@pytest.fixture
def impostor(folder: Path) -> Iterator[socket.socket]:
    """A program of this user that listens at the agent's address."""
    (folder / "run").mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(folder / "run" / "agent.sock"))
        (folder / "run" / "agent.sock").chmod(0o600)
        sock.listen()
        yield sock


def impostor_reply(impostor: socket.socket, answer: bytes) -> threading.Thread:
    def once() -> None:
        connection, _ = impostor.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(answer)

    thread = threading.Thread(target=once)
    thread.start()
    return thread


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\n",
        b"nonsense\n",
        b'{"ok":true,"result":{"Version":1',
        b'{"ok":false,"error":{"type":"X"}}\n',
        b"[]\n",
    ],
)
def test_an_answer_that_is_none_prints_nothing_and_goes_the_long_way(
    impostor: socket.socket, environ: dict[str, str], answer: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    thread = impostor_reply(impostor, answer)
    assert rpc_client.credential_process(["prod"], environ) is None
    thread.join()
    assert capfd.readouterr() == ("", "")


def test_an_agent_that_does_not_answer_in_time_is_one_line(
    impostor: socket.socket,
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert impostor.fileno() > 0
    monkeypatch.setattr(rpc_client, "TIMEOUT", 0.05)
    assert rpc_client.credential_process(["prod"], environ) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_nothing_is_sent_into_a_folder_that_others_can_enter(
    serve: Serve, environ: dict[str, str], mode: int
) -> None:
    agent = serve()
    agent.path.parent.chmod(mode)
    assert rpc_client.credential_process(["prod"], environ) is None
    agent.path.parent.chmod(0o700)


def test_nothing_is_sent_to_a_socket_that_others_can_use(serve: Serve, environ: dict[str, str]) -> None:
    agent = serve()
    agent.path.chmod(0o666)
    assert rpc_client.credential_process(["prod"], environ) is None


def test_nothing_is_sent_to_what_belongs_to_somebody_else(
    serve: Serve, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    assert rpc_client.credential_process(["prod"], environ) is None


def test_the_installed_program_gives_what_an_aws_client_reads(serve: Serve, environ: dict[str, str]) -> None:
    serve()
    done = subprocess.run(
        [KEYTURN, "credential-process", "prod"], env=environ, capture_output=True, check=False, timeout=30
    )
    assert json.loads(done.stdout)["Version"] == 1
    assert done.stderr == b""


def test_closed_standard_streams_do_not_mix_up_the_answer(serve: Serve, environ: dict[str, str]) -> None:
    serve()
    line = f'exec "{KEYTURN}" credential-process prod <&- 2>&-'
    done = subprocess.run(["sh", "-c", line], env=environ, stdout=subprocess.PIPE, check=False, timeout=30)
    assert done.returncode == 0
    assert json.loads(done.stdout)["Version"] == 1


def test_a_reader_that_has_gone_is_no_traceback(serve: Serve, environ: dict[str, str]) -> None:
    serve()
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [KEYTURN, "credential-process", "prod"],
        env=environ,
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
        timeout=30,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")
