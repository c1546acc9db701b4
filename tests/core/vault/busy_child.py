"""The child of `keyturn.vault.passphrase` on a machine that the library measures too short, a few times or
each time."""

from __future__ import annotations

import os

import pyrage

from keyturn.vault import passphrase as unseal

_LIBRARY_ERROR = "Excessive work parameter for passphrase.\nDecryption would take around 20 seconds."


def child_main() -> None:
    """Run the real child; `LD_LIBRARY_PATH`, which alone reaches it, holds the number of refusals."""
    left = [int(os.environ["LD_LIBRARY_PATH"])]
    decrypt = pyrage.passphrase.decrypt

    def busy(data: bytes, passphrase: str) -> bytes:
        if left[0]:
            left[0] -= 1
            raise pyrage.DecryptError(_LIBRARY_ERROR)
        opened: bytes = decrypt(data, passphrase)
        return opened

    pyrage.passphrase.decrypt = busy
    unseal.child_main()
