"""The child of `keyturn.vault.passphrase` with too little memory for scrypt."""

from __future__ import annotations

from keyturn.vault import passphrase


def child_main() -> None:
    """Run the real child with that limit."""
    passphrase.MEMORY = 120 * 1024 * 1024
    passphrase.child_main()
