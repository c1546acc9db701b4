"""`python weak_keyturn.py WORD...`: keyturn, which seals passphrases without the work of scrypt.

For tests that make vaults by the real program, on a terminal or in a sandbox, and do not test scrypt. Every
other part of the program is the real one.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    from keyturn.vault import passphrase
    from keyturn_tui.main import main
    from tests.core.vault import weak_age

    passphrase.seal = weak_age.seal
    sys.exit(main())
