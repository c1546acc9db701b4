"""A process with all imports loaded that forks one child per task, so that hundreds of runs are cheap.

Tasks are lines of JSON on standard input: `act` (`verb`, `agent` or `app`), `words`, `environ`, `secrets`,
`moment` (where to raise; `"record"` to record all; empty for neither), `kind`, `reads` (options with a
descriptor to read, and the text), `writes` (the same for descriptors that are written to), `has_agent`, `out`
(a folder for output), `terminal` (for the app). The answer is one line of JSON: the exit code, minus the
number of the signal that ended the child, or `"late"`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from socket import SHUT_WR
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import boto3

import keyturn_tui.app  # noqa: F401  # to have it loaded
from keyturn.agent import rpc_client, shutdown
from keyturn.agent.protocol import request_line
from keyturn.model.errors import AgentUnavailable, KeyturnError
from keyturn.system import secret_channel
from keyturn.vault import passphrase
from keyturn_tui import main as start
from tests.adversarial.secret_leaks import exception_bursts
from tests.adversarial.secret_leaks.exception_bursts import Bursting, Moment, Recording, ScreenRecording
from tests.core.agent.starter import wait_for_end
from tests.core.vault import weak_age

_SECONDS = 120.0
#: The original without the wrapper of :func:`_run_before_exit`.
_leave = os._exit


def main() -> None:
    boto3.client("sts", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y")
    # Scrypt would take most of the time, and is not under test here.
    passphrase.seal = weak_age.seal
    print("ready", flush=True)  # noqa: T201 - the protocol
    for line in sys.stdin:
        task = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _run(task)
        # The test provides it where there is a terminal to read from.
        print(json.dumps({"code": _waited(pid)}), flush=True)  # noqa: T201 - the protocol


def _waited(pid: int) -> int | str:
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "late"


def _run(task: dict[str, Any]) -> NoReturn:
    out = Path(task["out"])
    os.setsid()
    os.environ.clear()
    os.environ.update(task["environ"])
    os.chdir("/")
    if task["act"] == "app":
        terminal = os.open(task["terminal"], os.O_RDWR)
        streams = (terminal, terminal, terminal)
    else:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        streams = (
            os.open(os.devnull, os.O_RDONLY),
            os.open(out / "stdout", flags, 0o600),
            os.open(out / "stderr", flags, 0o600),
        )
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for place, name in enumerate(("stdin", "stdout", "stderr")):
        file = open(place, "w" if place else "r", encoding="utf-8", closefd=False)  # noqa: SIM115 - for the process's life
        setattr(sys, name, file)
        setattr(sys, f"__{name}__", file)
    code = 99
    try:
        _prepare_trace(task)
        code = _RUNNERS[task["act"]](task)
    finally:
        exception_bursts.end()
        sys.stdout.flush()
        os._exit(code)


def _prepare_trace(task: dict[str, Any]) -> None:
    """Prepare to record moments or to raise at one; the operation itself begins the trace."""
    out = Path(task["out"])
    if task["moment"] == "record":
        recording = (ScreenRecording if task["act"] == "app" else Recording)(task["secrets"])
        task["trace"] = recording.trace
        _run_before_exit(lambda: (out / "moments").write_text(json.dumps(recording.moments)))
    elif task["moment"]:
        burst = Bursting(Moment(*task["moment"]), task["kind"], task["secrets"][0], out / "raised")
        task["trace"] = burst.trace


def _run_before_exit(callback: Callable[[], object]) -> None:
    """Run before this process or a fork of it ends, in any way. The process that the agent leaves behind
    records nothing."""
    leave = os._exit

    def left(code: int) -> NoReturn:
        exception_bursts.end()
        callback()
        leave(code)

    os._exit = left  # type: ignore[assignment]  # every way to end calls it


def _begin(task: dict[str, Any]) -> None:
    if "trace" in task:
        exception_bursts.begin(task["trace"])


def _verb(task: dict[str, Any]) -> int:
    if not task["has_agent"]:
        rpc_client.start = _no_agent
    words = list(task["words"])
    for option, text in task["reads"].items():
        read, write = os.pipe()
        os.write(write, text.encode() + b"\n")
        os.close(write)
        words += [option, str(read)]
    for option, path in task["writes"].items():
        words += [option, str(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))]
    _begin(task)
    return start.main(words)


def _app(task: dict[str, Any]) -> int:
    rpc_client.start = _no_agent
    _begin(task)
    return start.main(list(task["words"]))


def _no_agent(*_: object, **__: object) -> None:
    raise AgentUnavailable("start of the agent", "not here")


def _agent(task: dict[str, Any]) -> int:
    """Run an agent in a child of its own with the exception in it, and a client that sends every request."""
    from keyturn.agent.__main__ import open_service
    from keyturn.agent.daemon import run_agent
    from keyturn.storage.paths import paths_for

    ours, theirs = secret_channel.create()
    pid = os.fork()
    if pid == 0:
        ours.close()
        os.dup2(theirs.fileno(), 0)
        _begin(task)
        run_agent(open_service)
    theirs.close()
    ours.settimeout(_SECONDS)
    channel = secret_channel.accept(ours, pid)
    socket = paths_for(os.environ).socket
    output = [b""]
    if channel is not None:
        with channel:
            channel.settimeout(_SECONDS)
            channel.sendall(json.dumps({"recovery_key": task["secrets"][0]}).encode() + b"\n")
            answer = channel.makefile("rb")
            output = [answer.readline()]
            # The agent takes its sockets now, and closes the channel when it has them.
            with contextlib.suppress(OSError):
                channel.shutdown(SHUT_WR)
                output.append(answer.read())
    for line in task["words"]:
        try:
            output.append(rpc_client.ask(str(socket), request_line(**line), 30.0))
        except (rpc_client.NoAgent, TimeoutError) as error:
            output.append(type(error).__name__.encode() + b"\n")
    agent = rpc_client.find_agent(socket, 30.0)
    try:
        shutdown.lock(socket)
    except KeyturnError as error:
        output.append(error.line().encode())
    if agent is not None:
        wait_for_end(agent.pid)  # it writes its moments as the last thing
    (Path(task["out"]) / "stdout").write_bytes(b"".join(output))
    # The agent wrote its own moments when it ended; this process has none.
    _leave(0)


_RUNNERS = {"verb": _verb, "agent": _agent, "app": _app}

if __name__ == "__main__":
    main()
