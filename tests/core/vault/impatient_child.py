"""The child of `keyturn.vault.passphrase` with a time limit of 0.1 s."""

from __future__ import annotations

from keyturn.vault import passphrase


def child_main() -> None:
    """Run the real child with that limit."""
    passphrase.SECONDS = 0.1
    passphrase.child_main()
