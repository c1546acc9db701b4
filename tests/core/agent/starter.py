"""A user from whose environment agents are started, each in its own process."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

from keyturn.agent import launcher, rpc_client
from keyturn.model.secret import Secret
from keyturn.storage.paths import Paths, paths_for

COMMAND = (sys.executable, "-I", str(Path(__file__).with_name("fake_agent.py")))
PASSPHRASE = Secret("correct horse")


class Starter:
    """A user's environment, from which agents are started."""

    def __init__(self, folder: Path) -> None:
        self.environ = {
            "HOME": str(folder),
            "PATH": os.environ["PATH"],
            "KEYTURN_HOME": str(folder / "k"),
            "AWS_ACCESS_KEY_ID": "AKIACANARY",
            "AWS_PROFILE": "canary",
            "PYTHONPATH": str(folder),
            "LD_PRELOAD": "",
        }

    @property
    def paths(self) -> Paths:
        return paths_for(self.environ)

    @property
    def socket(self) -> Path:
        return self.paths.socket

    def start(
        self,
        passphrase: Secret | None = None,
        recovery_key: Secret | None = None,
        *,
        command: tuple[str, ...] = COMMAND,
        timeout: float = 30,
        cancelled: threading.Event | None = None,
    ) -> None:
        launcher.start_agent(
            self.paths,
            self.environ,
            passphrase=passphrase,
            recovery_key=recovery_key,
            command=command,
            timeout=timeout,
            cancelled=cancelled,
        )

    def pid(self) -> int:
        pid = rpc_client.call(self.socket, {"op": "status"})["pid"]
        assert isinstance(pid, int)
        return pid


def is_gone(pid: int) -> bool:
    """Return True if a process has ended, even if its parent has not read its exit status yet."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return status.rpartition(")")[2].split()[0] in ("Z", "X")


def wait_for_end(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if is_gone(pid):
            return True
        time.sleep(0.01)
    return False
