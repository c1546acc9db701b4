"""The file format of age with a passphrase, as functions of bytes: https://age-encryption.org/v1 and
https://c2sp.org/age.

::

    age-encryption.org/v1
    -> scrypt SALT FACTOR             base64 without padding; the work factor is the binary logarithm of N
    WRAPPED-KEY                       the file key, sealed with scrypt(passphrase, label + salt)
    --- MAC                           HMAC-SHA256 of the header up to `---`, with a key from the file key
    NONCE CHUNK...                    16 bytes, then chunks of 64 KiB, each followed by a tag of 16 bytes

:func:`seal` and :func:`open_sealed` work as long as scrypt takes, and need 2^FACTOR KiB of memory meanwhile.
They run in the child process of :mod:`keyturn.vault.passphrase`.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import os
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass

CHUNK_SIZE = 64 * 1024
#: The highest work factor that this module computes: 1 GiB of memory.
MAX_FACTOR = 20

_LABEL = b"age-encryption.org/v1/scrypt"
_BLOCK_SIZE = 8
_FILE_KEY_SIZE = 16
_NONCE_SIZE = 16
_TAG_SIZE = 16
#: Bytes: a nonce and the tag of an empty last chunk.
_SHORTEST_PAYLOAD = _NONCE_SIZE + _TAG_SIZE
_HEADER = re.compile(
    rb"(?P<signed>age-encryption\.org/v1\n"
    rb"-> scrypt (?P<salt>[A-Za-z0-9+/]{22}) (?P<factor>[1-9][0-9]?)\n"
    rb"(?P<wrapped_key>[A-Za-z0-9+/]{43})\n"
    rb"---) (?P<mac>[A-Za-z0-9+/]{43})\n"
)


class DamagedError(ValueError):
    """The file is not an age file with one passphrase, or was changed after it was sealed."""


class PassphraseError(ValueError):
    """The passphrase does not open the file. A changed salt, work factor or wrapped key looks the same."""


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a file that one passphrase opens."""

    factor: int
    """Binary logarithm of scrypt's N."""
    salt: bytes
    wrapped_key: bytes
    signed: bytes
    """The bytes that the MAC covers."""
    mac: bytes
    size: int
    """Length in bytes; the payload follows."""


def parse_header(data: bytes) -> Header:
    """Return the header of a file. Takes no work; the MAC is not verified yet.

    :raises DamagedError: if it has anything but exactly one scrypt stanza, base64 that no encoder writes, or
        no complete payload.
    """
    match = _HEADER.match(data)
    if match is None or len(data) < match.end() + _SHORTEST_PAYLOAD:
        raise DamagedError("not an age file encrypted with a single passphrase")
    return Header(
        int(match["factor"]),
        _decode(match["salt"]),
        _decode(match["wrapped_key"]),
        match["signed"],
        _decode(match["mac"]),
        match.end(),
    )


def seal(data: bytes, passphrase: bytes, factor: int) -> bytes:
    """Return `data` as a file that `passphrase` opens.

    :raises MemoryError: if the memory for scrypt is not available.
    """
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    file_key, salt, nonce = (os.urandom(size) for size in (_FILE_KEY_SIZE, 16, _NONCE_SIZE))
    wrapped_key = ChaCha20Poly1305(_wrapping_key(passphrase, salt, factor)).encrypt(bytes(12), file_key, None)
    signed = b"age-encryption.org/v1\n-> scrypt %b %d\n%b\n---" % (
        _encode(salt),
        factor,
        _encode(wrapped_key),
    )
    cipher = ChaCha20Poly1305(_derive(file_key, nonce, b"payload"))
    sealed = bytearray(signed + b" " + _encode(_mac(file_key, signed)) + b"\n" + nonce)
    last = max(0, len(data) - 1) // CHUNK_SIZE
    for number in range(last + 1):
        chunk = data[number * CHUNK_SIZE : (number + 1) * CHUNK_SIZE]
        sealed += cipher.encrypt(_chunk_nonce(number, is_last=number == last), chunk, None)
    return bytes(sealed)


def open_sealed(data: bytes, passphrase: bytes) -> bytes:
    """Return the contents of a file that `passphrase` opens.

    :raises DamagedError: if it is no such file, or was changed or cut.
    :raises PassphraseError: if the passphrase does not open it.
    :raises MemoryError: if the memory for scrypt is not available.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    header = parse_header(data)
    if header.factor > MAX_FACTOR:
        raise DamagedError(f"work factor {header.factor}")
    wrapping_key = _wrapping_key(passphrase, header.salt, header.factor)
    try:
        file_key = ChaCha20Poly1305(wrapping_key).decrypt(bytes(12), header.wrapped_key, None)
    except InvalidTag:
        raise PassphraseError("wrong passphrase") from None
    if not hmac.compare_digest(_mac(file_key, header.signed), header.mac):
        raise DamagedError("the header was changed")
    start = header.size + _NONCE_SIZE
    cipher = ChaCha20Poly1305(_derive(file_key, data[header.size : start], b"payload"))
    size = CHUNK_SIZE + _TAG_SIZE
    last = (len(data) - start - 1) // size
    opened = bytearray()
    try:
        for number in range(last + 1):
            chunk = data[start + number * size : start + (number + 1) * size]
            opened += cipher.decrypt(_chunk_nonce(number, is_last=number == last), chunk, None)
    except InvalidTag:
        raise DamagedError("the contents were changed or cut") from None
    if last > 0 and len(opened) == last * CHUNK_SIZE:
        raise DamagedError("an empty chunk follows the contents")
    return bytes(opened)


def _wrapping_key(passphrase: bytes, salt: bytes, factor: int) -> bytes:
    n = 1 << factor
    try:
        return hashlib.scrypt(
            passphrase,
            salt=_LABEL + salt,
            n=n,
            r=_BLOCK_SIZE,
            p=1,
            maxmem=130 * _BLOCK_SIZE * n + (1 << 20),
            dklen=32,
        )
    except ValueError as error:
        # OpenSSL reports so that it got no memory.
        if "malloc failure" in str(error):
            raise MemoryError from error
        raise


def _derive(file_key: bytes, salt: bytes | None, info: bytes) -> bytes:
    """Return a key of 32 bytes by HKDF-SHA256."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), 32, salt=salt, info=info).derive(file_key)


def _mac(file_key: bytes, signed: bytes) -> bytes:
    return hmac.digest(_derive(file_key, None, b"header"), signed, "sha256")


def _chunk_nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])


def _encode(data: bytes) -> bytes:
    return b64encode(data).rstrip(b"=")


def _decode(text: bytes) -> bytes:
    """Return the bytes of base64 without padding.

    :raises DamagedError: if another text stands for the same bytes, so that it could be changed unnoticed.
    """
    try:
        decoded = b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise DamagedError("not base64") from error
    if _encode(decoded) != text:
        raise DamagedError("not canonical base64")
    return decoded
