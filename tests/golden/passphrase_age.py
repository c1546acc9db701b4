"""Opens what age sealed by a passphrase, however long that takes: pyrage refuses what a busy machine is slow
at."""

from __future__ import annotations

import base64
import hashlib

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_LABEL = b"age-encryption.org/v1/scrypt"
_BLOCK = 8
#: Of the one chunk that a short file has: number 0, and the last.
_ONLY_CHUNK = bytes(11) + b"\x01"


def opened(sealed: bytes, passphrase: str) -> bytes:
    """Open a file of less than 64 KiB that has one recipient, a passphrase."""
    _, stanza, body, rest = sealed.split(b"\n", 3)
    _, kind, salt, cost = stanza.split(b" ")
    if kind != b"scrypt":
        raise ValueError("it is not sealed by a passphrase")
    times = 1 << int(cost)
    wrapping = hashlib.scrypt(
        passphrase.encode(),
        salt=_LABEL + _bytes(salt),
        n=times,
        r=_BLOCK,
        p=1,
        maxmem=130 * _BLOCK * times + (1 << 20),
        dklen=32,
    )
    file_key = ChaCha20Poly1305(wrapping).decrypt(bytes(12), _bytes(body), None)
    payload = rest.split(b"\n", 1)[1]
    key = HKDF(SHA256(), 32, salt=payload[:16], info=b"payload").derive(file_key)
    return ChaCha20Poly1305(key).decrypt(_ONLY_CHUNK, payload[16:], None)


def _bytes(text: bytes) -> bytes:
    return base64.b64decode(text + b"=" * (-len(text) % 4))
