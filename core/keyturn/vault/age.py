"""The age format, through pyrage: an identity that opens, and a recipient that seals."""

from __future__ import annotations

import re
from typing import Any, NoReturn, final

from keyturn.model.errors import VaultCorrupt, WrongPassphrase
from keyturn.model.secret import MASK, Secret
from keyturn.vault.files import restore_hint

#: The first line of every age file (https://age-encryption.org/v1).
MAGIC = b"age-encryption.org/v1\n"
#: A header for one recipient takes a few hundred bytes. The library's time grows with the square of a header's length,
#: with the interpreter lock held: a megabyte of it takes minutes.
HEADER_LIMIT = 4096
_HEADER_END = b"\n--- "
_RECIPIENT = re.compile(r"age1[02-9ac-hj-np-z]{58}")


@final
class Identity:
    """An X25519 identity. It shows as `***` and cannot be pickled or copied; :meth:`reveal` is the way to its text.

    The private half lives in pyrage's own memory, which is wiped when the last reference goes.
    """

    __slots__ = ("_key", "recipient")

    def __init__(self, key: Any) -> None:
        self._key = key
        self.recipient: str = str(key.to_public())

    @classmethod
    def generate(cls) -> Identity:
        """A new one."""
        import pyrage

        return cls(pyrage.x25519.Identity.generate())

    @classmethod
    def parse(cls, text: Secret) -> Identity | None:
        """The identity that `AGE-SECRET-KEY-1…` names; upper or lower case, spaces and line ends ignored; None if the
        text is none."""
        import pyrage

        compact = "".join(text.reveal().split()).upper()
        try:
            return cls(pyrage.x25519.Identity.from_str(compact))
        except (pyrage.IdentityError, ValueError):
            return None

    def open(self, data: bytes, what: str) -> bytes:
        """The plaintext of an age file.

        :raises VaultCorrupt: it is damaged, or sealed to somebody else.
        """
        plain = self.try_open(data)
        if plain is None:
            raise VaultCorrupt(what, "it is damaged, or not sealed to this vault", restore_hint())
        return plain

    def try_open(self, data: bytes) -> bytes | None:
        """As :meth:`open`, with None in place of the error."""
        import pyrage

        if not data.startswith(MAGIC) or data.find(_HEADER_END, 0, HEADER_LIMIT) < 0:
            return None

        try:
            return bytes(pyrage.decrypt(data, [self._key]))
        except (pyrage.DecryptError, ValueError):
            return None

    def reveal(self) -> Secret:
        """The recovery key: the identity as age writes it, 74 characters."""
        return Secret(str(self._key))

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("an identity is not to be pickled or copied")

    __copy__ = __reduce_ex__
    __deepcopy__ = __reduce_ex__


def identity_from(recovery_key: Secret) -> Identity:
    """The identity that a person typed.

    :raises WrongPassphrase: it is no recovery key, or has a typing error (its last six characters are a checksum).
    """
    identity = Identity.parse(recovery_key)
    if identity is None:
        why = "it is not one: a recovery key is AGE-SECRET-KEY-1 and 58 more characters, and one of them may be mistyped"
        raise WrongPassphrase("recovery key", why, "Type it again as it was shown")
    return identity


def is_recipient(text: str) -> bool:
    """Whether `text` has the shape of an X25519 recipient. Needs no pyrage."""
    return _RECIPIENT.fullmatch(text) is not None


def seal(data: bytes, recipient: str) -> bytes:
    """An age file that only the identity of `recipient` opens.

    :raises VaultCorrupt: `recipient` is none.
    """
    import pyrage

    try:
        key = pyrage.x25519.Recipient.from_str(recipient)
    except (pyrage.RecipientError, ValueError):
        key = None
    if key is None:
        raise VaultCorrupt("recipient.txt", "it names no age recipient", restore_hint())
    return bytes(pyrage.encrypt(data, [key]))
