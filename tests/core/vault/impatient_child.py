"""The child of `keyturn.vault.passphrase` with a tenth of a second for its work."""

from __future__ import annotations

from keyturn.vault import passphrase


def child_main() -> None:
    """As the real one, but for the limit."""
    passphrase.SECONDS = 0.1
    passphrase.child_main()
