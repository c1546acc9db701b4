"""age encryption through pyrage: an identity decrypts, a recipient encrypts."""

from __future__ import annotations

import re
from typing import Any, NoReturn, final

from keyturn.model.errors import RUN, Remedy, VaultCorrupt, WrongPassphrase
from keyturn.model.secret import MASK, Secret

#: The next step for a damaged file.
RESTORE_HINT = (RUN, Remedy("vault restore"), ". Nothing was overwritten")
#: The first line of every age file (https://age-encryption.org/v1).
MAGIC = b"age-encryption.org/v1\n"
#: Maximum header length in bytes; a header for one recipient takes a few hundred. The library's time grows
#: with the square of the length, with the interpreter lock held: a header of one megabyte takes minutes.
HEADER_LIMIT = 4096
_HEADER_END = b"\n--- "
_RECIPIENT = re.compile(r"age1[02-9ac-hj-np-z]{58}")


@final
class Identity:
    """An X25519 identity. Its `repr` is `***`, it cannot be pickled or copied, and only :meth:`reveal`
    returns its text.

    The private key lives in pyrage's own memory, which is wiped when the last reference is dropped.
    """

    __slots__ = ("_key", "recipient")

    def __init__(self, key: Any) -> None:
        self._key = key
        self.recipient: str = str(key.to_public())

    @classmethod
    def generate(cls) -> Identity:
        """Generate a new identity."""
        import pyrage

        return cls(pyrage.x25519.Identity.generate())

    @classmethod
    def parse(cls, text: Secret) -> Identity | None:
        """Parse `AGE-SECRET-KEY-1…` in upper or lower case, ignoring spaces and line ends; None if it is not
        an identity."""
        import pyrage

        compact = "".join(text.reveal().split()).upper()
        try:
            return cls(pyrage.x25519.Identity.from_str(compact))
        except (pyrage.IdentityError, ValueError):
            return None

    def open(self, data: bytes, what: str) -> bytes:
        """Return the plaintext of an age file.

        :param what: the file's name, for the error.
        :raises VaultCorrupt: if it is damaged, or encrypted to another recipient.
        """
        plain = self.try_open(data)
        if plain is None:
            raise VaultCorrupt(what, "damaged, or not encrypted for this vault", RESTORE_HINT)
        return plain

    def try_open(self, data: bytes) -> bytes | None:
        """Return the plaintext of an age file; None where :meth:`open` raises."""
        import pyrage

        if not data.startswith(MAGIC) or data.find(_HEADER_END, 0, HEADER_LIMIT) < 0:
            return None
        try:
            return bytes(pyrage.decrypt(data, [self._key]))
        except (pyrage.DecryptError, ValueError):
            return None

    def reveal(self) -> Secret:
        """Return the recovery key: the identity as age writes it, 74 characters."""
        return Secret(str(self._key))

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("an identity cannot be pickled or copied")

    __copy__ = __reduce_ex__
    __deepcopy__ = __reduce_ex__


def identity_from(recovery_key: Secret) -> Identity:
    """Parse a recovery key that the user typed.

    :raises WrongPassphrase: if it is not a recovery key or has a typo (its last six characters are a
        checksum).
    """
    identity = Identity.parse(recovery_key)
    if identity is None:
        raise WrongPassphrase(
            "Invalid recovery key",
            "a recovery key is AGE-SECRET-KEY-1 and 58 more characters; check for typos",
            "Type it again as it was shown",
        )
    return identity


def is_recipient(text: str) -> bool:
    """Return True if `text` has the form of an X25519 recipient. Does not need pyrage."""
    return _RECIPIENT.fullmatch(text) is not None


def seal(data: bytes, recipient: str) -> bytes:
    """Encrypt `data` into an age file that only the identity of `recipient` opens.

    :raises VaultCorrupt: if `recipient` is not a recipient.
    """
    import pyrage

    try:
        key = pyrage.x25519.Recipient.from_str(recipient)
    except (pyrage.RecipientError, ValueError):
        raise VaultCorrupt("recipient.txt", "contains no age recipient", RESTORE_HINT) from None
    return bytes(pyrage.encrypt(data, [key]))
