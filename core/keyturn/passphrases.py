"""Whether a new passphrase may guard long-term keys. Pure."""

from __future__ import annotations

from keyturn.errors import UsageError
from keyturn.secret import Secret

#: Below this many characters a stolen file is opened by trying them all, scrypt or not.
LEAST = 8


def check(passphrase: Secret) -> Secret:
    """`passphrase` itself, fit for use.

    :raises UsageError: it is too short.
    """
    length = len(passphrase.reveal())
    if length < LEAST:
        why = "it is empty" if not length else f"{length} characters are soon guessed"
        raise UsageError("the new passphrase", why, f"Take {LEAST} or more; a few words are best")
    return passphrase
