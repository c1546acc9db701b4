"""A child of `keyturn.vault.passphrase` that works longer than its limit of CPU time."""

from __future__ import annotations

from keyturn.system import child_process
from keyturn.vault import age_passphrase, passphrase


def child_main() -> None:
    """Compute scrypt again and again, in a library that holds the interpreter."""
    child_process.limit(cpu_seconds=1, memory=passphrase.MEMORY)
    child_process.read_request()
    while True:
        age_passphrase.seal(b"", b"", passphrase.FACTOR)
