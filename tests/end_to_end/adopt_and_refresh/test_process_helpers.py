"""A profile whose sessions come from another program: a program that hangs or talks without an end leaves
nothing behind, and a wrong answer is told in words."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pty
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.person import KEYTURN, PASSPHRASE, SECONDS, Person

_numbers = itertools.count(1)
ROLE = "by-tool"
SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYzEXAMPLEKEYq"
TOKEN = "IQoJb3JpZ2luX2VjEFAaCXVzLWVhc3QtMSJGMEQCIAXh7b4q"
#: A program that ignores SIGTERM, has children in its group, and has closed its stdout.
HANGS = """
trap '' TERM
echo $$ >>"$0.pids"
for _ in 1 2; do sh -c 'trap "" TERM; echo $$ >>"$0.pids"; while :; do sleep 600; done' "$0" & done
exec >&-
while :; do sleep 600; done
"""
FLOODS = """
sh -c 'trap "" TERM; echo $$ >>"$0.pids"; while :; do sleep 600; done' "$0" >/dev/null 2>&1 &
echo $$ >>"$0.pids"
while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done
"""


class Tool:
    """A program that a profile `NAME` names, and its processes."""

    def __init__(self, person: Person, name: str) -> None:
        self.person, self.name = person, name
        self.path = person.sandbox.home / f"{name}.sh"
        self.pids = Path(f"{self.path}.pids")
        with person.config.open("a") as config:
            config.write(f"\n[profile {name}]\ncredential_process = {self.path}\nregion = eu-west-1\n")
        self.does("exit 1")

    def does(self, script: str) -> None:
        """Replace the program."""
        self.pids.unlink(missing_ok=True)
        self.path.write_text(f"#!/bin/sh\n{script}\n")
        self.path.chmod(0o700)

    def prints(self, answer: str, *, then: str = "") -> None:
        self.does(f"printf %s {shlex.quote(answer)}\n{then}")

    def signs_for_a_role(self, name: str = ROLE) -> str:
        """Make a managed role whose sessions are signed with what the program prints."""
        with self.person.config.open("a") as config:
            config.write(
                f"\n[profile {name}]\nrole_arn = arn:aws:iam::444455556666:role/Hub\n"
                f"source_profile = {self.name}\nregion = eu-west-1\n"
            )
        self.person.does("adopt", name, "--yes")
        return name

    def processes(self, at_least: int) -> list[int]:
        """Return the processes of the program once so many have begun."""
        end = time.monotonic() + SECONDS
        while True:
            pids = [int(line) for line in self.pids.read_text().split()] if self.pids.exists() else []
            if len(pids) >= at_least:
                return pids
            assert time.monotonic() < end, "the program never began"
            time.sleep(0.05)

    def leaves_nothing(self, seconds: float = 8.0) -> None:
        """Wait until none of its processes is left."""
        pids, end = self.processes(1), time.monotonic() + seconds
        while left := [pid for pid in pids if _is_alive(pid)]:
            if time.monotonic() > end:
                for pid in left:
                    os.kill(pid, signal.SIGKILL)
                raise AssertionError(f"left behind: {len(left)} of {len(pids)} processes")
            time.sleep(0.05)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def tool(person: Person) -> Iterator[Tool]:
    found = Tool(person, f"tool-{next(_numbers)}")
    yield found
    if found.pids.exists():
        for pid in map(int, found.pids.read_text().split()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def _begun(person: Person, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run `keyturn WORDS` in the background, in a process group of its own."""
    process = subprocess.Popen(
        [KEYTURN, *words], env=person.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, process_group=0,
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            process.kill()


def _error(person: Person, *words: str) -> str:
    done = person.keyturn(*words)
    assert (done.returncode, done.stdout) == (1, ""), (done.returncode, done.stdout, done.stderr)
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.usefixtures("unignored")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_program_that_hangs_ends_with_the_command(
    person: Person, tool: Tool, number: signal.Signals
) -> None:
    tool.does(HANGS)
    with _begun(person, "refresh", tool.name) as command:
        tool.processes(3)
        command.send_signal(number)
        assert command.wait(SECONDS) != 0
    tool.leaves_nothing()


@pytest.mark.parametrize("act", ["agent stop", "vault lock", "kill"])
def test_a_program_that_hangs_ends_with_the_agent(person: Person, tool: Tool, act: str) -> None:
    role = tool.signs_for_a_role(f"{ROLE}-{act.replace(' ', '-')}")
    tool.does(HANGS)
    pid = json.loads(person.does("agent", "status", "--json"))["pid"]
    try:
        with _begun(person, "refresh", role) as command:
            tool.processes(3)
            began = time.monotonic()
            if act == "kill":
                os.kill(pid, signal.SIGKILL)
            else:
                person.does(*act.split())
                assert time.monotonic() - began < 4, "it need not be waited for"
            assert command.wait(SECONDS) != 0
        tool.leaves_nothing()
    finally:
        person.does("vault", "unlock", fds={"--passphrase-fd": PASSPHRASE})


def test_a_program_that_hangs_in_the_agent_ends_with_the_client(person: Person, tool: Tool) -> None:
    role = tool.signs_for_a_role(f"{ROLE}-gone")
    tool.does(HANGS)
    with _begun(person, "credential-process", role) as client:
        tool.processes(3)
        client.kill()
    tool.leaves_nothing()
    tool.does("echo not now >&2; exit 7")
    assert "exited with 7: not now" in _error(person, "refresh", role), "the source is free again"


def test_a_role_sets_the_time_that_its_program_gets(person: Person, tool: Tool) -> None:
    role = tool.signs_for_a_role(f"{ROLE}-timeout")
    person.does("set", role, "timeout=1")
    assert json.loads(person.does("set", role, "--json"))["settings"]["timeout"] == 1
    tool.does(f"echo touch the key >&2\n{HANGS}")
    began = time.monotonic()
    error = _error(person, "refresh", role)
    assert time.monotonic() - began < 30
    assert f"{tool.path} took longer than 1 s: touch the key." in error
    assert f"Allow it more: keyturn set {role} timeout=SECONDS" in error
    tool.leaves_nothing()
    tool.does("sleep 2; exit 3")
    person.does("set", role, "timeout=30")
    assert "exited with 3" in _error(person, "refresh", role)
    person.does("set", role, "timeout=")
    assert json.loads(person.does("set", role, "--json"))["settings"]["timeout"] is None


@pytest.mark.parametrize("value", ["0", "-1", "601", "1.5", "soon", "99999999999999999999", "٣", " 9"])
def test_a_time_out_of_range_is_refused(person: Person, tool: Tool, value: str) -> None:
    with person.config.open("a") as config:
        config.write(
            f"\n[profile r-{tool.name}]\nrole_arn = arn:aws:iam::444455556666:role/Hub\n"
            f"source_profile = {tool.name}\n"
        )
    person.does("adopt", f"r-{tool.name}", "--yes")
    done = person.keyturn("set", f"r-{tool.name}", f"timeout={value}")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "Invalid value for timeout" in done.stderr
    assert "1 to 600" in done.stderr


def test_a_program_that_prints_without_an_end_is_ended(person: Person, tool: Tool) -> None:
    tool.does(FLOODS)
    assert f"{tool.path} printed more than 64 KiB" in _error(person, "refresh", tool.name)
    tool.leaves_nothing()


def _answer(**changes: object) -> str:
    answer: dict[str, object] = {
        "Version": 1, "AccessKeyId": "ASIAQQQQQQQQQQQQQQQQ", "SecretAccessKey": SECRET, "SessionToken": TOKEN,
        "Expiration": "2099-01-01T00:00:00Z",
    }  # fmt: skip
    answer |= changes
    return json.dumps({key: value for key, value in answer.items() if value is not ...})


WRONG = {
    "no zone": (
        _answer(Expiration="2099-01-01T00:00:00"),
        "printed an Expiration without a time zone (2099-01-01T00:00:00)",
    ),
    "no time": (_answer(Expiration="soon"), "printed an Expiration that is not a time"),
    "a number": (_answer(Expiration=4070908800), "printed an Expiration that is not a text"),
    "expired": (
        _answer(Expiration="2020-01-01T00:00:00Z"),
        "printed a session that expired at 2020-01-01 00:00:00 UTC",
    ),
    "banner": ("Welcome to ACME\n" + _answer(), "printed text before the JSON"),
    "trailer": (_answer() + "\nbye", "printed text after the JSON"),
    "nothing": ("", "printed nothing"),
    "no JSON": (f"export AWS_SECRET_ACCESS_KEY={SECRET}", "printed text that is not JSON"),
    "half": (_answer()[:60], "printed JSON with an error in line 1, column 55"),
    "a list": ("[1]", "printed JSON that is not an object"),
    "no version": (_answer(Version=...), "printed no Version"),
    "version 2": (_answer(Version=2), "printed Version 2, which AWS has not defined"),
    "version text": (_answer(Version="1"), "printed Version as a text"),
    "no secret": (_answer(SecretAccessKey=...), "printed no SecretAccessKey"),
    "null": (_answer(AccessKeyId=None), "printed null for AccessKeyId"),
    "blank": (
        _answer(SecretAccessKey=SECRET + "\n"),
        "printed a blank, line break or other invalid character in SecretAccessKey",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_answer_is_told_in_words(person: Person, tool: Tool, case: str) -> None:
    answer, told = WRONG[case]
    tool.prints(answer, then="echo hello from the tool >&2")
    error = _error(person, "refresh", tool.name)
    assert f"its credential_process {tool.path} {told}: hello from the tool. " in error
    assert error.endswith(f"To try it, run: {tool.path}\n")
    shown = error + _everything_stored(person)
    assert SECRET not in shown
    assert TOKEN not in shown


def _everything_stored(person: Person) -> str:
    """Return the list, the activity log and the index."""
    files = [
        path for path in person.sandbox.folder.rglob("*") if path.name in ("activity.jsonl", "index.json")
    ]
    assert files
    return person.does("list", "--json") + "".join(path.read_text() for path in files)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo 'Please log in' >&2; exit 3", "exited with 3: Please log in."),
        ("exit 4", "exited with 4. To try it"),
        (
            "printf 'bad \\033[31m\\303\\050 words' >&2; exit 1",
            "exited with 1: bad \\x1b[31m\N{REPLACEMENT CHARACTER}( words",
        ),
        ("kill -SEGV $$", "was killed by SIGSEGV"),
        ("printf '\\377\\376{}'", "printed text that is not UTF-8"),
        (
            f"echo '{_answer()}'; echo 'cannot use {SECRET} nor {TOKEN}' >&2; exit 5",
            "exited with 5: cannot use *** nor ***",
        ),
        (
            f"echo 'secret_access_key={SECRET} is old' >&2; exit 5",
            "exited with 5: secret_access_key=*** is old",
        ),
    ],
)
def test_a_program_that_fails_is_told_with_its_own_words(
    person: Person, tool: Tool, script: str, told: str
) -> None:
    tool.does(script)
    error = _error(person, "refresh", tool.name)
    assert f"its credential_process {tool.path} {told}" in error
    assert SECRET not in error


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/nowhere/tool", "/nowhere/tool was not found. Install it, or correct its path"),
        ("~/tool get", "~/tool was not found. Write its whole path, because ~ is not expanded"),
        ("{folder}/plain", "{folder}/plain is not executable. Run: chmod u+x {folder}/plain"),
        ("{folder}", "{folder} is a folder"),
        (
            "{folder}/lost --password hunter22",
            "{folder}/lost names an interpreter in its first line that was not found",
        ),
        ("{folder}/empty", "{folder}/empty is not a program of this system"),
        ("tool 'x", "has a quote that is not closed"),
        ("{folder}/fails --password hunter22", "exited with 1. To try it, run: sh -c "),
    ],
)
def test_a_program_that_cannot_be_started_is_told(person: Person, line: str, told: str) -> None:
    folder = person.sandbox.home / "programs"
    folder.mkdir(exist_ok=True)
    scripts = {"plain": "#!/bin/sh", "lost": "#!/no/such/sh", "empty": "x", "fails": "#!/bin/sh\nexit 1"}
    for name, text in scripts.items():
        (folder / name).write_text(f"{text}\n")
        (folder / name).chmod(0o600 if name == "plain" else 0o700)
    profile = f"start-{next(_numbers)}"
    with person.config.open("a") as config:
        config.write(f"\n[profile {profile}]\ncredential_process = {line.format(folder=folder)}\n")
    error = _error(person, "refresh", profile)
    assert told.format(folder=folder) in error
    assert "hunter22" not in error


@pytest.mark.parametrize(
    "answer",
    [
        _answer(),
        f"\n  {_answer(Version=1.0)}  \n",
        _answer(Version=True),
        _answer(Expiration="2099-01-01T02:00:00+02:00"),
        _answer(Expiration="Thu, 01 Jan 2099 00:00:00 GMT"),
        _answer(Expiration=None, SessionToken=None, AccessKeyId="AKIAQQQQQQQQQQQQQQQQ"),
        _answer(Expiration=..., SessionToken="", Extra={"a": 1}),
    ],
)
def test_what_boto3_takes_is_taken_without_a_word(person: Person, tool: Tool, answer: str) -> None:
    tool.prints(answer, then="echo 'a lot of talk' >&2; sleep 600 >/dev/null 2>&1 & echo $! >\"$0.pids\"")
    done = person.keyturn("exec", tool.name, "--", "sh", "-c", "echo $AWS_SECRET_ACCESS_KEY")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{SECRET}\n", "")
    assert _is_alive(tool.processes(1)[0]), "what it leaves in the background is its own affair"


def _on_a_terminal(person: Person, *words: str, typed: dict[str, bytes]) -> tuple[str, int]:
    """Run `keyturn WORDS` on a terminal and type each answer once its question is shown. Return what was
    shown and the exit status."""
    pid, terminal = pty.fork()
    if not pid:
        os.execve(KEYTURN, [KEYTURN, *words], person.environ)  # noqa: S606  # the program under test
    shown, questions = "", list(typed)
    with contextlib.suppress(OSError):
        while chunk := os.read(terminal, 65536):
            shown += chunk.decode()
            if questions and questions[0] in shown:
                os.write(terminal, typed[questions.pop(0)])
    os.close(terminal)
    return shown, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_program_asks_on_the_terminal_as_under_the_aws_cli(person: Person, tool: Tool) -> None:
    tool.does(
        f"printf 'Code: ' >/dev/tty; read code </dev/tty\n[ \"$code\" = 4711 ] && printf %s '{_answer()}'"
    )
    shown, status = _on_a_terminal(
        person,
        "exec",
        tool.name,
        "--",
        "sh",
        "-c",
        "read word </dev/tty; echo [$word]; echo $AWS_ACCESS_KEY_ID",
        typed={"Code: ": b"4711\nmore\n"},
    )
    assert status == 0, shown
    assert "[more]" in shown, "the terminal is the command's again"
    assert "ASIAQQQQQQQQQQQQQQQQ" in shown


def test_ctrl_c_on_the_terminal_ends_a_program_that_ignores_it(person: Person, tool: Tool) -> None:
    hangs = HANGS.replace("exec >&-", "sleep 1; printf Busy >/dev/tty")
    tool.does(f"trap '' INT QUIT HUP\n{hangs}")
    shown, status = _on_a_terminal(person, "refresh", tool.name, typed={"Busy": b"\x03"})
    assert status == 130, shown
    assert "Traceback" not in shown
    tool.leaves_nothing()


def test_an_mfa_command_that_hangs_ends_with_the_agent(person: Person, tool: Tool) -> None:
    config = person.sandbox.folder / "keyturn" / "config" / "config.toml"
    role = "with-mfa"
    with person.config.open("a") as file:
        file.write(
            f"\n[profile {role}]\nrole_arn = arn:aws:iam::444455556666:role/Hub\n"
            "source_profile = acme-build\nregion = eu-west-1\n"
            "mfa_serial = arn:aws:iam::111122223333:mfa/alice\n"
        )
    person.does("adopt", "acme-build", role, "--yes")
    tool.does(HANGS)
    config.write_text(f"mfa_command = {json.dumps([str(tool.path)])}\n")
    config.chmod(0o600)
    try:
        with _begun(person, "refresh", role) as command:
            tool.processes(3)
            person.does("agent", "stop")
            assert command.wait(SECONDS) != 0
        tool.leaves_nothing(4.0)
    finally:
        config.unlink()
        person.does("vault", "unlock", fds={"--passphrase-fd": PASSPHRASE})
