"""`keyturn exec --endpoint`: the program replaces the process, gets its credentials from the endpoint, and
leaves no trace."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from keyturn.cli import exec as serving
from keyturn.delivery.endpoint import launcher
from keyturn.delivery.environment import CONFLICTING, KEYS
from keyturn.model.errors import KeyturnError, words
from keyturn.model.secret import Secret
from keyturn.service import CredentialService
from keyturn.storage.paths import paths_for
from tests.core.delivery.endpoint.exec_program import Program, start_program, token_files
from tests.end_to_end.person import BIN, PASSPHRASE, Person
from tests.support.campaign import campaign

IDENTITY = "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])"
ARN = "arn:aws:sts::444455556666:assumed-role/ReleaseManager/ci-release"


def run(
    person: Person, *command: str, options: tuple[str, ...] = (), **extra: str
) -> subprocess.CompletedProcess[str]:
    words = (str(BIN / "keyturn"), "exec", "ci-release", "--endpoint", *options, "--", *command)
    return person.run(*words, extra=extra)


def run_folder(person: Person) -> Path:
    return Path(person.environ["KEYTURN_HOME"]) / "state" / "run"


@pytest.mark.parametrize("options", [(), pytest.param(("--token-env",), marks=pytest.mark.campaign)])
def test_boto3_and_the_aws_cli_are_who_the_profile_is(person: Person, options: tuple[str, ...]) -> None:
    done = run(person, sys.executable, "-c", IDENTITY, options=options, AWS_PROFILE="personal")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{ARN}\n", "")
    words = ("sts", "get-caller-identity", "--query", "Arn", "--output", "text")
    done = run(person, str(BIN / "aws"), *words, options=options)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{ARN}\n", "")


def test_the_program_has_an_address_and_no_credential(person: Person) -> None:
    other_variables = dict.fromkeys((*CONFLICTING, *KEYS), "other")
    with start_program(person, **other_variables) as program:
        environ = program.environ
        assert set(environ) & {*CONFLICTING, *KEYS} == {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        }
        assert program.url.startswith(f"http://127.0.0.1:{program.port}/")
        assert len(program.path) > 30
        assert len(program.token) == 43
        assert environ["AWS_REGION"] == environ["AWS_DEFAULT_REGION"] == person.row("ci-release")["region"]
        assert environ["KEYTURN_PROFILE"] == "ci-release"
        assert program.token_file.stat().st_mode & 0o777 == 0o600
        assert program.token_file.parent.stat().st_mode & 0o777 == 0o700
        answer = json.loads(program.send(program.request()).partition(b"\r\n\r\n")[2])
        assert set(answer) == {"AccessKeyId", "SecretAccessKey", "Token", "Expiration", "AccountId"}
        text = "\n".join(environ.values())
        assert answer["SecretAccessKey"] not in text
        assert answer["Token"] not in text
        assert program.token not in text


def test_with_the_token_in_the_environment_there_is_no_file(person: Person) -> None:
    with start_program(person, "--token-env") as program:
        assert "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE" not in program.environ
        assert len(program.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"]) == 43
        assert program.key_id().startswith("ASIA")
        assert token_files(run_folder(person)) == []


@pytest.mark.parametrize("code", [pytest.param(0, marks=pytest.mark.campaign), 7])
def test_the_exit_status_is_the_programs_own(person: Person, code: int) -> None:
    done = run(person, "sh", "-c", f"exit {code}")
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


@pytest.mark.usefixtures("unignored")
@pytest.mark.parametrize("number", [*campaign(signal.SIGTERM, signal.SIGINT, signal.SIGHUP), signal.SIGKILL])
def test_a_signal_ends_the_program_and_nothing_is_left(
    person: Person, program: Program, number: signal.Signals
) -> None:
    assert program.key_id()
    assert len(token_files(run_folder(person))) == 1
    os.kill(program.process.pid, number)
    assert program.process.wait(20) == -number
    assert program.is_cleaned_up()


def test_it_ends_with_a_program_that_nobody_has_reaped(program: Program) -> None:
    program.process.send_signal(signal.SIGKILL)
    assert program.is_cleaned_up()


def test_it_goes_on_while_the_program_is_stopped_or_becomes_another(person: Person) -> None:
    code = (
        "import os, sys; sys.stdin.readline(); os.execv(sys.executable, [sys.executable, '-c', sys.argv[1]])"
    )
    with start_program(person) as program:
        program.process.send_signal(signal.SIGSTOP)
        assert program.key_id()
        program.process.send_signal(signal.SIGCONT)
    done = subprocess.run(
        [str(BIN / "keyturn"), "exec", "ci-release", "--endpoint", "--", sys.executable, "-c", code,
        IDENTITY],
        env=person.environ, input="\n", capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.stdout == f"{ARN}\n", done.stderr


def test_the_program_meets_no_child_and_no_descriptor_that_it_did_not_make(person: Person) -> None:
    code = (
        "import os; print(*sorted(map(int, os.listdir('/dev/fd'))))\n"
        "try: print(os.waitpid(-1, os.WNOHANG))\nexcept ChildProcessError: print('none')"
    )
    with_endpoint = run(person, sys.executable, "-c", code)
    without = person.keyturn("exec", "ci-release", "--", sys.executable, "-c", code)
    assert with_endpoint.stdout.splitlines() == without.stdout.splitlines()
    assert with_endpoint.stdout.splitlines()[1] == "none"


@pytest.mark.parametrize("number", [signal.SIGINT, *campaign(signal.SIGQUIT, signal.SIGHUP)])
def test_a_key_typed_on_the_terminal_reaches_the_program_only(person: Person, number: signal.Signals) -> None:
    ready = (
        "import signal, sys; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 3)]; print('on', "
        "flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [str(BIN / "keyturn"), "exec", "ci-release", "--endpoint", "--", sys.executable, "-c", ready],
        env=person.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "on\n"
        os.killpg(process.pid, number)
        time.sleep(0.2)
        assert len(token_files(run_folder(person))) == 1
        process.kill()


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (("ci-release", "--endpoint", "--", "no-such-program-at-all"), 3, "program not found"),
        (("prod-admin", "--endpoint", "--", "true"), 4, "is required"),
        *campaign(
            (("ci-release", "--endpoint", "--", "/etc/passwd"), 5, "Permission denied"),
            (("nobody", "--endpoint", "--", "true"), 3, "Profile not found: nobody"),
            (("personal", "--endpoint", "--", "true"), 1, "keyturn adopt personal"),
            (("ci-release", "--endpoint", "--min-left", "9h", "--", "true"), 2, "9h were requested"),
            (("ci-release", "--token-env", "--", "true"), 2, "it requires --endpoint"),
        ),
    ],
)
def test_what_cannot_be_run_is_one_line_and_leaves_nothing(
    person: Person, words: tuple[str, ...], code: int, reason: str
) -> None:
    done = person.keyturn("exec", *words)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1
    assert token_files(run_folder(person)) == []


SUBREAPER = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0); os.execv(sys.argv[1], sys.argv[1:])"
)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has subreapers")
def test_a_parent_of_all_orphans_is_not_given_one(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    words = (str(BIN / "keyturn"), "exec", "ci-release", "--endpoint", "--", "true")
    done = person.run(sys.executable, "-c", SUBREAPER, *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "docker run --init" in done.stderr
    monkeypatch.setattr(os, "getpid", lambda: 1)
    opened = launcher.start_endpoint(
        paths_for(person.environ), {}, "ci-release", Secret(""), uses_caller_credentials=False, in_file=True
    )
    with pytest.raises(KeyturnError, match="docker run --init"), opened:
        pass


def test_with_too_few_descriptors_the_program_is_not_started(person: Person) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (15, 15))

    done = subprocess.run(
        [str(BIN / "keyturn"), "exec", "ci-release", "--endpoint", "--", "echo", "on"],
        env=person.environ, capture_output=True, text=True, check=False, timeout=60, preexec_fn=limit,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "ulimit -n" in done.stderr


def command_lines() -> Iterator[bytes]:
    """Return the command line of every process."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield path.read_bytes()


def endpoints(person: Person) -> list[str]:
    """Return the endpoint processes of a user's sandbox. Only root can identify them; other users get an
    empty result."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if (
                person.environ["KEYTURN_HOME"].encode() in path.read_bytes()
                and b"keyturn.delivery.endpoint" in path.with_name("cmdline").read_bytes()
            ):
                found.append(path.parent.name)
    return found


@pytest.mark.parametrize(
    "moment", [*range(1, 12, 4), *campaign(*(moment for moment in range(12) if moment % 4 != 1))]
)
def test_killed_before_it_becomes_the_program_it_leaves_no_endpoint_and_no_file(
    person: Person, moment: int
) -> None:
    """A moment of the start, which takes about half a second."""
    process = subprocess.Popen(
        [str(BIN / "keyturn"), "exec", "ci-release", "--endpoint", "--", "sleep", "60"],
        env=person.environ, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    time.sleep(0.2 + 0.03 * moment)
    process.kill()
    process.wait()
    end = time.monotonic() + 5
    while (token_files(run_folder(person)) or endpoints(person)) and time.monotonic() < end:
        time.sleep(0.02)
    assert token_files(run_folder(person)) == []
    assert endpoints(person) == []


def test_neither_path_nor_token_is_in_an_argument_or_a_file_of_keyturns_but_one(
    person: Person, program: Program
) -> None:
    program.send(program.request(token="x"))
    program.send(program.request())
    program.send(b"\xff" * 100 + b"\r\n\r\n")
    secrets = (program.token.encode(), program.path.encode())
    words = b"".join(command_lines())
    assert b"keyturn.delivery.endpoint" in words
    files = [path for path in Path(person.environ["KEYTURN_HOME"]).rglob("*") if path.is_file()]
    assert program.token_file in files
    for text in (words, *(path.read_bytes() for path in files if path != program.token_file)):
        assert not any(secret in text for secret in secrets)


def test_a_long_term_key_is_not_for_an_endpoint(person: Person) -> None:
    person.does("adopt", "acme-build", "--yes")
    person.does("set", "acme-build", "session=none", "--yes")
    done = person.keyturn("exec", "acme-build", "--endpoint", "--", "true")
    assert done.returncode == 2
    assert "an endpoint serves only temporary credentials" in done.stderr
    person.does("set", "acme-build", "session=temporary", "--yes")
    with start_program(person, profile="acme-build") as program:
        assert program.key_id()
        person.does("set", "acme-build", "session=none", "--yes")
        answer = program.send(program.request())
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"only temporary credentials" in answer
        assert b"AKIA" not in answer


def test_where_other_credentials_would_win_the_program_is_not_started(person: Person) -> None:
    person.does("deliver", "ci-audit", "--to", "credentials-file", "--as", "default")
    try:
        done = run(person, "true")
    finally:
        person.does("deliver", "ci-audit", "--to", "credential-process")
    assert done.returncode == 2
    assert "use the credentials of [default] in the shared files before an endpoint" in done.stderr
    assert done.stderr.endswith("or run: keyturn deliver ci-audit --to credential-process\n")


def test_with_a_default_of_the_persons_own_it_is_said_how_to_keep_it(person: Person) -> None:
    before = person.credentials.read_text()
    person.credentials.write_text(f"[default]\naws_access_key_id = A\naws_secret_access_key = s\n\n{before}")
    try:
        done = run(person, "true")
    finally:
        person.credentials.write_text(before)
    assert done.returncode == 2
    assert "rename [default] in ~/.aws/credentials, for example to [own]" in done.stderr
    assert "set AWS_PROFILE=own in your shell" in done.stderr


def test_a_default_that_is_managed_is_released_before_it_is_renamed(person: Person) -> None:
    service = CredentialService.from_environ(person.environ)
    default = next(row for row in service.snapshot().profiles if row.name == "default")
    advice = words(serving._advice(service, replace(default, managed=True), None))
    assert "or run keyturn release default, then rename [default]" in advice


def test_once_the_vault_is_locked_the_endpoint_says_so_and_serves_again_when_it_is_open(
    person: Person, program: Program
) -> None:
    before = program.key_id()
    person.does("vault", "lock")
    answer = program.send(program.request())
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"keyturn vault unlock" in answer
    assert b"ASIA" not in answer
    person.does("vault", "unlock", fds={"--passphrase-fd": PASSPHRASE})
    assert program.key_id() == before


def test_a_role_of_whoever_asks_has_the_environment_that_asked(person: Person) -> None:
    session = json.loads(person.does("credential-process", "ci-deploy"))
    with person.config.open("a") as file:
        file.write(
            "\n[profile here]\nrole_arn = arn:aws:iam::444455556666:role/ReleaseManager\n"
            "credential_source = Environment\n"
        )
    key = {
        "AWS_ACCESS_KEY_ID": session["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": session["SecretAccessKey"],
        "AWS_SESSION_TOKEN": session["SessionToken"],
    }
    calls = len(person.sandbox.calls)
    with start_program(person, profile="here", **key) as program:
        assert {program.key_id() for _ in range(5)} == {program.key_id()}
        assert not set(program.environ) & set(KEYS)
    actions = [call.action for call in person.sandbox.calls[calls:]]
    assert actions.count("AssumeRole") == 1
