"""A child of `keyturn.vault.passphrase` that SIGTERM ends."""

from __future__ import annotations

import os
import signal

from keyturn.system import child_process


def child_main() -> None:
    """Read the request, then send SIGTERM to this process."""
    child_process.read_request()
    os.kill(os.getpid(), signal.SIGTERM)
