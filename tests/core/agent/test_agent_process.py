"""The agent's process: its starter, the environment that it keeps, and its end after a lock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import pytest

from keyturn.agent import launcher, rpc_client, shutdown
from keyturn.model.errors import AgentUnavailable, KeyturnError, UsageError, WrongPassphrase
from keyturn.model.secret import Secret
from keyturn.system import background_process
from keyturn.system.secret_channel import WaitCancelled
from tests.core.agent.starter import COMMAND, PASSPHRASE, Starter, wait_for_end


@pytest.mark.parametrize(
    ("passphrase", "recovery_key"),
    [(None, None), (PASSPHRASE, None), (None, Secret("AGE-SECRET-KEY-1TEST"))],
    ids=["keyring", "passphrase", "recovery key"],
)
def test_it_answers_as_soon_as_start_returns(
    starter: Starter, passphrase: Secret | None, recovery_key: Secret | None
) -> None:
    starter.start(passphrase, recovery_key)
    assert rpc_client.document(starter.socket, "prod") == '{"Version": 1, "AccessKeyId": "prod"}'


def test_a_wrong_passphrase_is_said_as_such_and_leaves_no_agent(starter: Starter) -> None:
    with pytest.raises(WrongPassphrase):
        starter.start(Secret("wrong"))
    assert not rpc_client.is_answering(starter.socket)


@pytest.mark.parametrize(
    ("command", "timeout"),
    [(COMMAND, 30.0), (("/nowhere/python",), 30.0), ((sys.executable, "-I", "-c", "pass"), 30.0)],
    ids=["a wrong passphrase", "no program", "a program that ends at once"],
)
def test_no_failure_keeps_the_passphrase_in_its_traceback(
    starter: Starter, command: tuple[str, ...], timeout: float
) -> None:
    with pytest.raises(KeyturnError) as excinfo:
        starter.start(Secret("a canary"), command=command, timeout=timeout)
    error: BaseException | None = excinfo.value
    while error is not None:
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        own = [frame for frame in frames if "keyturn" in frame.f_globals.get("__name__", "")]
        assert not any("a canary" in repr(frame.f_locals) for frame in own)
        error = error.__context__


def test_a_passphrase_of_any_characters_arrives(starter: Starter) -> None:
    with pytest.raises(WrongPassphrase):
        starter.start(Secret('"\\\n\u202e' + "x" * 200_000))


def test_what_nobody_foresaw_is_an_error_without_its_message(starter: Starter) -> None:
    starter.environ["KEYTURN_TEST_BURST"] = "1"
    with pytest.raises(KeyturnError) as excinfo:
        starter.start()
    assert "canary" not in excinfo.value.line()
    log = (starter.paths.state_dir / "keyturn.log").read_text()
    assert "RuntimeError" in log
    assert "canary" not in log


def test_a_program_that_ends_at_once_is_an_error(starter: Starter) -> None:
    with pytest.raises(AgentUnavailable):
        starter.start(command=(sys.executable, "-I", "-c", "pass"))


def test_a_program_that_is_not_there_is_an_error(starter: Starter) -> None:
    with pytest.raises(AgentUnavailable):
        starter.start(command=("/nowhere/python",))


def test_one_that_does_not_open_the_vault_in_time_is_ended(starter: Starter) -> None:
    pid_file = starter.paths.home / "pid"
    starter.environ["KEYTURN_TEST_SLOW"] = str(pid_file)
    with pytest.raises(AgentUnavailable, match="did not open the vault"):
        starter.start(timeout=2)
    assert wait_for_end(int(pid_file.read_text()))


def test_one_that_is_cancelled_before_it_opens_the_vault_is_ended(starter: Starter) -> None:
    pid_file = starter.paths.home / "pid"
    starter.environ["KEYTURN_TEST_SLOW"] = str(pid_file)
    cancelled = threading.Event()
    timer = threading.Timer(1.0, cancelled.set)
    timer.start()
    with pytest.raises(WaitCancelled):
        starter.start(cancelled=cancelled)
    timer.join()
    assert wait_for_end(int(pid_file.read_text()))


def test_one_that_is_cancelled_at_its_start_is_ended(starter: Starter) -> None:
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(WaitCancelled):
        starter.start(cancelled=cancelled)
    assert not rpc_client.is_answering(starter.socket)


def test_what_opens_nothing_is_refused(starter: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    start_process = background_process.start_process

    def start_with_another_request(*arguments: Any, **options: Any) -> object:
        command, variables, _, timeout = arguments
        return start_process(command, variables, {"password": "x"}, timeout, **options)

    monkeypatch.setattr(launcher, "start_process", start_with_another_request)
    with pytest.raises(UsageError):
        starter.start()


def test_started_by_hand_it_says_in_one_line_what_to_do_instead(starter: Starter) -> None:
    done = subprocess.run(
        COMMAND, env=starter.environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "keyturn: The agent cannot be started directly. Run: keyturn vault unlock\n"


def test_two_starts_at_once_end_with_one_agent(starter: Starter) -> None:
    failures: list[BaseException] = []
    both = threading.Barrier(2)

    def start() -> None:
        both.wait()
        try:
            starter.start(PASSPHRASE)
        except KeyturnError as error:
            failures.append(error)

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    pid = starter.pid()
    assert shutdown.lock(starter.socket)
    assert wait_for_end(pid)
    assert not rpc_client.is_answering(starter.socket)


def test_starting_again_leaves_the_one_that_serves(starter: Starter) -> None:
    starter.start()
    first = starter.pid()
    starter.start()
    assert starter.pid() == first


def test_a_stale_socket_does_not_keep_it_from_starting(starter: Starter) -> None:
    starter.start()
    pid = starter.pid()
    os.kill(pid, signal.SIGKILL)
    assert wait_for_end(pid)
    assert starter.socket.is_socket()
    with pytest.raises(AgentUnavailable):
        rpc_client.document(starter.socket, "prod")
    starter.start()
    assert starter.pid() != pid


def test_after_lock_no_process_is_left_and_the_next_start_works(starter: Starter) -> None:
    starter.start()
    pid = starter.pid()
    assert shutdown.lock(starter.socket)
    assert wait_for_end(pid)
    assert not starter.socket.exists()
    assert not shutdown.lock(starter.socket)
    starter.start()
    assert starter.pid() != pid


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_it_in_order(starter: Starter, number: signal.Signals) -> None:
    starter.start()
    pid = starter.pid()
    os.kill(pid, number)
    assert wait_for_end(pid)
    assert not starter.socket.exists()


def test_it_keeps_nothing_of_its_starter_but_what_it_needs(starter: Starter) -> None:
    starter.start()
    of_agent = rpc_client.run(starter.socket, "limits", {})
    assert of_agent["core"] == [0, 0]
    assert of_agent["umask"] == 0o077
    assert of_agent["folder"] == "/"
    assert of_agent["session"] != os.getsid(0)
    assert of_agent["open"] == ["/dev/null"] * 3
    assert set(of_agent["environ"]) - {"LC_CTYPE"} == {"HOME", "PATH", "KEYTURN_HOME"}


def test_the_agent_itself_loads_no_sdk_and_no_screen(starter: Starter) -> None:
    starter.start()
    loaded = set(rpc_client.run(starter.socket, "limits", {})["modules"])
    assert not loaded & {"boto3", "botocore", "keyring", "pyrage", "click", "textual", "platformdirs"}


def test_a_client_that_loses_the_agent_amid_a_request_hears_so(starter: Starter) -> None:
    starter.start()
    with pytest.raises(AgentUnavailable):
        rpc_client.run(starter.socket, "die", {})


def test_a_relative_home_of_keyturns_own_means_the_same_folder_to_the_agent(
    starter: Starter, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    starter.environ["KEYTURN_HOME"] = "k"
    starter.start()
    assert rpc_client.is_answering(folder / "k" / "run" / "agent.sock")
