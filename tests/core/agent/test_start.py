"""The console script: the right front end, one error line, and nothing else on the terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from keyturn_tui import main
from keyturn_tui.terminal.capabilities import Options

KEYTURN = Path(sys.executable).with_name("keyturn")

PRELUDE = """
import os, sys, types
from keyturn import cli
if "--sandbox" in sys.argv:  # its vault is sealed without the work of scrypt
    sys.path.append({root!r})
    from keyturn.vault import passphrase
    from tests.core.vault import weak_age
    passphrase.seal = weak_age.seal
def fake(words):
    {act}
cli.run_verb = fake
from keyturn_tui.main import main
sys.exit(main())
"""
ROOT = str(Path(__file__).resolve().parents[3])

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "KEYTURN_HOME": str(tmp_path / "k"), "PATH": os.environ["PATH"]}


@pytest.fixture
def run(environ: dict[str, str]) -> Run:
    """Run the console script with a command line that runs `operation` instead of verbs."""

    def run_with(
        operation: str, *words: str, line: str = '"$@"', text: str = ""
    ) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-I", "-c", PRELUDE.format(act=operation, root=ROOT), *words]
        return subprocess.run(
            ["sh", "-c", line, "sh", *program],
            env=environ,
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    return run_with


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ([], Options()),
        (["--read-only"], Options(read_only=True)),
        (["--ascii", "--no-mouse"], Options(ascii=True, mouse=False)),
        (["--filter", "kind:key"], Options(filter="kind:key")),
        (["--filter=a=b"], Options(filter="a=b")),
        (["--filter="], Options()),
        (["--filter", "--ascii"], Options(filter="--ascii")),
    ],
)
def test_the_apps_options_start_the_app(words: list[str], options: Options) -> None:
    assert main._app_options(words) == options


@pytest.mark.parametrize(
    "words",
    [
        ["list"],
        ["--help"],
        ["-h"],
        ["--version"],
        ["--ascii", "list"],
        ["--filter"],
        ["--ascii=1"],
        ["--nothing"],
        [""],
    ],
)
def test_everything_else_goes_to_the_command_line(words: list[str]) -> None:
    assert main._app_options(words) is None


def test_a_verb_and_its_words_reach_the_command_line_as_they_are(run: Run) -> None:
    done = run("print(words); return 3", "show", "--json", "a b", "", "--", "--sandbox")
    assert done.stdout == "['show', '--json', 'a b', '', '--', '--sandbox']\n"
    assert (done.returncode, done.stderr) == (3, "")


def test_an_error_is_one_line_and_its_exit_code(run: Run) -> None:
    done = run(
        "from keyturn.model.errors import NeedsMfa; raise NeedsMfa('a\\x1b[31m', 'b', 'Do c.')", "refresh"
    )
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == "keyturn: a\\x1b[31m: b. Do c.\n"


def test_what_nobody_foresaw_is_one_line_and_its_values_are_nowhere(run: Run, tmp_path: Path) -> None:
    done = run("secret = 'cana' + 'ry'; raise RuntimeError(secret)", "refresh")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    log = (tmp_path / "k" / "state" / "keyturn.log").read_text()
    assert "RuntimeError" in log
    assert "canary" not in done.stderr + log


def test_an_interrupt_is_130_and_silent(run: Run) -> None:
    done = run("raise KeyboardInterrupt", "refresh")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("operation", ["print('x' * 1_000_000)", "print('x')"])
def test_a_reader_that_has_gone_is_silent(run: Run, operation: str) -> None:
    done = run(f"{operation}; return 0", "list", line='("$@"; echo $? >&2) | true')
    assert done.stderr in ("1\n", "0\n")


def test_a_full_disk_behind_stdout_is_one_line(run: Run) -> None:
    done = run("print('x'); return 0", "list", line='"$@" >/dev/full')
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_do_no_harm(run: Run, tmp_path: Path, closed: str) -> None:
    operation = (
        f"open({str(tmp_path / 'made')!r}, 'w').write('file'); print('out'); sys.stdin.read(); return 7"
    )
    done = run(operation, "list", line=f'"$@" {closed}')
    assert done.returncode == 7
    assert (tmp_path / "made").read_text() == "file"
    assert done.stderr == ""


def test_credential_process_reads_no_stdin(run: Run) -> None:
    done = run("print(repr(sys.stdin.read())); return 0", "credential-process", "prod", text="a person")
    assert done.stdout == "''\n"


@pytest.mark.parametrize("option", ["--passphrase-fd", "--recovery-key-fd"])
def test_credential_process_leaves_a_stdin_that_was_named(run: Run, option: str) -> None:
    done = run("print(sys.stdin.read()); return 0", "credential-process", "prod", option, "0", text="secret")
    assert done.stdout == "secret\n"


def test_a_process_of_ours_is_closed_before_a_verb_runs(run: Run) -> None:
    done = run("import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)); return 0", "list")
    assert done.stdout == ("0\n" if sys.platform == "linux" else done.stdout)


def test_the_app_without_a_terminal_says_so(run: Run) -> None:
    done = run("return 0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("keyturn: Could not start the app: stdin or stdout is not a terminal.")


def test_windows_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert main.main(["list"]) == 1
    assert capfd.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "words", [("--sandbox", "list"), pytest.param(("list", "--sandbox"), marks=pytest.mark.campaign)]
)
def test_in_the_sandbox_a_verb_sees_its_environment_and_leaves_nothing(
    run: Run, environ: dict[str, str], words: tuple[str, ...]
) -> None:
    environ["AWS_ACCESS_KEY_ID"] = "AKIACANARY"
    operation = "print(os.environ['KEYTURN_SANDBOX'], os.environ.get('AWS_ACCESS_KEY_ID'), words); return 0"
    done = run(operation, *words)
    assert (done.returncode, done.stderr) == (0, "")
    folder, key, rest = done.stdout.split(" ", 2)
    assert key == "None"
    assert "--sandbox" not in rest
    assert not Path(folder).exists()


@pytest.mark.parametrize("number", [signal.SIGHUP, pytest.param(signal.SIGTERM, marks=pytest.mark.campaign)])
def test_a_sandbox_is_gone_at_hangup_and_termination(environ: dict[str, str], number: signal.Signals) -> None:
    operation = "print(os.environ['KEYTURN_SANDBOX'], flush=True); import time; time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", PRELUDE.format(act=operation, root=ROOT), "--sandbox", "list"],
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        assert folder.is_dir()
        process.send_signal(number)
        assert process.wait(20) == 128 + number
    assert not folder.exists()


def test_the_agent_of_a_sandbox_ends_with_it(run: Run) -> None:
    agent = Path(__file__).with_name("fake_agent.py")
    operation = (
        (
            "from keyturn.agent import rpc_client, launcher; from keyturn.storage.paths import paths_for; p "
            "= paths_for(os.environ);"
            f"launcher.start_agent(p, os.environ, command=(sys.executable, '-I', {str(agent)!r}));"
            "print(rpc_client.call(p.socket, {{'op': 'status'}})['pid']); return 0"
        )
        .replace("{{", "{")
        .replace("}}", "}")
    )
    done = run(operation, "--sandbox", "list")
    assert (done.returncode, done.stderr) == (0, "")
    stat = Path(f"/proc/{done.stdout.strip()}/stat")
    deadline = time.monotonic() + 10
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_sandbox_is_not_left_behind_by_a_program_that_takes_its_place(
    environ: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    done = subprocess.run(
        [str(KEYTURN), "--sandbox", "exec", "ci-release", "--", "true"],
        env={**environ, "TMPDIR": str(folder)}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "the sandbox ends when exec replaces the process of keyturn" in done.stderr
    assert list(folder.iterdir()) == []
