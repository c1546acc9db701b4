"""An age file sealed with a passphrase and almost no work, written from the format's specification.

For tests of the code around a passphrase, not of scrypt; it opens immediately, and is not sealed anew.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import os
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from keyturn.model.secret import Secret
from keyturn.service import CredentialService
from keyturn.vault import files, slots
from keyturn.vault import passphrase as unseal

FACTOR = 1


def seal(data: bytes, passphrase: Secret, what: str, *, factor: int = FACTOR) -> bytes:
    """Seal like `keyturn.vault.passphrase.seal`, which refuses an empty passphrase and composes it. At most
    64 KiB.

    :param factor: the work factor; 17 takes a third of a second to open.
    """
    return seal_unchanged(data, unseal._forms(passphrase)[0], what, factor=factor)


def seal_unchanged(data: bytes, form: Secret, what: str, *, factor: int = FACTOR) -> bytes:
    """Seal like `keyturn.vault.passphrase.seal_unchanged`, with the passphrase as it is."""
    del what
    text = form.reveal().encode()
    file_key, salt, nonce = os.urandom(16), os.urandom(16), os.urandom(16)
    full = b"age-encryption.org/v1/scrypt" + salt
    wrap = hashlib.scrypt(text, salt=full, n=2**factor, r=8, p=1, dklen=32, maxmem=2**30)
    body = ChaCha20Poly1305(wrap).encrypt(bytes(12), file_key, None)
    head = f"age-encryption.org/v1\n-> scrypt {_b64(salt)} {factor}\n{_b64(body)}\n---".encode()
    mac = hmac.digest(_hkdf(file_key, b"", b"header"), head, "sha256")
    chunk = ChaCha20Poly1305(_hkdf(file_key, nonce, b"payload")).encrypt(bytes(11) + b"\1", data, None)
    return head + f" {_b64(mac)}\n".encode() + nonce + chunk


def _b64(data: bytes) -> str:
    return b64encode(data).decode().rstrip("=")


def _hkdf(key: bytes, salt: bytes, info: bytes) -> bytes:
    """Return 32 bytes of HKDF-SHA256."""
    return hmac.digest(hmac.digest(salt or bytes(32), key, "sha256"), info + b"\1", "sha256")


def weaken(folder: Path, recovery_key: Secret, passphrase: Secret) -> None:
    """Reseal the identity of the vault in `folder` with the same passphrase and little work, so that the real
    program opens it immediately. For tests that open one vault many times and do not test scrypt."""
    current = files.read_recipient_file(folder)
    assert current is not None
    sealed = seal(recovery_key.reveal().encode() + b"\n", passphrase, files.IDENTITY_FILE)
    slots.put_sealed_identity(folder, current, sealed)


def create_vault(environ: Mapping[str, str], passphrase: Secret, *, factor: int = FACTOR) -> Secret:
    """Create the vault of a home in this process, where it stays locked, and return its recovery key. The
    real program opens it with `passphrase` immediately. For tests of what happens afterwards."""
    service = CredentialService.from_environ(environ, use_agent=False)
    with mock.patch.object(unseal, "seal", functools.partial(seal, factor=factor)):
        recovery_key = service.create_vault("passphrase", passphrase)
    service.lock()
    return recovery_key
