"""Program that made the vault and the export beside this file: `python make.py FOLDER PASSPHRASE`.

It was run once for each released format; its output is never made again. The identity is for tests alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

from keyturn.model.secret import Secret
from keyturn.vault.vault import Vault


def main() -> None:
    """Make a vault with a passphrase, three generations and a session, its recovery key, and its export."""
    folder, passphrase = Path(sys.argv[1]), Secret(sys.argv[2])
    vault = Vault(folder / "vault")
    recovery_key = vault.create("passphrase", passphrase)
    vault.change_keys(
        lambda entries: entries.update({"key/ci": {"key_id": "AKIAIOSFODNN7EXAMPLE", "secret": "old"}})
    )
    vault.change_keys(
        lambda entries: entries.update(
            {
                "key/ci": {
                    "key_id": "AKIAIOSFODNN7EXAMPLE",
                    "secret": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                }
            }
        )
    )
    vault.change_sessions(lambda entries: entries.update(ci={"key_id": "ASIAIOSFODNN7EXAMPLE"}))
    (folder / "identity-for-tests.txt").write_text(recovery_key.reveal() + "\n")
    profiles = 'version = 1\n\n[profiles.ci]\nkind = "iam-key"\nkey = "ci"\ndelivery = "credential-process"\n'
    (folder / "export.age").write_bytes(vault.export(passphrase, profiles))
    (folder / "vault" / "lock").unlink()


if __name__ == "__main__":
    main()
