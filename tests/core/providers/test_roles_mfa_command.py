"""`mfa_command`: the user's own program that prints the code; one error line if it fails, and never repeated
runs."""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from keyturn.model.errors import NeedsMfa, UnparsableFile, UnsafeFile, WrongMfaCode
from keyturn.operations.credentials import mfa_code_command
from keyturn.providers.mfa_command import CommandFailed, run, without_credentials
from keyturn.storage import config
from tests.core.operations.conftest import Bench
from tests.end_to_end.person import Person

ALICE = "arn:aws:iam::111122223333:mfa/alice"
TOTP = (
    "import sys; from pathlib import Path; from keyturn_sandbox.sandbox import totp; "
    "print(totp(Path({!r}), sys.argv[1]))"
)


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], str]:
    """Return a function that writes a shell script and returns its path."""

    def make(body: str) -> str:
        path = tmp_path / f"codes-{len(list(tmp_path.iterdir()))}"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return str(path)

    return make


def choose(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.toml"
    path.write_text(text)
    path.chmod(0o600)
    return path


def sandbox_command(folder: Path) -> str:
    return f"mfa_command = {json.dumps([sys.executable, '-c', TOTP.format(str(folder)), '{serial}'])}\n"


def test_the_code_is_what_it_prints_and_the_serial_takes_its_place_as_one_word(
    program: Callable[[str], str],
) -> None:
    command = program('[ "$#" = 2 ] && [ "$1" = --device ] && [ "$2" = \'a b;$(x)\' ] && echo 123456')
    assert run((command, "--device", "{serial}"), "a b;$(x)", {"PATH": os.environ["PATH"]}) == "123456"
    assert run(("printf", "654321"), ALICE, {"PATH": os.environ["PATH"]}) == "654321"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("echo 12345", "it did not print six digits"),
        ("echo 1234567", "it did not print six digits"),
        ("echo 'code: 123456'", "it did not print six digits"),
        ("echo 123456; echo 123456", "it did not print six digits"),
        ("printf '１２３４５６'", "it did not print six digits"),
        ("exit 0", "it did not print six digits"),
        ("head -c 9000000 /dev/zero", "it did not print six digits"),
        ("echo 123456; exit 3", "it exited with 3"),
        ("echo no key found >&2; exit 2", "it exited with 2: no key found"),
        ("echo seed 987654321 >&2; exit 2", "it exited with 2: seed ******"),
        ("kill -9 $$", "it exited with -9"),
        ("sleep 60", "it took longer than 1 s"),
        ("sleep 60 & exit 0", "it did not print six digits"),
        ("exec >&- 2>&-; sleep 60", "it took longer than 1 s"),
    ],
)
def test_what_prints_no_code_is_named_on_one_line(
    program: Callable[[str], str], body: str, reason: str
) -> None:
    path = program(body)
    started = time.monotonic()
    with pytest.raises(CommandFailed) as excinfo:
        run((path,), ALICE, {"PATH": os.environ["PATH"]}, 1.0)
    assert time.monotonic() - started < 20
    assert excinfo.value.line().startswith(f"mfa_command {path}: {reason}")
    assert "\n" not in excinfo.value.line()


@pytest.mark.parametrize("pipes", ["", ">/dev/null", "2>/dev/null"])
def test_a_code_counts_although_a_child_stays_behind_and_the_child_is_ended(
    program: Callable[[str], str], tmp_path: Path, pipes: str
) -> None:
    path = program(f"sleep 300 {pipes} & echo $! >{tmp_path}/child; echo 123456")
    started = time.monotonic()
    assert run((path,), ALICE, {"PATH": os.environ["PATH"]}, 60.0) == "123456"
    assert time.monotonic() - started < 30
    child = Path("/proc") / (tmp_path / "child").read_text().strip() / "stat"
    while child.exists() and child.read_text().split()[2] != "Z":
        assert time.monotonic() - started < 60
        time.sleep(0.01)


def test_a_command_that_never_stops_talking_ends(program: Callable[[str], str]) -> None:
    started = time.monotonic()
    with pytest.raises(CommandFailed, match="it did not print six digits"):
        run((program("while :; do echo x; done"),), ALICE, {"PATH": os.environ["PATH"]}, 60.0)
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("words", [("/no/such/program",), ("no-such-program-at-all",), ("./codes",), ("/",)])
def test_what_does_not_start_is_named(words: tuple[str, ...]) -> None:
    with pytest.raises(CommandFailed, match=words[0]):
        run(words, ALICE, {"PATH": os.environ["PATH"]})


def test_a_serial_never_becomes_an_option() -> None:
    with pytest.raises(CommandFailed, match="looks like an option"):
        run(("printf", "{serial}"), "-v123456789", {"PATH": os.environ["PATH"]})


def test_it_gets_no_credential_of_the_environment(program: Callable[[str], str]) -> None:
    environ = {
        "PATH": "/bin",
        "HOME": "/x",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_PROFILE": "p",
        "KEYTURN_HOME": "k",
    }
    assert without_credentials(environ) == {"PATH": "/bin", "HOME": "/x"}
    command = program('[ -z "$(env | grep ^AWS_)" ] && [ "$(pwd)" = / ] && ! read line && echo 123456')
    assert run((command,), ALICE, {**os.environ, "AWS_SECRET_ACCESS_KEY": "s"}) == "123456"


@pytest.mark.parametrize(
    ("text", "profile", "serial", "command"),
    [
        ("", "p", ALICE, ()),
        ("mfa_command = 'ykman oath code -s \"AWS alice\"'", "p", ALICE,
         ("ykman", "oath", "code", "-s", "AWS alice")),
        ("mfa_command = ['a', '$HOME; b']", "p", ALICE, ("a", "$HOME; b")),
        ("mfa_command = 'all'\n[mfa_commands]\np = 'own'", "p", ALICE, ("own",)),
        ("mfa_command = 'all'\n[mfa_commands]\np = 'own'", "q", ALICE, ("all",)),
        (f"[mfa_commands]\n'{ALICE}' = 'hers'\np = 'own'", "q", ALICE, ("hers",)),
        (f"[mfa_commands]\n'{ALICE}' = 'hers'\np = 'own'", "p", ALICE, ("own",)),
        ("mfa_command = 'all'\n[mfa_commands]\np = ''", "p", ALICE, ()),
    ],
)  # fmt: skip
def test_which_command_shows_the_code_of_a_device(
    tmp_path: Path, text: str, profile: str, serial: str, command: tuple[str, ...]
) -> None:
    assert config.load(choose(tmp_path, text)).code_command(profile, serial) == command


@pytest.mark.parametrize(
    "text",
    ["mfa_command = 7", "mfa_command = [7]", "mfa_commands = 'x'", "mfa_command = ", "mfa_command = '\"'"],
)
def test_preferences_that_are_none_are_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(UnparsableFile, match=r"config\.toml"):
        config.load(choose(tmp_path, text))


@pytest.mark.parametrize("mode", [0o660, 0o606, 0o622])
def test_a_command_from_a_file_that_others_may_write_is_not_run(tmp_path: Path, mode: int) -> None:
    path = choose(tmp_path, "mfa_command = 'x'")
    path.chmod(mode)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    with pytest.raises(UnsafeFile, match="chmod go-w"):
        config.load(path)


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize(
    ("owner", "mode", "reason"),
    [
        (0, 0o777, "others can write to its folder"),
        (0, 0o1777, "others can write to its folder"),
        (0, 0o770, "others can write to its folder"),
        (65534, 0o700, r"its folder belongs to another user \(uid 65534\)"),
    ],
)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_command_from_a_folder_where_others_may_put_a_file_is_not_run(
    tmp_path: Path, owner: int, mode: int, reason: str, *, linked: bool
) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    path = choose(folder, "mfa_command = 'x'")
    os.chown(folder, owner, 0)
    folder.chmod(mode)
    if linked:
        path = tmp_path / "link"
        path.symlink_to(folder / "config.toml")
    with pytest.raises(UnsafeFile, match=reason):
        config.load(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_command_from_somebody_elses_file_is_not_run(tmp_path: Path) -> None:
    path = choose(tmp_path, "mfa_command = 'x'")
    os.chown(path, 65534, 65534)
    with pytest.raises(UnsafeFile, match=r"it belongs to another user \(uid 65534\)"):
        config.load(path)
    path.write_text("")
    assert config.load(path) == config.Config()


def test_preferences_that_are_no_file_keep_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.toml")
    with pytest.raises(UnsafeFile, match="not a regular file"):
        config.load(tmp_path / "config.toml")


def needs_person(bench: Bench, name: str) -> bool:
    return next(row.needs_person for row in bench.service.snapshot().profiles if row.name == name)


def test_nobody_is_asked_where_a_command_shows_the_code(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.adopt("acme-alice")
    assert needs_person(bench, "prod-admin")
    choose(bench.service.paths.config_dir, sandbox_command(bench.sandbox.folder))
    assert not needs_person(bench, "prod-admin")
    assert bench.service.takes_code("prod-admin"), "a typed code comes before the command"
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        bench.sandbox.move_clock(seconds)

    monkeypatch.setattr(mfa_code_command.CommandMfaCodes.__init__, "__defaults__", (sleep,))
    assert json.loads(bench.service.credential_process("prod-admin"))["SessionToken"]
    assert json.loads(bench.service.credential_process("acme-alice"))["SessionToken"]
    assert not waits, "one code is enough for both"
    bench.service.stop("acme-alice")
    assert json.loads(bench.service.credential_process("acme-alice"))["SessionToken"]
    assert len(waits) == 1, "the code that the first one used is not tried again"
    assert 0 < waits[0] <= 31
    refused = [call for call in bench.sandbox.calls if call.error]
    assert not [call for call in refused if call.action in ("AssumeRole", "GetSessionToken")]


def test_a_storm_of_wrong_codes_ends_after_three(
    bench: Bench, program: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.adopt("acme-alice")
    monkeypatch.setattr(
        mfa_code_command.CommandMfaCodes.__init__, "__defaults__", (bench.sandbox.move_clock,)
    )
    choose(bench.service.paths.config_dir, f"mfa_command = '{program('echo 000000')}'\n")
    lines = []
    for _ in range(8):
        with pytest.raises((WrongMfaCode, NeedsMfa)) as excinfo:
            bench.service.credential_process("acme-alice")
        lines.append(excinfo.value)
    assert bench.calls("GetSessionToken") == 3
    assert [type(line) for line in lines] == [WrongMfaCode] * 3 + [NeedsMfa] * 5
    assert "AWS refused the last 3 codes of mfa_command" in lines[-1].line()
    assert "keyturn refresh acme-alice" in lines[-1].line()
    bench.service.refresh("acme-alice", bench.sandbox.totp("alice"))
    bench.service.stop("acme-alice")
    with pytest.raises(WrongMfaCode):
        bench.service.credential_process("acme-alice")
    choose(bench.service.paths.config_dir, sandbox_command(bench.sandbox.folder))
    assert json.loads(bench.service.credential_process("acme-alice"))["SessionToken"]


def test_a_command_that_fails_leaves_it_to_a_person_and_names_itself(
    bench: Bench, program: Callable[[str], str]
) -> None:
    bench.adopt("acme-alice")
    path = program("echo no such account >&2; exit 1")
    choose(bench.service.paths.config_dir, f"mfa_command = '{path}'\n")
    with pytest.raises(NeedsMfa) as excinfo:
        bench.service.credential_process("prod-admin")
    assert excinfo.value.line() == (
        f"Could not refresh prod-admin: mfa_command {path}: it exited with 1: no such account. "
        "Type a code: keyturn refresh prod-admin"
    )
    assert bench.calls("AssumeRole") == 0
    bench.service.refresh("prod-admin", bench.sandbox.totp("alice"))


def test_what_is_noted_of_codes_holds_no_code_and_may_be_lost(bench: Bench) -> None:
    bench.adopt("acme-alice")
    choose(bench.service.paths.config_dir, sandbox_command(bench.sandbox.folder))
    code = bench.sandbox.totp("alice")
    bench.service.credential_process("acme-alice")
    path = bench.service.paths.mfa_file
    assert code not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for content in (b"", b"[]", b"{", b'{"devices": 7}', b'{"devices": {"x": []}}', b"\xff"):
        path.write_bytes(content)
        bench.service.stop("acme-alice")
        bench.sandbox.move_clock(31)
        assert json.loads(bench.service.credential_process("acme-alice"))["SessionToken"]


def test_preferences_that_cannot_be_read_are_named_where_a_code_is_missed_and_stop_nothing_else(
    bench: Bench,
) -> None:
    bench.adopt("ci-deploy")
    bench.adopt("acme-alice")
    path = choose(bench.service.paths.config_dir, "mfa_command = [")
    assert [problem.path for problem in bench.service.snapshot().problems] == [str(path)]
    bench.service.credential_process("ci-deploy")
    with pytest.raises(NeedsMfa) as excinfo:
        bench.service.credential_process("acme-alice")
    assert f"mfa_command is unknown, because {path} is invalid: Invalid value" in excinfo.value.line()
    bench.service.refresh("acme-alice", bench.sandbox.totp("alice"))


@pytest.mark.campaign
@pytest.mark.timeout(300)
def test_the_aws_cli_gets_a_session_with_mfa_and_no_person(newcomer: Person) -> None:
    newcomer.makes_vault()
    newcomer.does("adopt", "acme-alice", "--yes")
    choose(newcomer.sandbox.folder / "keyturn" / "config", sandbox_command(newcomer.sandbox.folder))
    expected = "arn:aws:sts::444455556666:assumed-role/Admin/keyturn-prod-admin"
    assert newcomer.aws_identity("prod-admin") == expected
    assert newcomer.keyturn("agent", "status").returncode == 0
