"""`keyturn exec`: the program replaces the process, with one session and no other credentials in its
environment."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.end_to_end.person import BIN, Person
from tests.support.campaign import campaign

PRINT_ENVIRON = "import json, os; print(json.dumps(dict(os.environ)))"


@pytest.fixture(scope="module", autouse=True)
def _adopted_profiles(person: Person) -> None:
    person.does("adopt", "ci-deploy", "--yes")


def printed_environ(person: Person, *words: str, **extra: str) -> dict[str, str]:
    done = person.run(
        str(BIN / "keyturn"), "exec", *words, "--", sys.executable, "-c", PRINT_ENVIRON, extra=extra
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_the_program_has_the_session_and_nothing_that_would_win_over_it(person: Person) -> None:
    other_variables = {
        "AWS_PROFILE": "personal", "AWS_SECURITY_TOKEN": "x", "AWS_ROLE_ARN": "x",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "/x",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/", "AWS_ACCESS_KEY_ID": "AKIAOTHER",
        "AWS_REGION": "xx-south-1",
        "AWS_BEARER_TOKEN_BEDROCK": "x", "AWS_BEARER_TOKEN_ANOTHER_ONE": "x",
    }  # fmt: skip
    found = printed_environ(person, "ci-release", **other_variables)
    assert found["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    assert found["AWS_SESSION_TOKEN"]
    assert found["AWS_REGION"] == found["AWS_DEFAULT_REGION"] == "xx-south-1", "the caller's own region"
    assert found["AWS_CREDENTIAL_EXPIRATION"].endswith("Z")
    assert found["KEYTURN_PROFILE"] == "ci-release"
    assert set(other_variables) & set(found) == {"AWS_ACCESS_KEY_ID", "AWS_REGION"}
    own = printed_environ(person, "ci-release")
    assert own["AWS_REGION"] == own["AWS_DEFAULT_REGION"] == str(person.row("ci-release")["region"])


def test_the_real_aws_cli_is_who_the_profile_is(person: Person) -> None:
    done = person.run(
        str(BIN / "keyturn"), "exec", "ci-release", "--", str(BIN / "aws"), "sts", "get-caller-identity",
        "--output", "json",
        extra={"AWS_PROFILE": "personal"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["Arn"].startswith("arn:aws:sts::")


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_the_exit_status_is_the_programs_own(person: Person, code: int) -> None:
    done = person.keyturn("exec", "ci-release", "--", "sh", "-c", f"exit {code}")
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


@pytest.mark.usefixtures("unignored")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_a_signal_reaches_the_program_which_is_the_process_itself(
    person: Person, number: signal.Signals
) -> None:
    process = subprocess.Popen(
        [str(BIN / "keyturn"), "exec", "ci-release", "--", "sh", "-c", "echo $$; exec sleep 60"],
        env=person.environ, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == process.pid
        time.sleep(0.05)
        os.kill(process.pid, number)
        assert process.wait(20) == -number


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc here")
@pytest.mark.usefixtures("unignored")
def test_no_signal_is_ignored_that_a_shell_would_not_ignore(person: Person) -> None:
    found = person.does("exec", "ci-release", "--", "grep", "SigIgn", "/proc/self/status")
    assert int(found.split()[1], 16) == 0


MARK_STARTED = """
import json, resource, signal, sys
print(json.dumps([
    resource.getrlimit(resource.RLIMIT_CORE),
    sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    signal.getsignal(signal.SIGHUP) == signal.SIG_IGN,
]))
"""


def test_the_program_has_the_limits_and_signals_that_keyturn_was_started_with(person: Person) -> None:
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    soft = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)

    def before() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    done = subprocess.run(
        [str(BIN / "keyturn"), "exec", "ci-release", "--", sys.executable, "-c", MARK_STARTED],
        env=person.environ, capture_output=True, text=True, check=False, timeout=60, preexec_fn=before,
    )  # fmt: skip
    assert json.loads(done.stdout) == [[soft, hard], [signal.SIGUSR1], True], done.stderr


def test_what_textual_would_read_is_the_programs_own_again(person: Person) -> None:
    own = {"TEXTUAL_LOG": "log", "TEXTUAL_FPS": "7", "TEXTUAL_OF_ANOTHER_VERSION": "x"}
    before = {**person.environ, **own}
    found = printed_environ(person, "ci-release", **own)
    of_textual = [
        {name: value for name, value in environ.items() if name.startswith("TEXTUAL")}
        for environ in (found, before)
    ]
    assert of_textual[0] == of_textual[1]


def in_removed_folder(person: Person, folder: Path, *words: str, **extra: str) -> CompletedProcess[str]:
    folder.mkdir()
    line = 'cd "$0" && rmdir "$0" && exec "$@"'
    return person.run("sh", "-c", line, str(folder), str(BIN / "keyturn"), *words, extra=extra)


@pytest.mark.parametrize(
    "words",
    [
        ("exec", "ci-release", "--endpoint", "--", "true"),
        ("env", "ci-release", "--shell", "sh"),
        ("credential-process", "ci-release"),
        ("list",),
    ],
)
def test_it_works_in_a_folder_that_was_removed(
    person: Person, tmp_path: Path, words: tuple[str, ...]
) -> None:
    done = in_removed_folder(person, tmp_path / "gone", *words)
    assert done.returncode == 0
    assert "folder" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("variable", "verb"), [("KEYTURN_HOME", "credential-process"), ("AWS_CONFIG_FILE", "env")]
)
def test_what_is_relative_to_a_removed_folder_is_said(
    person: Person, tmp_path: Path, variable: str, verb: str
) -> None:
    done = in_removed_folder(person, tmp_path / "gone", verb, "ci-release", **{variable: "here"})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        f"keyturn: {variable}: it is relative to a working directory that was deleted"
    )
    assert done.stderr.count("\n") == 1


def test_without_a_program_it_is_the_persons_shell(person: Person) -> None:
    done = subprocess.run(
        [str(BIN / "keyturn"), "exec", "ci-release"],
        env={**person.environ, "SHELL": "/bin/sh"}, input="echo $KEYTURN_PROFILE $0\n", capture_output=True,
        text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.stdout == "ci-release /bin/sh\n"


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (("ci-release", "--", "no-such-program-at-all"), 3, "program not found"),
        (("personal", "--", "true"), 1, "keyturn adopt personal"),
        (("prod-admin", "--", "true"), 4, "is required"),
        *campaign(
            (("ci-release", "--", "/etc/passwd"), 5, "Permission denied"),
            (("ci-release", "--", ""), 2, "Invalid command: it is empty"),
            (("nobody", "--", "true"), 3, "Profile not found: nobody"),
            (("ci-release", "--min-left", "9h", "--", "true"), 2, "9h were requested"),
            (("ci-release", "--min-left", "soon", "--", "true"), 2, "--min-left: soon is not a duration"),
        ),
    ],
)
def test_what_cannot_be_run_is_one_line(
    person: Person, words: tuple[str, ...], code: int, reason: str
) -> None:
    done = person.keyturn("exec", *words)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("keyturn: ")
    assert done.stderr.count("\n") == 1
    assert reason in done.stderr


def test_env_gives_a_shell_the_same(person: Person) -> None:
    ask = f"{BIN / 'aws'} sts get-caller-identity --query Arn --output text"
    line = f'eval "$({BIN / "keyturn"} env ci-release --shell sh)"; {ask}'
    done = person.run("sh", "-c", line, extra={"AWS_PROFILE": "personal"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("arn:aws:sts::")
    table = json.loads(person.does("env", "ci-release", "--shell", "json"))
    assert table["AWS_PROFILE"] is None
    assert table["AWS_ACCESS_KEY_ID"].startswith("ASIA")
