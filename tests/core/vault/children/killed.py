"""A child of `keyturn.vault.passphrase` that SIGKILL ends."""

from __future__ import annotations

import os
import signal

from keyturn.system import child_process


def child_main() -> None:
    """Read the request, then send SIGKILL to this process."""
    child_process.read_request()
    os.kill(os.getpid(), signal.SIGKILL)
